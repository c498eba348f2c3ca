"""What brings a node back to `available`, and what is left to whom it belongs."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from openstack import exceptions

from osbox.errors import Error, UserError
from osbox.metal import repair as repairing
from osbox.metal.repair import Seen, next_step
from osbox.metal.states import BACK, FAILED, SETTLED, UNDER_WAY

STATES = (*sorted(UNDER_WAY | FAILED | SETTLED | set(BACK)), "enroll", "manageable")


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (Seen("n", "available"), ""),
        (Seen("n", "available", "there", "7"), ""),
        (Seen("n", "available", "gone", "7"), "remove instance_uuid"),
        (Seen("n", "active", "there", "7"), ""),
        (Seen("n", "active"), ""),
        (Seen("n", "rescue", "there", "7"), ""),
        (Seen("n", "deploy failed", "gone", "7"), "deleted"),
        (Seen("n", "deploy failed"), "deleted"),
        (Seen("n", "error"), "deleted"),
        (Seen("n", "clean failed"), "manage"),
        (Seen("n", "clean failed", maintenance=True, fault="clean failure"), "unset maintenance"),
        (Seen("n", "available", maintenance=True, fault="power failure"), "unset maintenance"),
        (Seen("n", "cleaning", maintenance=True), "wait"),
        (Seen("n", "inspect failed"), "manage"),
        (Seen("n", "enroll"), "manage"),
        (Seen("n", "manageable"), "provide"),
        (Seen("n", "wait call-back", "there", "7"), "wait"),
    ],
    ids=str,
)
def test_what_comes_next(seen: Seen, step: str) -> None:
    assert next_step(seen, undeploy=False) == step


@pytest.mark.parametrize(
    ("seen", "said", "hint"),
    [
        (Seen("n", "available", maintenance=True, reason="new fans"), "new fans", "maintenance unset n"),
        (Seen("n", "clean failed", maintenance=True), "no reason given", "maintenance unset n"),
        (Seen("n", "deploy failed", "there", "7"), "holds the server 7, which Nova has", "server delete 7"),
        (Seen("n", "error", "there", "7"), "holds the server 7", "server delete 7"),
        (Seen("n", "active", "gone", "7"), "server 7, which Nova has not", "node repair --undeploy n"),
        (Seen("n", "rescue failed"), "somebody brought it", "node unrescue n; then osbox node repair"),
    ],
    ids=str,
)
def test_what_is_somebody_elses_to_decide(seen: Seen, said: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        next_step(seen, undeploy=False)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_only_when_asked_a_disk_is_erased_that_somebody_may_have_written() -> None:
    assert next_step(Seen("n", "active", "gone", "7"), undeploy=True) == "deleted"
    assert next_step(Seen("n", "active", "there", "7"), undeploy=True) == ""
    assert next_step(Seen("n", "active"), undeploy=True) == "", "deployed without Nova"


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_ironics_has_an_answer(state: str) -> None:
    with pytest.raises(UserError) if state in BACK else nullcontext():
        step = next_step(Seen("n", state), undeploy=False)
        assert bool(step) is (state not in SETTLED)


# --- with an Ironic that is made up; the real one: tests/e2e/isolated/test_repair.py

AFTER = {"manage": "manageable", "provide": "available", "deleted": "available"}


class Ironic:
    """Nodes by name, and what was asked for; Nova beside it, with its servers."""

    def __init__(self, *nodes: dict[str, Any], servers: tuple[str, ...] = ()) -> None:
        self.nodes = {node["name"]: self._node(**node) for node in nodes}
        self.servers, self.baremetal, self.compute = servers, self, self
        self.asked, self.ends = list[str](), dict(AFTER)
        self.looked_for = list[str]()

    @staticmethod
    def _node(**more: Any) -> SimpleNamespace:
        about = {"instance_id": None, "is_maintenance": False, "fault": None}
        about |= {"maintenance_reason": None, "last_error": None}
        return SimpleNamespace(**about | {"id": more["name"], "provision_state": "available"} | more)

    def get_node(self, name: str) -> Any:
        if name not in self.nodes:
            raise exceptions.NotFoundException
        return SimpleNamespace(**vars(self.nodes[name]))

    def get_server(self, server: str) -> None:
        self.looked_for.append(server)
        if server not in self.servers:
            raise exceptions.NotFoundException

    def unset_node_maintenance(self, node: Any) -> None:
        self.asked.append("unset maintenance")
        self.nodes[node.id].is_maintenance = False

    def patch_node(self, node: Any, patch: list[dict[str, str]]) -> None:
        assert patch == [{"op": "remove", "path": "/instance_uuid"}]
        self.asked.append("remove instance_uuid")
        self.nodes[node.id].instance_id = None

    def set_node_provision_state(self, node: Any, verb: str) -> None:
        if verb == "refused":
            raise exceptions.ConflictException
        self.asked.append(verb)
        kept = self.nodes[node.id]
        kept.provision_state, kept.instance_id = self.ends[verb], None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairing, "POLL_SECONDS", 0.01)


def repair(ironic: Any, *names: str, **more: Any) -> list[str]:
    return repairing.repair(ironic, ironic, names, report=lambda *_: None, **more)


def test_a_node_whose_cleaning_failed_goes_all_the_way() -> None:
    ironic = Ironic(
        {"name": "n", "provision_state": "clean failed", "is_maintenance": True, "fault": "clean failure"}
    )
    assert repair(ironic, "n") == ["n: unset maintenance", "n: manage", "n: provide"]
    assert repair(ironic, "n") == []


def test_a_server_that_nova_has_not_is_forgotten() -> None:
    ironic = Ironic(
        {"name": "a", "provision_state": "deploy failed", "instance_id": "7"},
        {"name": "b", "instance_id": "8"},
    )
    assert sorted(repair(ironic, "a", "b")) == ["a: deleted", "b: remove instance_uuid"]
    assert {node.instance_id for node in ironic.nodes.values()} == {None}


def test_one_that_cannot_be_repaired_stops_no_other() -> None:
    ironic = Ironic(
        {"name": "a", "provision_state": "deploy failed", "instance_id": "7"},
        {"name": "b", "provision_state": "clean failed"},
        servers=("7",),
    )
    with pytest.raises(UserError, match="a is in the state `deploy failed` and holds the server 7"):
        repair(ironic, "a", "b", "a")
    assert ironic.asked == ["manage", "provide"]


def test_all_that_cannot_be_repaired_are_told() -> None:
    ironic = Ironic(
        {"name": "a", "provision_state": "deploy failed", "instance_id": "7"},
        {"name": "b", "provision_state": "rescue failed"},
        {"name": "c", "provision_state": "clean failed"},
        servers=("7",),
    )
    with pytest.raises(UserError, match="2 of 3 nodes are not available") as caught:
        repair(ironic, "a", "b", "c", "a")
    assert "a is in the state `deploy failed` and holds the server 7" in caught.value.evidence
    assert "b is in the state `rescue failed`, to which somebody brought it" in caught.value.evidence
    assert "osbox openstack server delete 7" in caught.value.hint
    assert "osbox openstack baremetal node unrescue b" in caught.value.hint


def test_not_all_of_them_are_somebody_elses_to_decide() -> None:
    ironic = Ironic(
        {"name": "a", "provision_state": "rescue failed"}, {"name": "b", "provision_state": "clean failed"}
    )
    ironic.ends["provide"] = "clean failed"
    with pytest.raises(Error, match="2 of 2 nodes are not available") as caught:
        repair(ironic, "a", "b")
    assert not isinstance(caught.value, UserError)


def test_nova_is_not_asked_for_the_server_while_ironic_is_at_work() -> None:
    """What comes next does not hang on it, and each node is looked at every second for minutes."""
    ironic = Ironic({"name": "n", "provision_state": "deploying", "instance_id": "7"})
    with pytest.raises(Error, match="n has been in the state `deploying`"):
        repair(ironic, "n", deadline=0.02)
    assert ironic.looked_for == []
    ironic.nodes["n"].provision_state = "deploy failed"
    assert repair(ironic, "n") == ["n: deleted"]
    assert ironic.looked_for == ["7"]


def test_what_fails_again_is_told_at_once() -> None:
    ironic = Ironic({"name": "n", "provision_state": "clean failed", "last_error": "no ramdisk"})
    ironic.ends["provide"] = "clean failed"
    with pytest.raises(Error, match="n is in the state `clean failed` again") as caught:
        repair(ironic, "n")
    assert (caught.value.evidence, caught.value.hint) == ("no ramdisk", "osbox explain n")


def test_what_lasts_is_given_up() -> None:
    ironic = Ironic({"name": "n", "provision_state": "cleaning"})
    with pytest.raises(Error, match="n has been in the state `cleaning` for"):
        repair(ironic, "n", deadline=0.02)


def test_an_unknown_node_is_told() -> None:
    with pytest.raises(UserError, match="there is no node n"):
        repair(Ironic(), "n")
