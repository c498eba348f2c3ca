"""What Keystone has to know of the cloud: users, grants, services and endpoints, and the key that Swift signs
with."""

from typing import TYPE_CHECKING, Any

from osbox import answers
from osbox.cloud.services import APIS, REGION
from osbox.cloud.sessions import log_in, session
from osbox.site import secrets
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter

GRANTS = ("admin", "service")  # what a service user has in the project `service`


def ensure_catalogue(paths: Paths, site: Site, public: str) -> list[str]:
    """Make the users, grants, services and endpoints that are missing or differ; returns what was changed.

    public is the address that clients outside the containers use.
    """
    from keystoneauth1.adapter import Adapter  # noqa: PLC0415 - takes a second to import

    keystone = Adapter(
        session(paths, site), service_type="identity", endpoint_override=f"{site.api(5000)}/v3"
    )
    return [*_ensure_users(keystone, paths), *_ensure_endpoints(keystone, site, public)]


def _ensure_users(keystone: "Adapter", paths: Paths) -> list[str]:
    changed = []
    projects = _by_name(keystone, "projects")
    project = projects.get("service")
    if not project:
        project = _create(
            keystone,
            "project",
            {"name": "service", "domain_id": "default", "description": "Services of the cloud"},
        )
        changed.append("project service")
    users, roles = _by_name(keystone, "users"), _by_name(keystone, "roles")
    granted = {
        (item["user"]["id"], item["role"]["id"])
        for item in _read(keystone, f"/role_assignments?scope.project.id={project}")["role_assignments"]
    }
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


def _ensure_endpoints(keystone: "Adapter", site: Site, public: str) -> list[str]:
    changed = []
    services = {item["type"]: item["id"] for item in _read(keystone, "/services")["services"]}
    endpoints = {
        (item["service_id"], item["interface"]): item for item in _read(keystone, "/endpoints")["endpoints"]
    }
    for api in APIS:
        if api.type not in services:
            services[api.type] = _create(keystone, "service", {"name": api.name, "type": api.type})
            changed.append(f"service {api.type}")
        for interface in ("public", "internal", "admin"):
            at = site.api(api.port, public) if interface == "public" else f"http://{api.service}:{api.port}"
            wish = {
                "service_id": services[api.type],
                "interface": interface,
                "region_id": REGION,
                "url": f"{at}{api.path}",
            }
            have = endpoints.get((services[api.type], interface))
            if have is None:
                _create(keystone, "endpoint", wish)
            elif have["url"] != wish["url"]:
                keystone.patch(f"/endpoints/{have['id']}", json={"endpoint": {"url": wish["url"]}})
            else:
                continue
            changed.append(f"{interface} endpoint of {api.type}")
    return changed


def ensure_temp_url_key(paths: Paths, site: Site) -> bool:
    """Set the key that signs Swift's temporary URLs on the account of the project `service`; True if it was
    changed."""
    glance = log_in(
        paths,
        site,
        "glance",
        secrets.read(paths, "service-glance"),
        {"project_name": "service", "project_domain_id": "default"},
    )
    account = f"{site.api(8080)}/v1/AUTH_{glance.get_project_id()}"
    key = secrets.read(paths, "temp-url-key")
    if glance.head(account, raise_exc=False).headers.get("X-Account-Meta-Temp-Url-Key") == key:
        return False
    glance.post(account, headers={"X-Account-Meta-Temp-URL-Key": key})
    return True


def _by_name(keystone: "Adapter", kind: str) -> dict[str, str]:
    query = "?domain_id=default" if kind in ("users", "projects") else ""
    return {item["name"]: item["id"] for item in _read(keystone, f"/{kind}{query}")[kind]}


def _create(keystone: "Adapter", kind: str, body: dict[str, Any]) -> str:
    answer = keystone.post(f"/{kind}s", json={kind: body}, raise_exc=False)
    return str(answers.read(answer, f"Keystone did not make the {kind}")[kind]["id"])


def _read(keystone: "Adapter", path: str) -> dict[str, Any]:
    answer = keystone.get(path, raise_exc=False)
    return answers.read(answer, f"Keystone did not answer {path.partition('?')[0]}")
