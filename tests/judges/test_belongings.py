"""What the suites' projects have in the services: what of it is theirs, and that it is removed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osbox.errors import Error
from osbox.judges import belongings
from osbox.judges.belongings import NAMED, OWNED, Kind
from osbox.judges.people import MARK, Clouds
from tests.fakecloud import LOST, Cloud, serving

APIS = {"identity": "/v3", "network": "/v2.0", "compute": "/v2.1", "image": "/v2", "baremetal": "/v1"}
LISTS = {
    "/v2.1/servers/detail": "servers",
    "/v2.1/os-server-groups": "server_groups",
    "/v2.1/flavors/detail": "flavors",
    "/v2.1/os-aggregates": "aggregates",
    "/v2.0/trunks": "trunks",
    "/v2.0/floatingips": "floatingips",
    "/v2.0/routers": "routers",
    "/v2.0/ports": "ports",
    "/v2.0/subnets": "subnets",
    "/v2.0/networks": "networks",
    "/v2.0/subnetpools": "subnetpools",
    "/v2.0/address-scopes": "address_scopes",
    "/v2.0/security-groups": "security_groups",
    "/v2.0/address-groups": "address_groups",
    "/v2.0/qos/policies": "policies",
    "/v2.0/rbac-policies": "rbac_policies",
    "/v2/images": "images",
    "/v2/metadefs/namespaces": "namespaces",
    "/v1/allocations": "allocations",
    "/v1/nodes/detail": "nodes",
    "/v1/runbooks": "runbooks",
    "/v3/users": "users",
    "/v3/groups": "groups",
    "/v3/projects": "projects",
    "/v3/domains": "domains",
    "/v3/roles": "roles",
    "/v3/services": "services",
    "/v3/regions": "regions",
}
"""Where each service lists what, and under which word."""
OURS, THEIRS = "11111111111111111111111111111111", "99999999999999999999999999999999"
NAME = "flavor1764600000-0123456789abcdef0123456789abcdef_create"


@dataclass
class Services(Cloud):
    """has: what is there, by the path of its list. busy: how often a removal is refused, by its path.
    gone: what was removed, in order; plugged out: what of routers was, before."""

    has: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    plugged_out: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, str]:
        if given := self.answers.get(f"{method} {path}"):
            return given
        if path.rstrip("/") in APIS.values():
            return 200, self._version(path.strip("/"))
        if method == "GET":
            return 200, json.dumps({LISTS[path]: self.has.get(path, [])})
        if method == "PUT":
            assert path not in self.gone
            self.plugged_out.append(f"{path} {json.loads(body)['port_id']}")
            return 200, "{}"
        return self._changed(path, json.loads(body)) if method == "PATCH" else self._removed(path)

    def _removed(self, path: str) -> tuple[int, str]:
        if self.busy.get(path, 0):
            self.busy[path] -= 1
            return 409, "{}"
        self.gone.append(path)
        return 204, ""

    def _changed(self, path: str, body: Any) -> tuple[int, str]:
        """Only then it may go."""
        self.busy.pop(path, None)
        self.gone.append(f"change {path}")
        return 200, json.dumps({"domain": body["domain"]} if isinstance(body, dict) else {"id": "i"})


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr(belongings, "WITHIN_SECONDS", 0.1)
    monkeypatch.setattr(belongings, "PAUSE_SECONDS", 0.01)
    return Services()


@pytest.fixture
def clouds(services: Services) -> Iterator[Clouds]:
    with serving(services, APIS) as connection:
        yield Clouds(connection, connection)


def test_of_each_kind_what_is_theirs_goes_in_order(services: Services, clouds: Clouds) -> None:
    """A server before its port, a port before its network; of others nothing."""
    word = {"servers": "tenant_id"}
    for path, kind in LISTS.items():
        owner = word.get(kind) or ("owner" if path.startswith(("/v2/", "/v1/")) else "project_id")
        of = {"ours": OURS, "theirs": THEIRS, "nobodys": None}
        services.has[path] = [
            {"id": name, "uuid": name, "namespace": name, "name": name, owner: project}
            for name, project in of.items()
        ]
    assert belongings.remove(clouds, [OURS]) == {}
    removed = [path.rpartition("/") for path in services.gone]
    assert {name for _, _, name in removed} == {"ours"}
    expected = [path.removesuffix("/detail") for path in LISTS]
    asked = [place for place in expected if not place.startswith("/v3") and "flavors" not in place]
    assert [place for place, _, _ in removed] == [place for place in asked if "aggregates" not in place]
    assert len(removed) == len(OWNED)


def test_a_router_is_plugged_out_before_it_goes(services: Services, clouds: Clouds) -> None:
    services.has["/v2.0/routers"] = [{"id": "r", "name": "r", "project_id": OURS}]
    services.has["/v2.0/ports"] = [{"id": "p", "name": "p", "project_id": ""}]
    assert belongings.remove(clouds, [OURS]) == {}
    assert services.plugged_out == ["/v2.0/routers/r/remove_router_interface p"]
    assert services.gone == ["/v2.0/routers/r"]


def port(number: int, project: str | None, owner: str = "") -> SimpleNamespace:
    return SimpleNamespace(id=number, project_id=project, device_owner=owner)


def test_ports_of_neutron_itself_go_with_their_network() -> None:
    kind = Kind("network", "ports", "port")
    listed = [
        port(1, OURS),
        port(2, OURS, "network:dhcp"),
        port(3, THEIRS),
        port(4, OURS, "compute:nova"),
        port(5, None),
        port(6, ""),
    ]
    assert [one.id for one in belongings.of_projects(kind, listed, [OURS])] == [1, 4]
    assert belongings.of_projects(kind, listed, []) == []


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        (NAME, True),
        ("1764600000-0123456789abcdef0123456789abcdef", True),
        ("project-1764600000-0123456789abcdef0123456789abcdef", True),
        ("m1.tiny", False),
        ("baremetal", False),
        ("0123456789abcdef0123456789abcdef", False),
        ("node-1764600000-0123", False),
        ("group-2026-12-01", False),
    ],
)
def test_names_that_only_a_test_gives(name: str, tests: bool) -> None:
    assert bool(belongings.of_tests([SimpleNamespace(name=name, id="1")])) == tests


def test_a_domain_that_a_test_renames() -> None:
    """By both: somebody's domain may be called so."""
    theirs = SimpleNamespace(name="updated name 2", description="updated description 2", id="1")
    mine = SimpleNamespace(name="updated name 2", description="of a company", id="2")
    assert belongings.of_tests([theirs, mine], is_domain=True) == [theirs]
    assert belongings.of_tests([theirs]) == [], "a user, a project"


