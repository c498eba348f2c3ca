"""The calls that prove a service works, each "" or why it does not."""

from typing import TYPE_CHECKING, Any

from osbox import answers
from osbox.cloud import keystone, sessions
from osbox.cloud.services import BY_TYPE, Agent, Api
from osbox.metal.records import MICROVERSION
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from keystoneauth1.session import Session

HEADERS = {"X-OpenStack-Ironic-API-Version": MICROVERSION}
"""Of every call: who is not Ironic does not read it."""


def probe_identity(paths: Paths, site: Site) -> str:
    """ "" when Keystone gives a new token, else why not; raises RefusedError when it does not take our
    password."""
    try:
        sessions.renew(paths, site)
    except sessions.RefusedError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever keeps us from a token is the reason to tell
        return _reason(error)
    return ""


def probe_api(authenticated: "Session", site: Site, api: Api) -> str:
    """ "" when the authenticated call that proves the API works does so, else why not."""
    path = api.path % {"project_id": authenticated.get_project_id()} if "%" in api.path else api.path
    try:
        answer = authenticated.get(f"{site.api(api.port)}{path}{api.probe}", headers=HEADERS, raise_exc=False)
    except Exception as error:  # noqa: BLE001
        return _reason(error)
    return "" if answer.status_code in (200, 204) else f"HTTP {answer.status_code}: {answer.text[:120]}"


def probe_objects(authenticated: "Session", paths: Paths, site: Site, api: Api, changed: list[str]) -> str:
    """As probe_api for Swift, which then has the key of temporary URLs, too; adds to changed what that
    was."""
    reason = probe_api(authenticated, site, api)
    if reason:
        return reason
    try:
        changed += ["temporary URL key"] if keystone.ensure_temp_url_key(paths, site) else []
    except Exception as error:  # noqa: BLE001
        return _reason(error)
    return ""


Told = list[dict[str, Any]] | str
"""What an API tells of its agents, or why it tells nothing."""


def told_of_agents(authenticated: "Session", site: Site, agent: Agent) -> Told:
    """What the API of an agent's project tells of all its agents."""
    api = BY_TYPE[agent.api]
    try:
        answer = authenticated.get(
            f"{site.api(api.port)}{api.path}{agent.path}", headers=HEADERS, raise_exc=False
        )
        return list(answers.read(answer, agent.api)[agent.key])
    except Exception as error:  # noqa: BLE001
        return _reason(error)


def probe_agent(told: Told, agent: Agent, since: str = "") -> str:
    """ "" when every agent of the kind is told to be alive, by a heartbeat not older than since (UTC, ISO
    8601), else why not."""
    if isinstance(told, str):
        return told
    found = [
        item for item in told if item.get("binary", agent.service) == agent.service
    ]  # Ironic's conductors have no other kind beside them
    if not found:
        return "not registered yet"
    key, value = agent.alive
    if not all(item.get(key) == value for item in found):
        return "no heartbeat"
    # Whole seconds, which is what all of them have: 2026-11-23T01:02:03, or with a blank instead of the T.
    beats = [str(item.get(agent.beat) or "")[:19].replace(" ", "T") for item in found]
    return "" if all(beat >= since[:19] for beat in beats) else "no heartbeat since its container was started"


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
