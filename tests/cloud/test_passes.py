"""Swift's passes in `osbox status`: golden records, and what is said when there are none."""

import json
from pathlib import Path

import pytest

from osbox import log
from osbox.cli import execute
from osbox.cloud import passes
from osbox.engine.asking import SilentError
from osbox.errors import Error
from tests.cloud.shown import Shown
from tests.conftest import PROJECT

CASES = PROJECT / "tests/cases/passes"
GIVEN = {
    "an old image": '{"object-expirer": {"begin": 1.0, "code": 0, "errors": 0, "failures": 0}}',
    "cut": '{"object-expirer": {"la',
    "a list": "[1]",
    "nothing": "",
    "no such thing": "null",
}


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(monkeypatch, "swift-account", "swift-daemons")


@pytest.mark.parametrize("file", sorted(CASES.glob("*.json")), ids=lambda file: file.stem)
def test_status_shows_them(
    cloud: Shown, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.out, "_width", 200)
    cloud.answer = file.read_text()
    assert execute(["status"]) == 0
    said = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert said == file.with_suffix(".txt").read_text().splitlines()
    assert cloud.asked == [("exec", "swift-daemons.os-in-a-box", "swift-daemons", "passes")]


def test_as_json_they_are_the_daemons_own(cloud: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.answer = (CASES / "amiss.json").read_text()
    assert execute(["status", "--json"]) == 0
    account, daemons = json.loads(capsys.readouterr().out)
    assert "passes" not in account
    assert daemons["health"] == "healthy"
    assert daemons["passes"][0] == {
        "name": "object-expirer",
        "lane": "quick",
        "ago": 12.3,
        "seconds": 6.2,
        "code": 0,
        "errors": 7,
        "wrong": "failed 2 times in a row (exit code 0, 7 errors)",
    }


@pytest.mark.parametrize("text", GIVEN.values(), ids=GIVEN)
def test_what_is_no_record_is_not_shown(cloud: Shown, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.answer = text
    assert execute(["status"]) == 0
    said = capsys.readouterr()
    assert "pass" not in said.out + said.err
    assert "swift-daemons" in said.out


@pytest.mark.parametrize("error", [SilentError("no answer within 5 s"), Error("docker is not installed")])
def test_no_answer_is_no_error(cloud: Shown, error: Error, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.fails = error
    assert execute(["status"]) == 0
    said = capsys.readouterr()
    assert ("swift-daemons" in said.out, said.err) == (True, "")


def test_a_container_that_does_not_run_is_not_asked(cloud: Shown) -> None:
    cloud.state = "exited"
    assert execute(["status"]) == 0
    assert cloud.asked == []


def test_a_pipe_gets_no_control_codes() -> None:
    strange = json.dumps({"a\x1b[31m": {"lane": "quick", "wrong": "\x1b[0mfailed\x07"}})
    assert passes.read(strange) == [passes.Pass("a", "quick", None, None, 0, 0, "failed")]
