"""The cloud through its APIs: credentials, Keystone's catalogue, and the calls that prove a service works."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from osbox.model.services import APIS, REGION, Agent, Api
from osbox.site import secrets
from osbox.site.site import Paths, Site

# The client libraries take a second to import: only commands that talk to the cloud pay for them.
if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from keystoneauth1.session import Session
    from openstack.connection import Connection

CALL_SECONDS = 30  # two loaded cores took more than 10 for a first login
GRANTS = ("admin", "service")  # what a service user has in the project `service`


_sessions: dict[tuple[str, bool], "Session"] = {}
"""One login for each cloud and scope: each costs Keystone a quarter of a second of hashing."""


def session(paths: Paths, site: Site, *, system: bool = False) -> "Session":
    """An authenticated session of the administrator, of the project `admin` or of the whole system; the same one every time."""
    key = (str(site.loopback), system)
    if key not in _sessions:
        _sessions[key] = _administrator(paths, site, system=system)
    return _sessions[key]


def _administrator(paths: Paths, site: Site, *, system: bool) -> "Session":
    scope = {"system_scope": "all"} if system else {"project_name": "admin", "project_domain_id": "default"}
    return _log_in(site, "admin", secrets.read(paths, "admin-password"), scope)


def _log_in(site: Site, user: str, password: str, scope: dict[str, str]) -> "Session":
    from keystoneauth1.identity import v3  # noqa: PLC0415 - see above
    from keystoneauth1.session import Session  # noqa: PLC0415

    whole: dict[str, Any] = {"username": user, "password": password, "user_domain_id": "default", **scope}
    return Session(auth=v3.Password(auth_url=f"http://{site.loopback}:5000/v3", **whole), timeout=CALL_SECONDS)


def connect(paths: Paths, site: Site, *, system: bool = False) -> "Connection":
    """An openstacksdk connection of the administrator; system scope is for what belongs to no project (nodes)."""
    from openstack.connection import Connection  # noqa: PLC0415

    # Not a shared session: a connection leaves its mark in it.
    return Connection(
        session=_administrator(paths, site, system=system), region_name=REGION, baremetal_api_version="1.96", compute_api_version="2.96"
    )


def dhcp_servers(project: "Connection") -> frozenset[str]:
    """The addresses of Neutron's DHCP servers: any other that answers on their networks is a stranger."""
    return frozenset(str(one["ip_address"]) for port in project.network.ports(device_owner="network:dhcp") for one in port.fixed_ips)


def write_credentials(paths: Paths, site: Site) -> None:
    """Write clouds.yaml and openrc (0600) for people and their tools."""
    password = secrets.read(paths, "admin-password")
    auth = {"auth_url": f"http://{site.loopback}:5000/v3", "username": "admin", "password": password, "user_domain_id": "default"}
    common = {"region_name": REGION, "identity_api_version": 3}
    project = {**auth, "project_name": "admin", "project_domain_id": "default"}
    clouds = {
        site.name: {"auth": project, **common},
        f"{site.name}-system": {"auth": {**auth, "system_scope": "all"}, **common},
    }
    _write_private(paths.home / "clouds.yaml", yaml.safe_dump({"clouds": clouds}, sort_keys=False))
    lines = [f"export OS_{key.upper()}={value}" for key, value in project.items()]
    _write_private(paths.home / "openrc", "\n".join([*lines, "export OS_IDENTITY_API_VERSION=3", f"export OS_REGION_NAME={REGION}", ""]))


def _write_private(file: Path, text: str) -> None:
    if not file.exists() or file.read_text() != text:
        file.touch(mode=0o600)
        file.write_text(text)


def client() -> str:
    """The openstack client that was installed with the tool."""
    beside = Path(sys.executable).with_name("openstack")
    return str(beside) if beside.exists() else "openstack"


def client_environment(paths: Paths, name: str) -> dict[str, str]:
    """What makes the client use this cloud of clouds.yaml, and not another one whose openrc was sourced."""
    cleared = {key: "" for key in os.environ if key.startswith("OS_")}
    return cleared | {"OS_CLIENT_CONFIG_FILE": str(paths.home / "clouds.yaml"), "OS_CLOUD": name}


# --- proof -----------------------------------------------------------------------------------------------------------

def probe_identity(paths: Paths, site: Site) -> str:
    """"" when Keystone gives a new token, else why not."""
    try:
        fresh = _administrator(paths, site, system=False)
        fresh.get_token()
    except Exception as error:  # noqa: BLE001 - whatever keeps us from a token is the reason to tell
        return _reason(error)
    _sessions[str(site.loopback), False] = fresh
    return ""


def probe_api(authenticated: "Session", site: Site, api: Api) -> str:
    """"" when the authenticated call that proves the API works does so, else why not."""
    path = api.path % {"project_id": authenticated.get_project_id()} if "%" in api.path else api.path
    try:
        answer = authenticated.get(f"http://{site.loopback}:{api.port}{path}{api.probe}", headers=HEADERS, raise_exc=False)
    except Exception as error:  # noqa: BLE001
        return _reason(error)
    return "" if answer.status_code in (200, 204) else f"HTTP {answer.status_code}: {answer.text[:120]}"


