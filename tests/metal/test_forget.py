"""Nodes taken out of an Ironic that is made up."""

from types import SimpleNamespace
from typing import Any

import pytest
from openstack import exceptions

from osbox.errors import Error, UserError
from osbox.metal import forget as forgetting


class Ironic:
    """Stands for a connection: a node in one state after the other, and what was asked of it."""

    def __init__(self, *states: str, instance: str | None = None) -> None:
        self.states, self.asked = list(states), list[str]()
        self.instance, self.is_maintenance, self.is_locked = instance, False, False
        self.baremetal = self

    def get_node(self, name: str) -> Any:
        if not self.states:
            raise exceptions.NotFoundException
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return SimpleNamespace(
            id="1",
            name=name,
            provision_state=state,
            instance_id=self.instance,
            last_error="",
            driver_info={},
            is_maintenance=self.is_maintenance,
        )

    def put(self, path: str, json: dict[str, str], **_: object) -> None:
        self.asked.append(json.get("target", path.rpartition("/")[2]))
        self.is_maintenance |= path.endswith("/maintenance")

    def delete(self, path: str, **_: object) -> Any:
        if path.endswith("/maintenance"):
            self.asked.append("no maintenance")
            self.is_maintenance = False
            return None
        self.asked.append("delete")
        if self.is_locked:
            return SimpleNamespace(status_code=409)
        self.states = []
        return SimpleNamespace(status_code=204)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "POLL_SECONDS", 0.01)


def forget(ironic: Ironic, **options: Any) -> list[str]:
    system: Any = ironic
    return forgetting.forget(system, ["rack-1"], **options)


def test_an_inspection_is_ended_and_the_node_deleted() -> None:
    ironic = Ironic("inspect wait", "inspect failed")
    assert forget(ironic) == ["rack-1"]
    assert ironic.asked == ["abort", "maintenance", "delete"]


def test_a_node_that_stands_in_its_firmware_is_switched_off_before_ironic_asks_it_to() -> None:
    """It heeds no soft power off, and Ironic gives it a minute."""
    ironic = Ironic("inspect wait", "inspect wait", "inspect failed")
    assert forget(ironic, switch_off=lambda node: ironic.asked.append(f"off {node.name}")) == ["rack-1"]
    assert ironic.asked == ["off rack-1", "abort"] * 2 + ["maintenance", "delete"]


def test_one_that_is_cleaned_stays_on() -> None:
    ironic = Ironic("clean wait", "available")
    forget(ironic, switch_off=lambda node: ironic.asked.append(f"off {node.name}"))
    assert ironic.asked == ["maintenance", "delete"]


def test_a_cleaning_is_waited_for_unless_it_does_not_matter() -> None:
    ironic = Ironic("clean wait", "clean wait", "available")
    assert forget(ironic) == ["rack-1"]
    assert "abort" not in ironic.asked
    ironic = Ironic("clean wait", "clean failed")
    assert forget(ironic, uncleaned=True) == ["rack-1"]
    assert ironic.asked[0] == "abort"


def test_a_node_that_is_not_there_was_not_forgotten() -> None:
    assert forget(Ironic()) == []


def test_a_node_with_a_server_is_left() -> None:
    with pytest.raises(UserError, match="holds the server 77"):
        forget(Ironic("active", instance="77"))


def test_a_node_that_does_not_get_on_is_told() -> None:
    with pytest.raises(Error, match="still in the state `cleaning`"):
        forget(Ironic("cleaning"), seconds=0.05)


@pytest.mark.parametrize("state", ["deploy failed", "error", "rescue failed", "clean hold"])
def test_a_node_that_failed_is_deleted(state: str) -> None:
    assert forget(Ironic(state)) == ["rack-1"]


def test_a_failed_node_with_a_server_is_told_at_once() -> None:
    with pytest.raises(UserError, match="holds the server 77"):
        forget(Ironic("deploy failed", instance="77"))


def test_a_node_that_stays_is_not_left_in_maintenance() -> None:
    """Ironic locks a node that it works on, and refuses to delete it."""
    ironic = Ironic("clean failed")
    ironic.is_locked = True
    with pytest.raises(Error, match="still in the state `clean failed`"):
        forget(ironic, seconds=0.05)
    assert not ironic.is_maintenance
    assert ironic.asked[:3] == ["maintenance", "delete", "no maintenance"]
