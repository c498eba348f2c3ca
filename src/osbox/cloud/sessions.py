"""Logins to the cloud, of the administrator and of services; and its APIs through openstacksdk."""

from typing import TYPE_CHECKING, Any

from osbox.cloud.services import REGION
from osbox.errors import Error
from osbox.site import secrets
from osbox.site.site import Paths, Site

# The client libraries take a second to import: only commands that talk to the cloud pay for them.
if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.connection import Connection

CALL_SECONDS = 30  # two loaded cores took more than 10 for a first login
RESET = """sh -c 'OS_BOOTSTRAP_PASSWORD="$(cat /run/secrets/admin-password)" keystone-manage bootstrap'"""
"""In Keystone's container: gives the user admin the password of the file again, whatever it has now, by an
environment that root alone can read, where a command line is everybody's; https://docs.openstack.org/keystone/latest/admin/bootstrap.html"""
_sessions: dict[tuple[str, bool], "Session"] = {}
"""One login for each cloud and scope: each costs Keystone a quarter of a second of hashing."""


class RefusedError(Error):
    """Keystone answers, and does not take the administrator's password: no wait puts that right."""


def session(paths: Paths, site: Site, *, system: bool = False) -> "Session":
    """An authenticated session of the administrator, of the project `admin` or of the whole system; the same
    one every time."""
    key = (site.api(5000), system)
    if key not in _sessions:
        _sessions[key] = _administrator(paths, site, system=system)
    return _sessions[key]


def renew(paths: Paths, site: Site) -> None:
    """Log the administrator in anew, for the calls that follow; raises RefusedError, or what else keeps us
    from a token."""
    from keystoneauth1.exceptions import Unauthorized  # noqa: PLC0415 - see above

    fresh = _administrator(paths, site, system=False)
    try:
        fresh.get_token()
    except Unauthorized as error:
        file = paths.secrets / "admin-password"
        raise RefusedError(
            f"Keystone refuses the password of its user admin, which is in {file}",
            evidence=str(error),
            hint=f"was it changed on purpose, write the new one into that file; else give Keystone this one"
            f" again: osbox engine shell -- docker exec keystone.{site.name} {RESET}",
        ) from None
    _sessions[site.api(5000), False] = fresh


def _administrator(paths: Paths, site: Site, *, system: bool) -> "Session":
    scope = {"system_scope": "all"} if system else {"project_name": "admin", "project_domain_id": "default"}
    return log_in(paths, site, "admin", secrets.read(paths, "admin-password"), scope)


def log_in(paths: Paths, site: Site, user: str, password: str, scope: dict[str, str]) -> "Session":
    """A session of a user of the default domain, within a scope."""
    from keystoneauth1.identity import v3  # noqa: PLC0415 - see above
    from keystoneauth1.session import Session  # noqa: PLC0415

    whole: dict[str, Any] = {"username": user, "password": password, "user_domain_id": "default", **scope}
    made = Session(
        auth=v3.Password(auth_url=f"{site.api(5000)}/v3", **whole),
        timeout=CALL_SECONDS,
        verify=site.verify(paths),
    )
    made.session.trust_env = (
        False  # no proxy of the environment: it knows nothing of the addresses here (osbox.environment)
    )
    return made


def connect(paths: Paths, site: Site, *, system: bool = False) -> "Connection":
    """An openstacksdk connection of the administrator; system scope is for what belongs to no project
    (nodes)."""
    from openstack.connection import Connection  # noqa: PLC0415

    # Not a shared session: a connection leaves its mark in it.
    return Connection(
        session=_administrator(paths, site, system=system),
        region_name=REGION,
        baremetal_api_version="1.96",
        compute_api_version="2.96",
    )


def dhcp_servers(project: "Connection") -> frozenset[str]:
    """The addresses by which OVN's DHCP calls itself on the provisioning network: its subnets' gateways.

    Any other that answers there is a stranger. Of flat networks only: an administrator makes those, and a
    project could give its own subnet the address of a stranger as its gateway.
    """
    flat = {one.id for one in project.network.networks(provider_network_type="flat")}
    subnets = [one for one in project.network.subnets(ip_version=4) if one.network_id in flat]
    return frozenset(str(one.gateway_ip) for one in subnets if one.is_dhcp_enabled and one.gateway_ip)
