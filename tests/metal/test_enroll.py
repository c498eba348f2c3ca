"""Nodes brought to `available`, with an Ironic that is made up: it knows its states and verbs."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from openstack import exceptions

from osbox.errors import Error, UserError
from osbox.metal import enroll, states
from osbox.metal.difference import Settings
from osbox.metal.node import Inventory
from osbox.metal.records import FIELDS
from tests.fakecloud import DOWN, response

SETTINGS = Settings("project-1", {"deploy_kernel": "k", "deploy_ramdisk": "r"}, b"key")
NEXT = {
    ("enroll", "manage"): "manageable",
    ("manageable", "provide"): "available",
    ("deploy failed", "deleted"): "available",
    ("error", "deleted"): "available",
    ("clean failed", "manage"): "manageable",
    ("inspect failed", "manage"): "manageable",
    ("adopt failed", "manage"): "manageable",
}


class Ironic:
    """Stands for a connection. fields: of nodes that are there; refuses: names that it takes nothing of."""

    def __init__(self, refuses: tuple[str, ...] = (), **fields: dict[str, Any]) -> None:
        self.baremetal, self.refuses = self, refuses
        self.there = {name: self._node(name, **more) for name, more in fields.items()}
        self.made_ports, self.asked = list[SimpleNamespace](), list[str]()
        self.on_look: Callable[[Any], None] = lambda _: None
        self.inspected = (200, '{"inspection_finished_at": "yesterday"}')

    def _node(self, name: str, **more: Any) -> SimpleNamespace:
        whole = {
            **dict.fromkeys(FIELDS),
            "provision_state": "enroll",
            "instance_id": None,
            "last_error": "",
            "is_maintenance": False,
            "driver_internal_info": {"agent_last_heartbeat": "now"},
            "resource_class": "baremetal",
        }
        return SimpleNamespace(id=f"id-{name}", name=name, **whole | more)

    def nodes(self, **_: Any) -> list[SimpleNamespace]:
        return list(self.there.values())

    def ports(self, **_: Any) -> list[SimpleNamespace]:
        return self.made_ports

    def get_node(self, name: str) -> SimpleNamespace:
        if name not in self.there:
            raise exceptions.NotFoundException
        self.on_look(self.there[name])
        return self.there[name]

    def create_node(self, name: str, **body: Any) -> SimpleNamespace:
        if name in self.refuses:
            raise exceptions.BadRequestException("a driver that is not enabled")
        self.there[name] = self._node(name, **body)
        self.asked.append(f"create {name}")
        return self.there[name]

    def patch_node(self, node: Any, patch: list[dict[str, Any]]) -> None:
        self.asked.append(f"patch {node.name} {' '.join(operation['path'] for operation in patch)}")
        for operation in patch:
            *way, last = operation["path"].split("/")[1:]
            if not way:
                setattr(node, last, operation["value"])
                continue
            setattr(node, way[0], {**(getattr(node, way[0]) or {}), last: operation["value"]})

    def create_port(self, node_id: str, address: str, is_pxe_enabled: bool, extra: Any, **_: Any) -> None:
        self.made_ports.append(
            SimpleNamespace(
                id=address, address=address, node_id=node_id, is_pxe_enabled=is_pxe_enabled, extra=extra
            )
        )
        self.asked.append(f"port {address} of {node_id}")

    def delete_port(self, ident: str) -> None:
        self.made_ports = [port for port in self.made_ports if port.id != ident]
        self.asked.append(f"delete port {ident}")

    def set_node_provision_state(self, node: Any, verb: str) -> None:
        self.asked.append(f"{node.name} {verb}")
        node.provision_state = NEXT[node.provision_state, verb]

    def unset_node_maintenance(self, node: Any) -> None:
        node.is_maintenance = False

    def get(self, *_: Any, **__: Any) -> Any:
        return response(*self.inspected)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enroll, "POLL_SECONDS", 0.01)


def inventory(*names: str, password: str = "first") -> Inventory:  # noqa: S107
    return Inventory.model_validate(
        {
            "nodes": [
                {
                    "name": name,
                    "bmc": {"address": f"bmc-{name}", "username": "admin", "password": password},
                    "ports": [f"52:54:00:00:00:{number:02}"],
                }
                for number, name in enumerate(names, 1)
            ]
        }
    )


def run(ironic: Ironic, wish: Inventory, **options: Any) -> list[str]:
    system: Any = ironic
    return enroll.enroll(
        system, wish, settings=SETTINGS, options=enroll.Options(lambda *_: None, lambda *_: [], **options)
    )


def test_a_new_node_becomes_available_and_then_nothing_is_left() -> None:
    ironic = Ironic()
    assert run(ironic, inventory("a")) == ["a: new; port 52:54:00:00:00:01", "a: manage", "a: provide"]
    assert run(ironic, inventory("a")) == []


def test_a_corrected_password_reaches_nodes_in_use_too() -> None:
    ironic = Ironic()
    run(ironic, inventory("a", "b"))
    ironic.there["b"].provision_state, ironic.asked = "active", []
    assert run(ironic, inventory("a", "b", password="second")) == [
        "a: the BMC's password",
        "b: the BMC's password",
    ]
    assert ironic.asked == [f"patch {name} /driver_info/redfish_password /extra/osbox" for name in "ab"]
    assert ironic.there["b"].driver_info["redfish_password"] == "second"
    assert "second" not in str(ironic.there["b"].extra)


def test_one_bad_node_stops_no_other_and_all_failures_are_told_at_the_end() -> None:
    ironic = Ironic(refuses=("b",), c={"provision_state": "clean hold"})
    with pytest.raises(Error, match="2 of 4 nodes are not available") as caught:
        run(ironic, inventory("a", "b", "c", "d"))
    assert {name: node.provision_state for name, node in ironic.there.items()} == {
        "a": "available",
        "c": "clean hold",
        "d": "available",
    }
    assert "b: Ironic refuses what nodes.yaml says of it" in caught.value.evidence
    assert "a driver that is not enabled" in caught.value.evidence
    assert "c is in the state `clean hold`" in caught.value.evidence


@pytest.mark.parametrize("state", sorted(states.FAILED))
def test_a_node_that_failed_is_brought_back(state: str) -> None:
    ironic = Ironic(a={"provision_state": state})
    run(ironic, inventory("a"))
    assert ironic.there["a"].provision_state == "available"


@pytest.mark.parametrize("state", sorted(states.UNDEPLOY))
def test_a_failed_node_with_a_server_is_refused_at_once_with_the_command(state: str) -> None:
    ironic = Ironic(a={"provision_state": state, "instance_id": "77"})
    with pytest.raises(UserError, match=f"a is in the state `{state}` and holds the server 77") as caught:
        run(ironic, inventory("a"))
    assert "osbox openstack server delete 77" in caught.value.hint


@pytest.mark.parametrize("state", sorted(states.BACK))
def test_a_state_that_somebody_brought_a_node_to_is_refused_at_once(state: str) -> None:
    with pytest.raises(UserError, match="to which somebody brought it") as caught:
        run(Ironic(a={"provision_state": state}), inventory("a"))
    assert f"osbox openstack baremetal node {states.BACK[state]} a" in caught.value.hint


def test_what_differs_is_sent_when_ironic_is_done_with_the_node() -> None:
    """While it cleans it refuses: 409, Node can not be updated while a state transition is in progress."""
    ironic = Ironic()
    run(ironic, inventory("a"))
    node = ironic.there["a"]
    node.provision_state, ironic.asked, looks = "clean wait", [], list[int]()

    def look(_: Any) -> None:
        looks.append(1)
        if len(looks) == 3:
            assert ironic.asked == []
            node.provision_state = "available"

    ironic.on_look = look
    assert run(ironic, inventory("a", password="second")) == ["a: the BMC's password"]


def test_what_ironic_begins_between_the_look_and_the_change_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody asked for a cleaning that very moment: it was told as a mistake in the file."""
    ironic = Ironic()
    run(ironic, inventory("a"))
    node, takes = ironic.there["a"], ironic.patch_node

    def refuse(*_: Any) -> None:
        node.provision_state = "cleaning"
        monkeypatch.setattr(ironic, "patch_node", takes)
        ironic.on_look = done
        raise exceptions.ConflictException("while a state transition is in progress")

    def done(_: Any) -> None:
        looks.append(1)
        if len(looks) == 3:
            node.provision_state = "available"

    looks = list[int]()
    monkeypatch.setattr(ironic, "patch_node", refuse)
    assert run(ironic, inventory("a", password="second")) == ["a: the BMC's password"]


