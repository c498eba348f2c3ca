"""What the suites' projects have in the services, and what bears a name that only a test makes.

A test removes what it has made; one that was interrupted does not.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osbox import answers, waiting
from osbox.errors import Error
from osbox.judges.notes import Note
from osbox.judges.people import MARK, Clouds

UNIQUE = re.compile(r"\d{10}-[0-9a-f]{32}")
"""In what the SDK's tests call things: the time, and a number that is nobody else's (getUniqueString of
openstack/tests/functional/base.py)."""
RENAMED = (("updated name", "updated description"), ("updated name 2", "updated description 2"))
"""Name and description of a domain that functional/cloud/test_identity.py makes, and does not find again to
remove it: the next run was refused the name."""
WITHIN_SECONDS, PAUSE_SECONDS = 4, 2  # Nova takes a server down while it has answered already
NOTE = "named.json"
UNKNOWN = (404, 406)  # to this release, or without an extension


@dataclass(frozen=True)
class Kind:
    """Things of a service, as the SDK calls them: `every` of its functions lists them, delete_`one` removes
    one. owner: which attribute has the project; "" of what belongs to none. asked: words for the list.
    """

    api: str
    every: str
    one: str
    owner: str = "project_id"
    asked: Mapping[str, object] = field(default_factory=dict)


OWNED = (
    Kind("compute", "servers", "server", asked={"all_projects": True}),
    Kind("compute", "server_groups", "server_group", asked={"all_projects": True}),
    Kind("network", "trunks", "trunk"),
    Kind("network", "ips", "ip"),
    Kind("network", "routers", "router"),
    Kind("network", "ports", "port"),
    Kind("network", "subnets", "subnet"),
    Kind("network", "networks", "network"),
    Kind("network", "subnet_pools", "subnet_pool"),
    Kind("network", "address_scopes", "address_scope"),
    Kind("network", "security_groups", "security_group"),
    Kind("network", "address_groups", "address_group"),
    Kind("network", "qos_policies", "qos_policy"),
    Kind("network", "rbac_policies", "rbac_policy"),
    Kind("image", "images", "image", "owner", {"visibility": "all"}),
    Kind("image", "metadef_namespaces", "metadef_namespace", "owner"),
    Kind("baremetal", "allocations", "allocation", "owner"),
    Kind("baremetal", "nodes", "node", "owner", {"details": True}),
    Kind("baremetal", "runbooks", "runbook", "owner", {"details": True}),
)
"""In this order they are removed: who uses something goes before it."""
PROJECTS = Kind("identity", "projects", "project", "")
NAMED = (
    Kind("compute", "flavors", "flavor", "", {"is_public": "None"}),  # Nova's word for both kinds
    Kind("compute", "aggregates", "aggregate", ""),
    Kind("identity", "users", "user", ""),
    Kind("identity", "groups", "group", ""),
    PROJECTS,
    Kind("identity", "domains", "domain", ""),
    Kind("identity", "roles", "role", ""),
    Kind("identity", "services", "service", ""),  # with its endpoints
    Kind("identity", "regions", "region", ""),
)


def of_projects(kind: Kind, listed: Iterable[Any], projects: Collection[str]) -> list[Any]:
    """Which of them belong to the projects; a port that Neutron itself has in a network goes with that."""
    return [
        one
        for one in listed
        if getattr(one, kind.owner) in projects
        and not str(getattr(one, "device_owner", None)).startswith("network:")
    ]


def of_tests(listed: Iterable[Any], *, is_domain: bool = False) -> list[Any]:
    """Which of them only a test calls so; a region has no name but its id."""
    return [
        one
        for one in listed
        if UNIQUE.search(str(getattr(one, "name", None) or one.id))
        or (is_domain and (one.name, one.description) in RENAMED)
    ]


def note(clouds: Clouds, place: Path) -> None:
    """Write down what bears such a name before a suite runs: that is somebody's.

    Raises Error when a service does not say.
    """
    Note(place / NOTE).begin({kind.one: [one.id for one in _named(clouds, kind)] for kind in NAMED})


def projects(clouds: Clouds, place: Path) -> list[str]:
    """The ids of those that were made for a suite, or by a test since the note in place."""
    written = Note(place / NOTE)
    return [
        one.id
        for one in _listed(clouds, PROJECTS)
        if one.description == MARK or (of_tests([one]) and written.has_come(PROJECTS.one, one.id))
    ]


def remove(clouds: Clouds, projects: Collection[str]) -> dict[str, list[str]]:
    """Remove what the projects have; returns what is kept all the same, by the project's id.

    Raises Error when a service does not say what there is.
    """
    found = [(kind, one) for kind in OWNED for one in of_projects(kind, _listed(clouds, kind), projects)]
    kept = dict[str, list[str]]()
    for kind, one in _removed(clouds, found):
        kept.setdefault(getattr(one, kind.owner), []).append(_called(kind, one))
    return kept


def remove_named(clouds: Clouds, place: Path, kept: Collection[str] = ()) -> list[str]:
    """Remove what belongs to no project, bears a test's name and has come since the note in place; returns
    what is kept all the same.

    kept: ids of projects that are not to go yet, nor their domains, in which they would. Only when nothing is
    left the note goes, too.
    """
    written = Note(place / NOTE)
    if not written.file.exists():
        return []
    holding = {one.domain_id for one in _listed(clouds, PROJECTS) if one.id in kept}
    came = [
        (kind, one) for kind in NAMED for one in _named(clouds, kind) if written.has_come(kind.one, one.id)
    ]
    waiting_for = {*kept, *holding}
    left = _removed(clouds, [(kind, one) for kind, one in came if one.id not in waiting_for])
    written.end((kind.one, one.id) for kind, one in [*left, *(it for it in came if it[1].id in waiting_for)])
    return [_called(kind, one) for kind, one in left]


def _named(clouds: Clouds, kind: Kind) -> list[Any]:
    return of_tests(_listed(clouds, kind), is_domain=kind.one == "domain")


def _removed(clouds: Clouds, found: list[tuple[Kind, Any]]) -> list[tuple[Kind, Any]]:
    """Those that are still there in the end."""

    def are_gone() -> bool:
        found[:] = [(kind, one) for kind, one in found if not _deleted(clouds, kind, one)]
        return not found

    waiting.happens(are_gone, WITHIN_SECONDS, poll=PAUSE_SECONDS)
    return found


def _called(kind: Kind, one: Any) -> str:
    return f"{kind.one} {getattr(one, 'name', None) or one.id}"


def _api(clouds: Clouds, kind: Kind) -> Any:
    return getattr(clouds.system if kind.api == "baremetal" else clouds.project, kind.api)


def _listed(clouds: Clouds, kind: Kind) -> list[Any]:
    """All of a kind; none where the release does not know it."""
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - slow to import
    from openstack import exceptions  # noqa: PLC0415 - slow to import

    try:
        return list(getattr(_api(clouds, kind), kind.every)(**kind.asked))
    except exceptions.NotSupported:
        return []
    except (exceptions.SDKException, ClientException) as error:
        if getattr(error, "status_code", None) in UNKNOWN:
            return []
        told = f"{kind.api} did not list its {kind.every.replace('_', ' ')}"
        raise Error(told, evidence=str(error), hint=answers.AGAIN) from error


def _deleted(clouds: Clouds, kind: Kind, one: Any) -> bool:
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - slow to import
    from openstack import exceptions  # noqa: PLC0415 - slow to import

    api = _api(clouds, kind)
    try:
        if getattr(one, "is_protected", False):  # an image, a metadata namespace
            getattr(api, f"update_{kind.one}")(one, is_protected=False)
        if kind.one == "domain":
            api.update_domain(one, is_enabled=False)
        if kind.one == "router":
            for port in api.ports(device_id=one.id, device_owner="network:router_interface"):
                api.remove_interface_from_router(one, port=port.id)
        getattr(api, f"delete_{kind.one}")(one, ignore_missing=True)
    except (exceptions.SDKException, ClientException):
        return False
    return True