def test_a_region_has_no_name_but_its_id() -> None:
    region = SimpleNamespace(name=None, id="region1764600000-0123456789abcdef0123456789abcdef")
    assert belongings.of_tests([region, SimpleNamespace(name=None, id="RegionOne")]) == [region]


def test_what_bears_a_name_of_a_test_goes(services: Services, clouds: Clouds, tmp_path: Path) -> None:
    belongings.note(clouds, tmp_path)
    for kind, path in ((kind, path) for kind in NAMED for path, key in LISTS.items() if key == kind.every):
        services.has[path] = [{"id": kind.one, "name": NAME}, {"id": "x", "name": "mine"}]
    services.has["/v3/regions"] = [{"id": NAME}, {"id": "RegionOne"}]
    services.busy = {"/v3/domains/domain": 9}
    assert belongings.remove_named(clouds, tmp_path, kept=["project"]) == []
    assert services.gone == [
        "/v2.1/flavors/flavor",
        "/v2.1/os-aggregates/aggregate",
        "/v3/users/user",
        "/v3/groups/group",
        "change /v3/domains/domain",
        "/v3/domains/domain",
        "/v3/roles/role",
        "/v3/services/service",
        f"/v3/regions/{NAME}",
    ]
    assert any("flavors/detail?is_public=None" in line for line in services.asked), "private ones, too"


