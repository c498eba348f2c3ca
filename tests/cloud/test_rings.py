"""osbox swift rings: golden answers of Swift's program, and what is said when there are none."""

import json
from pathlib import Path

import pytest

from osbox import log, run
from osbox.cli import execute
from osbox.cloud import rings, stack
from osbox.cloud.compose import ServiceState
from osbox.cloud.rings import Move
from osbox.engine import docker, engine
from osbox.engine.engine import Engine
from tests.conftest import PROJECT

CASES = PROJECT / "tests/cases/rings"


class Cloud:
    """Swift's container as Docker shows it, and what its program answers."""

    def __init__(self) -> None:
        self.result = run.Result(0, "[]", "")
        self.asked = list[str]()

    def observe(self, *_: object) -> dict[str, ServiceState]:
        return {"swift-proxy": ServiceState("swift-proxy", "running", "healthy", "x:1", "", "12ab")}

    def __call__(self, _: Engine, *words: str, **more: object) -> run.Result:
        assert words[:3] == ("exec", "swift-proxy.os-in-a-box", "swift-rings")
        assert more["check"] is False
        self.asked += words[3:]
        return self.result


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    found = Cloud()
    home.mkdir()
    monkeypatch.setattr(engine, "find", lambda *_: Engine("private", "26"))
    monkeypatch.setattr(engine, "start", lambda *_: Engine("private", "26"))
    monkeypatch.setattr(stack, "observe", found.observe)
    monkeypatch.setattr(stack, "require_up", lambda *_: None)
    monkeypatch.setattr(docker, "ask", found)
    monkeypatch.setattr(docker, "docker", found)
    return found


@pytest.mark.parametrize("file", sorted(CASES.glob("*.json")), ids=lambda file: file.stem)
def test_rings_are_shown(
    cloud: Cloud, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.out, "_width", 200)
    cloud.result = run.Result(0, file.read_text(), "")
    assert execute(["swift", "rings"]) == 0
    said = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert said == file.with_suffix(".txt").read_text().splitlines()
    assert cloud.asked == ["show"]


def test_rings_as_json(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.result = run.Result(0, (CASES / "two.json").read_text(), "")
    assert execute(["swift", "rings", "--json"]) == 0
    last = json.loads(capsys.readouterr().out)[-1]
    assert (last["name"], last["policy"], last["balance"]) == ("object-1", "silver", 53.12)
    assert last["devices"][1]["address"] == "10.0.0.2"


def answer(**last: object) -> run.Result:
    """Of a rebalance of two rings; of the second one so."""
    one = {"policy": "", "partitions": 64, "moved": 0, "before": 0.0, "after": 0.0, "left": 0}
    rest = {"ring": "object-1", "policy": "silver", "outcome": "balanced"}
    found = [{**one, "ring": "account", "outcome": "balanced"}, {**one, **rest, **last}]
    return run.Result(0, json.dumps(found), "")


def test_a_rebalance_says_what_moved(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.result = answer(outcome="moved", moved=32, before=100.0)
    assert execute(["swift", "rings", "--rebalance"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "account: nothing to move",
        "object-1 (silver): 32 of 64 partitions moved; balance 100 % before, 0 % now",
        "Next: nothing; every service of Swift reads a new ring by itself within 15 s",
    ]
    assert cloud.asked == ["rebalance"]


def test_with_nothing_to_move_there_is_no_new_ring(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.result = answer()
    assert execute(["swift", "rings", "--rebalance"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "account: nothing to move",
        "object-1 (silver): nothing to move",
    ]


def test_a_rebalance_that_is_too_early_says_for_how_long(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.result = answer(outcome="early", left=1201, before=53.0)
    assert execute(["swift", "rings", "--rebalance"]) == 2
    said = capsys.readouterr()
    assert "account: nothing to move" in said.out
    assert "too early for object-1: a partition is moved once in min_part_hours" in said.err
    assert "osbox swift rings --rebalance in 21 min" in said.err


def test_a_change_that_is_too_small_is_told() -> None:
    move = Move("object", "gold", "small", 64, 0, 1.56, 1.56, 0)
    assert rings.told(move).startswith("object (gold): left as it is: it would get better by less than 1 %")


@pytest.mark.parametrize(
    ("result", "hint"),
    [
        (run.Result(127, "", "swift-rings: executable file not found in $PATH"), "osbox build swift"),
        (run.Result(1, "", "Traceback\nOSError: no space"), "osbox logs swift-proxy"),
        (run.Result(0, "no JSON", ""), "osbox build swift"),
    ],
)
@pytest.mark.parametrize("words", [["swift", "rings"], ["swift", "rings", "--rebalance"]])
def test_what_it_says_when_swift_does_not_tell(
    cloud: Cloud, result: run.Result, hint: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.result = result
    assert execute(words) == 1
    said = capsys.readouterr().err
    assert hint in said
    assert (result.err or result.out).splitlines()[-1] in said


def test_without_a_cloud_there_are_no_rings(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "find", lambda *_: None)
    assert execute(["swift", "rings"]) == 2
    assert "osbox up" in capsys.readouterr().err
