"""Swift's passes in `osbox status`: golden records, and what is said when there are none."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from osbox import log, run
from osbox.cli import execute
from osbox.cloud import passes, stack
from osbox.cloud.compose import ServiceState
from osbox.engine import docker, engine
from osbox.engine.asking import SilentError
from osbox.engine.engine import Engine
from osbox.errors import Error
from tests.conftest import PROJECT

CASES = PROJECT / "tests/cases/passes"
GIVEN = {
    "an old image": '{"object-expirer": {"begin": 1.0, "code": 0, "errors": 0, "failures": 0}}',
    "cut": '{"object-expirer": {"la',
    "a list": "[1]",
    "nothing": "",
    "no such thing": "null",
}


class Cloud:
    """swift-daemons as Docker shows it, and what its program answers."""

    def __init__(self) -> None:
        self.state, self.answer = "running", ""
        self.fails: Error | None = None
        self.asked = list[tuple[str, ...]]()

    def observe(self, *_: object) -> dict[str, ServiceState]:
        now = datetime.now(UTC).isoformat()
        return {name: ServiceState(name, self.state, "healthy", "x:1", now, "12ab") for name in SERVICES}

    def ask(self, _: Engine, *words: str, check: bool, seconds: float) -> run.Result:
        assert seconds <= 10, "nobody waits for it"
        assert not check
        self.asked.append(words)
        if self.fails:
            raise self.fails
        return run.Result(0, self.answer, "")


SERVICES = ("swift-account", "swift-daemons")


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    found = Cloud()
    monkeypatch.setattr(engine, "find", lambda *_: Engine("private", "26"))
    monkeypatch.setattr(stack, "observe", found.observe)
    monkeypatch.setattr(docker, "ask", found.ask)
    return found


@pytest.mark.parametrize("file", sorted(CASES.glob("*.json")), ids=lambda file: file.stem)
def test_status_shows_them(
    cloud: Cloud, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.out, "_width", 200)
    cloud.answer = file.read_text()
    assert execute(["status"]) == 0
    said = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert said == file.with_suffix(".txt").read_text().splitlines()
    assert cloud.asked == [("exec", "swift-daemons.os-in-a-box", "swift-daemons", "passes")]


def test_as_json_they_are_the_daemons_own(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
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
def test_what_is_no_record_is_not_shown(cloud: Cloud, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.answer = text
    assert execute(["status"]) == 0
    said = capsys.readouterr()
    assert "pass" not in said.out + said.err
    assert "swift-daemons" in said.out


@pytest.mark.parametrize("error", [SilentError("no answer within 5 s"), Error("docker is not installed")])
def test_no_answer_is_no_error(cloud: Cloud, error: Error, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.fails = error
    assert execute(["status"]) == 0
    said = capsys.readouterr()
    assert ("swift-daemons" in said.out, said.err) == (True, "")


def test_a_container_that_does_not_run_is_not_asked(cloud: Cloud) -> None:
    cloud.state = "exited"
    assert execute(["status"]) == 0
    assert cloud.asked == []


def test_a_pipe_gets_no_control_codes() -> None:
    strange = json.dumps({"a\x1b[31m": {"lane": "quick", "wrong": "\x1b[0mfailed\x07"}})
    assert passes.read(strange) == [passes.Pass("a", "quick", None, None, 0, 0, "failed")]