def probe_agent(authenticated: "Session", site: Site, agent: Agent, since: str = "") -> str:
    """"" when every agent of the kind is reported alive, by a heartbeat not older than since (UTC, ISO 8601), else why not."""
    api = next(item for item in APIS if item.type == agent.api)
    try:
        answer = authenticated.get(f"http://{site.loopback}:{api.port}{api.path}{agent.path}", headers=HEADERS, raise_exc=False)
        found = answer.json()[agent.key] if answer.status_code == 200 else None  # noqa: PLR2004 - OK
    except Exception as error:  # noqa: BLE001
        return _reason(error)
    if not found:
        return "not registered yet" if found == [] else f"HTTP {answer.status_code}"
    key, value = agent.alive
    if not all(item.get(key) == value for item in found):
        return "no heartbeat"
    # Whole seconds, which is what all of them have: 2026-11-23T01:02:03, or with a blank instead of the T.
    beats = [str(item.get(agent.beat) or "")[:19].replace(" ", "T") for item in found]
    return "" if all(beat >= since[:19] for beat in beats) else "no heartbeat since its container was started"


HEADERS = {"X-OpenStack-Ironic-API-Version": "1.80"}


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__


# --- the catalogue ---------------------------------------------------------------------------------------------------

def ensure_catalogue(paths: Paths, site: Site, public: str) -> list[str]:
    """Make the users, grants, services and endpoints that are missing or differ; returns what was changed.

    public is the address that clients outside the containers use.
    """
    from keystoneauth1.adapter import Adapter  # noqa: PLC0415

    keystone = Adapter(session(paths, site), service_type="identity", endpoint_override=f"http://{site.loopback}:5000/v3")
    return [*_ensure_users(keystone, paths), *_ensure_endpoints(keystone, public)]


def _ensure_users(keystone: "Adapter", paths: Paths) -> list[str]:
    changed = []
    projects = _by_name(keystone, "projects")
    project = projects.get("service")
    if not project:
        project = _create(keystone, "project", {"name": "service", "domain_id": "default", "description": "Services of the cloud"})
        changed.append("project service")
    users, roles = _by_name(keystone, "users"), _by_name(keystone, "roles")
    granted = {(item["user"]["id"], item["role"]["id"])
               for item in keystone.get(f"/role_assignments?scope.project.id={project}").json()["role_assignments"]}  # fmt: skip
    for name in (api.user for api in APIS if api.user):
        user = users.get(name)
        if not user:
            password = secrets.read(paths, f"service-{name}")
            user = _create(keystone, "user", {"name": name, "domain_id": "default", "password": password})
            changed.append(f"user {name}")
        for role in GRANTS:
            if (user, roles[role]) not in granted:
                keystone.put(f"/projects/{project}/users/{user}/roles/{roles[role]}")
                changed.append(f"role {role} of {name}")
    return changed


def _ensure_endpoints(keystone: "Adapter", public: str) -> list[str]:
    changed = []
    services = {item["type"]: item["id"] for item in keystone.get("/services").json()["services"]}
    endpoints = {(item["service_id"], item["interface"]): item for item in keystone.get("/endpoints").json()["endpoints"]}
    for api in APIS:
        if api.type not in services:
            services[api.type] = _create(keystone, "service", {"name": api.name, "type": api.type})
            changed.append(f"service {api.type}")
        for interface in ("public", "internal", "admin"):
            host = public if interface == "public" else api.service
            wish = {"service_id": services[api.type], "interface": interface, "region_id": REGION, "url": f"http://{host}:{api.port}{api.path}"}
            have = endpoints.get((services[api.type], interface))
            if have is None:
                _create(keystone, "endpoint", wish)
            elif have["url"] != wish["url"]:
                keystone.patch(f"/endpoints/{have['id']}", json={"endpoint": {"url": wish["url"]}})
            else:
                continue
            changed.append(f"{interface} endpoint of {api.type}")
    return changed


def probe_objects(authenticated: "Session", paths: Paths, site: Site, api: Api, changed: list[str]) -> str:
    """As probe_api for Swift, which then has the key of temporary URLs, too; adds to changed what that was."""
    reason = probe_api(authenticated, site, api)
    if reason:
        return reason
    try:
        changed += ["temporary URL key"] if ensure_temp_url_key(paths, site) else []
    except Exception as error:  # noqa: BLE001
        return _reason(error)
    return ""


def ensure_temp_url_key(paths: Paths, site: Site) -> bool:
    """Set the key that signs Swift's temporary URLs on the account of the project `service`; True if it was changed."""
    glance = _log_in(site, "glance", secrets.read(paths, "service-glance"), {"project_name": "service", "project_domain_id": "default"})
    account = f"http://{site.loopback}:8080/v1/AUTH_{glance.get_project_id()}"
    key = secrets.read(paths, "temp-url-key")
    if glance.head(account, raise_exc=False).headers.get("X-Account-Meta-Temp-Url-Key") == key:
        return False
    glance.post(account, headers={"X-Account-Meta-Temp-URL-Key": key})
    return True


def _by_name(keystone: "Adapter", kind: str) -> dict[str, str]:
    query = "?domain_id=default" if kind in ("users", "projects") else ""
    return {item["name"]: item["id"] for item in keystone.get(f"/{kind}{query}").json()[kind]}


def _create(keystone: "Adapter", kind: str, body: dict[str, Any]) -> str:
    return str(keystone.post(f"/{kind}s", json={kind: body}).json()[kind]["id"])
