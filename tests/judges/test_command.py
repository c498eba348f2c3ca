"""osbox judge: exit codes, and what a verdict looks like."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from osbox.cli import execute
from osbox.cloud import plan, stack
from osbox.commands import judge as command
from osbox.commands.context import Context
from osbox.engine.engine import Engine
from osbox.errors import UserError
from osbox.judges import environment, run
from osbox.judges.run import Judge
from osbox.judges.verdict import Verdict
from osbox.site.site import Paths

GREEN = Verdict(
    {"passed": 7, "failed": 2, "skipped": 3},
    83.5,
    skips={("Cinder is required", "There are no volumes."): 3},
    failures={"Bare metal has no [consoles].": 2},
)
WRONG = (
    "failed   api.test_a.A.test_b[x-y]: Conflict",
    "passed   api.test_a.A.test_c: it is expected to fail",
)
RED = Verdict({"passed": 7, "failed": 1, "skipped": 2}, 83.5, skips={("not configured", ""): 2}, wrong=WRONG)
Judging = Callable[[Verdict], list[tuple[Judge, str, int]]]


@pytest.fixture
def judging(paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Judging:
    """A cloud that is up; call it with the verdict, and it notes what was asked for."""
    paths.home.mkdir(parents=True)
    monkeypatch.setattr(stack, "require_up", lambda *_: None)
    monkeypatch.setattr(Context, "engine", lambda _: Engine("host", "28"))
    monkeypatch.setattr(plan, "release", lambda *_: "2026.1")

    def begin(verdict: Verdict) -> list[tuple[Judge, str, int]]:
        asked = list[tuple[Judge, str, int]]()

        def judge(here: Judge, wanted: str, *, workers: int) -> Verdict:
            asked.append((here, wanted, workers))
            return verdict

        monkeypatch.setattr(run, "judge", judge)
        return asked

    return begin


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed, and no cloud is spoken to."""

    def refuse(*_: object) -> Any:
        raise AssertionError

    monkeypatch.setattr(environment, "ready", refuse)
    monkeypatch.setattr(Judge, "connect", refuse)


def test_an_unknown_suite(judging: Judging, never: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["judge", "rally"]) == 2
    said = capsys.readouterr().err
    assert "there is no suite rally" in said
    assert "it is tempest, swift, sdk" in said


def test_a_wrong_regular_expression(
    judging: Judging, never: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["judge", "swift", "--tests", "acl("]) == 2
    said = capsys.readouterr().err
    assert "acl( is no regular expression: " in said
    assert "osbox judge --help" in said


def test_no_cloud(paths: Paths, never: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["judge", "swift"]) == 2
    assert "there is no cloud yet" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--workers", "-1"], ["--workers", "two"]])
def test_wrong_words(judging: Judging, words: list[str]) -> None:
    assert execute(["judge", "swift", *words]) == 2


def test_a_name_that_is_taken(
    judging: Judging, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def taken(*_: object, **__: object) -> Verdict:
        raise UserError("the suite needs a user called demo", hint="osbox --name judge up")

    monkeypatch.setattr(run, "judge", taken)
    assert execute(["judge", "sdk"]) == 2
    assert "the suite needs a user called demo" in capsys.readouterr().err


def test_a_green_verdict(judging: Judging, capsys: pytest.CaptureFixture[str]) -> None:
    asked = judging(GREEN)
    assert execute(["judge", "tempest", "--tests", "identity", "--workers", "3"]) == 0
    [(here, wanted, workers)] = asked
    assert (here.name, here.release, wanted, workers) == ("tempest", "2026.1", "identity", 3)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("tempest 2026.1: 7 passed, 2 failed, 3 skipped, ")
    assert "2 failed Bare metal has no [consoles]." in lines
    assert "3 skipped There are no volumes." in lines
    assert not [line for line in lines if "✗" in line]


def test_a_red_verdict(judging: Judging, capsys: pytest.CaptureFixture[str]) -> None:
    judging(RED)
    assert execute(["judge", "swift"]) == 1
    said = capsys.readouterr()
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "2 skipped not configured" in lines
    assert lines[-2:] == [f"✗ {' '.join(line.split())}" for line in WRONG]
    assert "judges/swift" in "".join(said.err.split())


def test_a_long_list_is_cut(judging: Judging, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tuple(f"failed   api.test_{number}: no" for number in range(command.MOST + 5))
    judging(Verdict({"passed": 0, "failed": len(wrong), "skipped": 0}, 1, wrong=wrong))
    assert execute(["judge", "swift"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "✗" in line]) == command.MOST
    assert lines[-1].strip() == "and 5 more"


@pytest.mark.parametrize(("verdict", "code"), [(GREEN, 0), (RED, 1)])
def test_json(judging: Judging, capsys: pytest.CaptureFixture[str], verdict: Verdict, code: int) -> None:
    judging(verdict)
    assert execute(["judge", "sdk", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == {
        "counts": verdict.counts,
        "seconds": 83.5,
        "skips": [[*key, count] for key, count in verdict.skips.items()],
        "failures": verdict.failures,
        "wrong": list(verdict.wrong),
    }