@pytest.mark.parametrize("ran", [True, False])
def test_such_a_name_that_was_there_before_is_somebodys(
    services: Services, clouds: Clouds, tmp_path: Path, ran: bool
) -> None:
    """Without a note, too: no test of ours has run."""
    services.has["/v3/users"] = [{"id": "theirs", "name": NAME}]
    services.has["/v3/projects"] = [{"id": "p", "name": NAME, "description": None}]
    services.has["/v3/domains"] = [{"id": "d", "name": "updated name", "description": "updated description"}]
    if ran:
        belongings.note(clouds, tmp_path)
        services.has["/v3/users"].append({"id": "a-tests", "name": NAME})
        belongings.note(clouds, tmp_path)  # of the run after one that was killed
    assert belongings.projects(clouds, tmp_path) == []
    assert belongings.remove_named(clouds, tmp_path) == []
    assert services.gone == (["/v3/users/a-tests"] if ran else [])
    assert list(tmp_path.iterdir()) == []


def test_a_domain_of_a_project_that_stays(services: Services, clouds: Clouds, tmp_path: Path) -> None:
    belongings.note(clouds, tmp_path)
    services.has["/v3/domains"] = [{"id": "d", "name": NAME}]
    services.has["/v3/projects"] = [{"id": "p", "name": NAME, "domain_id": "d"}]
    belongings.remove_named(clouds, tmp_path, kept=["p"])
    assert services.gone == []
    belongings.remove_named(clouds, tmp_path)
    assert services.gone == ["/v3/projects/p", "change /v3/domains/d", "/v3/domains/d"]


def test_projects_of_suites_and_of_tests(services: Services, clouds: Clouds, tmp_path: Path) -> None:
    belongings.note(clouds, tmp_path)
    services.has["/v3/projects"] = [
        {"id": "1", "name": "test", "description": MARK},
        {
            "id": "2",
            "name": "project-1764600000-0123456789abcdef0123456789abcdef",
            "description": "Temporary",
        },
        {"id": "3", "name": "demo", "description": "of somebody else"},
        {"id": "4", "name": "admin", "description": None},
    ]
    assert belongings.projects(clouds, tmp_path) == ["1", "2"]


def test_what_is_in_use_is_tried_again_and_then_told(services: Services, clouds: Clouds) -> None:
    services.has["/v2.0/ports"] = [{"id": "p", "name": "", "project_id": OURS}]
    services.has["/v2.0/networks"] = [{"id": "n", "name": "net", "project_id": OURS}]
    services.busy = {"/v2.0/ports/p": 1, "/v2.0/networks/n": 999}  # more often than it is tried
    assert belongings.remove(clouds, [OURS]) == {OURS: ["network net"]}
    assert services.gone == ["/v2.0/ports/p"]


def test_a_protected_namespace_is_one_no_more(services: Services, clouds: Clouds) -> None:
    services.has["/v2/metadefs/namespaces"] = [{"namespace": "n", "owner": OURS, "protected": True}]
    services.busy = {"/v2/metadefs/namespaces/n": 9}
    services.answers = {"PUT /v2/metadefs/namespaces/n": (200, json.dumps({"namespace": "n"}))}
    belongings.remove(clouds, [OURS])
    assert any(line.startswith("PUT /v2/metadefs/namespaces/n") for line in services.asked)


def test_a_connection_that_ends_is_told(services: Services, clouds: Clouds) -> None:
    services.answers = {"GET /v2.0/ports": (LOST, "")}
    with pytest.raises(Error, match="network did not list its ports"):
        belongings.remove(clouds, [OURS])


def test_a_protected_image_is_one_no_more(services: Services, clouds: Clouds) -> None:
    services.has["/v2/images"] = [{"id": "i", "name": "a", "owner": OURS, "protected": True}]
    services.busy = {"/v2/images/i": 9}
    assert belongings.remove(clouds, [OURS]) == {}
    assert services.gone == ["change /v2/images/i", "/v2/images/i"]


@pytest.mark.parametrize("path", ["/v2.0/trunks", "/v2.0/address-groups"])
def test_an_extension_that_is_not_there(services: Services, clouds: Clouds, path: str) -> None:
    services.answers = {f"GET {path}": (404, "{}")}
    assert belongings.remove(clouds, [OURS]) == {}


def test_a_service_that_does_not_say_is_no_empty_one(services: Services, clouds: Clouds) -> None:
    """The projects would go, and what they have would be nobody's."""
    services.answers = {"GET /v2.0/qos/policies": (503, "")}
    with pytest.raises(Error, match="network did not list its qos policies"):
        belongings.remove(clouds, [OURS])