def test_a_node_that_is_done_after_the_rounds_look_gets_its_corrections_before_the_next_step() -> None:
    """The round's look is made for the first node that is done; the second one was still inspected then."""
    ironic = Ironic()
    run(ironic, inventory("a", "b"))
    for node in ironic.there.values():
        node.provision_state = "inspecting"
    ironic.asked, looked = [], list[str]()

    def look(node: Any) -> None:
        looked.append(node.name)
        if len(looked) > 2 and node.provision_state == "inspecting":
            node.provision_state = "manageable"

    ironic.on_look = look
    run(ironic, inventory("a", "b", password="second"))
    changed = " /driver_info/redfish_password /extra/osbox"
    for name in ("a", "b"):
        mine = [ask for ask in ironic.asked if name in ask.split()]
        assert mine == [f"patch {name}{changed}", f"{name} provide"]


def test_a_conflict_with_anything_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ironic = Ironic()
    run(ironic, inventory("a"))

    def refuse(*_: Any) -> None:
        raise exceptions.ConflictException("a node of that name is there")

    monkeypatch.setattr(ironic, "patch_node", refuse)
    with pytest.raises(Error, match=r"Ironic refuses what nodes\.yaml says of it"):
        run(ironic, inventory("a", password="second"))


def test_many_nodes_that_were_waited_for_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"n{number}" for number in range(20)]
    ironic, listings = Ironic(), list[int]()
    run(ironic, inventory(*names))
    nodes = ironic.nodes

    def listed(**words: Any) -> Any:
        listings.append(1)
        return nodes(**words)

    monkeypatch.setattr(ironic, "nodes", listed)
    for node in ironic.there.values():
        node.provision_state = "cleaning"

    def look(_: Any) -> None:
        for node in ironic.there.values():
            node.provision_state = "available"

    ironic.on_look = look
    assert len(run(ironic, inventory(*names, password="second"))) == len(names)
    assert len(listings) == 2


