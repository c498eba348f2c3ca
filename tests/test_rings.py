"""Swift's policies and rings (images/swift/rings.py): the program run for real, with a made-up builder of
rings in place of Swift's."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from osbox import run
from tests.conftest import PROJECT

PROGRAM = PROJECT / "images/swift/rings.py"
HASH = "[swift-hash]\nswift_hash_path_prefix = a\n"
ONE = ["account", "container", "object"]

# A builder as far as the program needs it: its state is JSON, and a test may change it.
BUILDER = """
import json, pathlib
class Ring:
    def __init__(self, state): self.state = state
    def save(self, file): pathlib.Path(file).write_text(json.dumps(self.state["devs"]))
class RingBuilder:
    def __init__(self, part_power, replicas, min_part_hours, state=None):
        self.state = state or dict(
            parts=2**part_power, replicas=replicas, min_part_hours=min_part_hours, devs=[], balance=100.0,
            next=0.0, moves=0, seconds=0, changed=True, _last_part_moves_epoch=0)
    @classmethod
    def load(cls, file): return cls(0, 0, 0, json.loads(pathlib.Path(file).read_text()))
    def __getattr__(self, name):
        names = dict(min_part_seconds_left="seconds", devs_changed="changed")
        return self.state[names.get(name, name)]
    dispersion = 0.0
    def add_dev(self, dev): self.state["devs"].append({**dev, "parts": 64, "parts_wanted": 0})
    def rebalance(self, seed=None):
        self.state["balance"] = self.state["next"]
        return self.state["moves"], self.state["balance"], 0
    def to_dict(self): return dict(self.state)
    def copy_from(self, state): self.state = state
    def get_balance(self): return self.state["balance"]
    def get_ring(self): return Ring(self.state)
    def validate(self): pass
    def save(self, file): pathlib.Path(file).write_text(json.dumps({**self.state, "changed": False}))
"""
RUNNER = f"""
import importlib.util, os, pathlib, sys
spec = importlib.util.spec_from_file_location("rings", {str(PROGRAM)!r})
rings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rings)
rings.RINGS = pathlib.Path(sys.argv[1]) / "rings"
rings.CONF = pathlib.Path(sys.argv[1]) / "swift.conf"
if sys.argv[2] == "reads": os.access = lambda *_: False
sys.exit(rings.main(sys.argv[3:]))
"""


class Lab:
    """A container of Swift's: its volume with rings, and its configuration."""

    def __init__(self, top: Path) -> None:
        self.top, self.rings, self.conf = top, top / "rings", top / "swift.conf"
        self.rings.mkdir()
        self.conf.write_text(HASH)
        (top / "modules/swift/common").mkdir(parents=True)
        (top / "modules/swift/common/ring.py").write_text(BUILDER)

    def __call__(self, *words: str, policies: str = "", mode: str = "writes") -> run.Result:
        env = {"PYTHONPATH": str(self.top / "modules"), "OSBOX_WAIT_SECONDS": "0.3"}
        return run.run(
            [sys.executable, "-c", RUNNER, str(self.top), mode, *words],
            env=env | ({"OSBOX_SWIFT_POLICIES": policies} if policies else {}),
            timeout=30,
            check=False,
        )

    def names(self, suffix: str = ".ring.gz") -> list[str]:
        return sorted(file.name.removesuffix(suffix) for file in self.rings.glob(f"*{suffix}"))

    def change(self, name: str, **state: object) -> None:
        file = self.rings / f"{name}.builder"
        file.write_text(json.dumps({**json.loads(file.read_text()), "changed": False, **state}))

    def moved(self) -> dict[str, tuple[object, ...]]:
        """Of each ring that was rebalanced: outcome, partitions that moved, balance now."""
        result = self("rebalance", policies="gold,silver")
        found = json.loads(result.out)
        return {one["ring"]: (one["outcome"], one["moved"], one["after"]) for one in found}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


# --- at the start of a container
# --------------------------------------------------------------------------------


def test_without_a_word_it_is_swifts_own_policy(lab: Lab) -> None:
    assert lab("run", "echo", "started").out == "started\n"
    assert lab.conf.read_text() == f"{HASH}[storage-policy:0]\nname = Policy-0\ndefault = yes\n"
    assert (lab.names(), lab.names(".builder")) == (ONE, ONE)


