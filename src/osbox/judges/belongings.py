"""What the suites' projects have in the services, and what bears a name that only a test makes.

A test removes what it has made; one that was interrupted does not.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from osbox import answers, waiting
from osbox.errors import Error
from osbox.judges.people import MARK, Clouds

UNIQUE = re.compile(r"\d{10}-[0-9a-f]{32}")
"""In what the SDK's tests call things: the time, and a number that is nobody else's (getUniqueString of
openstack/tests/functional/base.py)."""
RENAMED = (("updated name", "updated description"), ("updated name 2", "updated description 2"))
"""Name and description of a domain that functional/cloud/test_identity.py makes, and does not find again to
remove it: the next run was refused the name."""
WITHIN_SECONDS, PAUSE_SECONDS = 4, 2  # Nova takes a server down while it has answered already
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
NAMED = (
    Kind("compute", "flavors", "flavor", "", {"is_public": "None"}),  # Nova's word for both kinds
    Kind("compute", "aggregates", "aggregate", ""),
    Kind("identity", "users", "user", ""),
    Kind("identity", "groups", "group", ""),
    Kind("identity", "projects", "project", ""),
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


def of_tests(listed: Iterable[Any]) -> list[Any]:
    """Which of them only a test calls so; a region has no name but its id."""
    return [
        one
        for one in listed
        if UNIQUE.search(str(getattr(one, "name", None) or one.id))
        or (getattr(one, "name", None), getattr(one, "description", None)) in RENAMED
    ]


def projects(clouds: Clouds) -> list[str]:
    """The ids of those that were made for a suite, or by a test."""
    identity: Any = clouds.project.identity
    return [one.id for one in identity.projects() if one.description == MARK or UNIQUE.search(one.name)]


def remove(clouds: Clouds, projects: Collection[str]) -> dict[str, list[str]]:
    """Remove what the projects have; returns what is kept all the same, by the project's id.

    Raises Error when a service does not say what there is.
    """
    found = [(kind, one) for kind in OWNED for one in of_projects(kind, _listed(clouds, kind), projects)]
    kept = dict[str, list[str]]()
    for kind, one in _removed(clouds, found):
        kept.setdefault(getattr(one, kind.owner), []).append(_called(kind, one))
    return kept


def remove_named(clouds: Clouds, kept: Collection[str] = ()) -> list[str]:
    """Remove what belongs to no project and bears a test's name; returns what is kept all the same.

    kept: ids of projects that are not to go yet.
    """
    found = [(kind, one) for kind in NAMED for one in of_tests(_listed(clouds, kind)) if one.id not in kept]
    return [_called(kind, one) for kind, one in _removed(clouds, found)]


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
    from openstack import exceptions  # noqa: PLC0415 - slow to import

    try:
        return list(getattr(_api(clouds, kind), kind.every)(**kind.asked))
    except exceptions.NotSupported:
        return []
    except exceptions.SDKException as error:
        if getattr(error, "status_code", None) in UNKNOWN:
            return []
        told = f"{kind.api} did not list its {kind.every.replace('_', ' ')}"
        raise Error(told, evidence=str(error), hint=answers.AGAIN) from error


def _deleted(clouds: Clouds, kind: Kind, one: Any) -> bool:
    from openstack import exceptions  # noqa: PLC0415 - slow to import

    api = _api(clouds, kind)
    try:
        if getattr(one, "is_protected", False):  # an image
            api.update_image(one, is_protected=False)
        if kind.one == "domain":
            api.update_domain(one, is_enabled=False)
        getattr(api, f"delete_{kind.one}")(one, ignore_missing=True)
    except exceptions.SDKException:
        return False
    return True