def test_enrolled_means_that_placement_offers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    offers = iter([set(), {"id-b"}, {"id-a", "id-b"}])
    run(Ironic(), inventory("a", "b"), placeable=lambda _: next(offers))
    assert list(offers) == []
    monkeypatch.setattr(enroll, "SCHEDULABLE_SECONDS", 0.05)
    with pytest.raises(Error, match="a is available, and Placement does not offer it to Nova"):
        run(Ironic(), inventory("a"), placeable=lambda _: set())


def test_a_node_in_maintenance_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    run(Ironic(a={"is_maintenance": True}), inventory("a"), placeable=lambda _: set())
    assert "osbox openstack baremetal node maintenance unset a" in " ".join(capsys.readouterr().err.split())


def test_swapped_ports_find_their_nodes() -> None:
    ironic = Ironic()
    run(ironic, inventory("a", "b"))
    ironic.asked = []
    run(ironic, inventory("b", "a"))
    assert [ask for ask in ironic.asked if "port" in ask] == [
        "delete port 52:54:00:00:00:02",
        "delete port 52:54:00:00:00:01",
        "port 52:54:00:00:00:01 of id-b",
        "port 52:54:00:00:00:02 of id-a",
    ]


@pytest.mark.parametrize("nodes", [("a",), ("a", "b")])
def test_an_api_that_is_being_restarted_is_told_once_and_as_that(nodes: tuple[str, ...]) -> None:
    """Of its 503 the key that a good answer has was asked: "osbox has a defect: KeyError"."""
    ironic = Ironic()
    ironic.inspected = DOWN
    with pytest.raises(Error, match="whether a node was inspected: HTTP 503") as error:
        run(ironic, inventory(*nodes))
    assert "osbox status" in error.value.hint


def test_a_node_of_which_ironic_tells_nothing_stops_no_other() -> None:
    ironic = Ironic()
    ironic.inspected = (404, "{}")
    with pytest.raises(Error, match="2 of 2 nodes are not available") as error:
        run(ironic, inventory("a", "b"))
    assert error.value.evidence.count("HTTP 404") == 2