def test_a_second_policy_gets_a_ring_and_the_others_stay(lab: Lab) -> None:
    lab("run", "true")
    before = {file: file.stat().st_mtime_ns for file in lab.rings.iterdir()}
    for _ in range(2):
        assert lab("run", "echo", "started", policies="gold,silver").out == "started\n"
        assert lab.names() == sorted([*ONE, "object-1"])
        assert {file: file.stat().st_mtime_ns for file in before} == before
    assert lab.conf.read_text() == (
        f"{HASH}[storage-policy:0]\nname = gold\ndefault = yes\n[storage-policy:1]\nname = silver\n"
    )
    assert stat.S_IMODE(lab.conf.stat().st_mode) == 0o600
    [device] = json.loads((lab.rings / "object-1.builder").read_text())["devs"]
    assert (device["ip"], device["port"], device["device"]) == ("swift-object", 6200, "d1")


def test_a_ring_that_a_kill_left_out_is_made_of_its_builder(lab: Lab) -> None:
    lab("make", policies="gold,silver")
    lab.change("object-1", devs=[{"device": "d9"}])
    (lab.rings / "object-1.ring.gz").unlink()
    lab("make", policies="gold,silver")
    assert json.loads((lab.rings / "object-1.ring.gz").read_text()) == [{"device": "d9"}]


def test_who_may_not_write_waits_for_the_rings(lab: Lab) -> None:
    said = lab("run", "echo", "started", policies="gold,silver", mode="reads")
    assert (said.code, said.out) == (1, "")
    assert "nobody made account.ring.gz, container.ring.gz, object.ring.gz, object-1.ring.gz" in said.err
    assert "swift-proxy" in said.err
    lab("make", policies="gold,silver")
    assert lab("run", "echo", "started", policies="gold,silver", mode="reads").out == "started\n"


def test_every_service_of_swift_begins_with_it_and_has_the_policies() -> None:
    recipe = (PROJECT / "images/swift/Dockerfile").read_text()
    assert recipe.count('\nCMD ["') == recipe.count('\nCMD ["swift-rings", "run", "') == 5
    assert os.access(PROGRAM, os.X_OK)


@pytest.mark.parametrize("words", [[], ["run"], ["mend"], ["show", "all"]])
def test_other_words_are_told_the_right_ones(lab: Lab, words: list[str]) -> None:
    said = lab(*words)
    assert (said.code, said.out) == (2, "")
    assert "swift-rings rebalance" in said.err


# --- what it tells
# --------------------------------------------------------------------------------


def test_it_shows_every_ring_as_people_count(lab: Lab) -> None:
    names = [f"p{number}" for number in range(11)]
    lab("make", policies=",".join(names))
    found = json.loads(lab("show", policies=",".join(names)).out)
    objects = ["object", *(f"object-{number}" for number in range(1, 11))]
    assert [one["ring"] for one in found] == ["account", "container", *objects]
    assert [one["policy"] for one in found] == ["", "", *names]
    last = found[-1]
    assert [last[key] for key in ("partitions", "replicas", "balance", "rebalanced")] == [64, 1, 0.0, 0]
    [device] = last["devices"]
    assert device == {
        "region": 1,
        "zone": 1,
        "ip": "swift-object",
        "port": 6200,
        "device": "d1",
        "weight": 1.0,
        "parts": 64,
    }


FULL = [{"device": "d1", "parts": 64, "parts_wanted": -32}]
REBALANCED = {
    "one device": ({}, ("balanced", 0, 0.0)),
    "a new device": ({"balance": 100.0, "moves": 32, "changed": True}, ("moved", 32, 0.0)),
    "soon after": ({"balance": 100.0, "next": 100.0, "seconds": 60, "devs": FULL}, ("early", 0, 100.0)),
    "soon after, and nothing to move": ({"seconds": 60}, ("balanced", 0, 0.0)),
    "next to nothing": ({"balance": 1.5, "next": 1.0, "moves": 1}, ("small", 0, 1.5)),
}


@pytest.mark.parametrize(("state", "outcome"), REBALANCED.values(), ids=REBALANCED)
def test_a_rebalance(lab: Lab, state: dict[str, object], outcome: tuple[object, ...]) -> None:
    lab("make", policies="gold,silver")
    lab.change("object-1", **state)
    (lab.rings / "object-1.ring.gz").write_text("old")
    still = ("balanced", 0, 0.0)
    assert lab.moved() == {**dict.fromkeys(ONE, still), "object-1": outcome}
    kept = (lab.rings / "object-1.ring.gz").read_text() == "old"
    assert kept == (outcome[0] != "moved"), "only a ring that changed is written"
    assert lab.names(".new") == []
