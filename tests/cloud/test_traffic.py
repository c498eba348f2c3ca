"""What went through the entrance: its log, as it was written, in numbers; and in `osbox status`."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from osbox import log, run
from osbox.cli import execute
from osbox.cloud import stack, traffic
from osbox.cloud.compose import ServiceState
from osbox.engine import docker, engine
from osbox.engine.asking import SilentError
from osbox.engine.engine import Engine
from osbox.errors import Error
from tests.conftest import PROJECT

LINE = "10.29.29.9 {api} GET /v3 {status} 300 0/{queued}/{connected}/{answered}/9 {tries} {end} req-1"


def line(
    api: str = "keystone",
    status: int = 200,
    answered: int = 5,
    *,
    connected: int = 0,
    queued: int = 0,
    tries: int = 0,
    end: str = "--",
) -> str:
    return LINE.format(
        api=api, status=status, queued=queued, connected=connected, answered=answered, tries=tries, end=end
    )


def test_the_form_is_the_one_that_the_entrance_writes() -> None:
    """HAProxy's own words stand for what LINE reads."""
    text = (PROJECT / "images" / "front" / "haproxy.cfg").read_text()
    assert ('log-format "%ci %b %HM %HPO %ST %B %TR/%Tw/%Tc/%Tr/%Ta %rc %ts %[var(txn.request_id)]"') in text


def test_numbers_of_each_api() -> None:
    lines = [line(answered=number) for number in range(1, 101)]
    lines += [line("ironic-api", 503, -1, connected=-1, tries=240, end="sC")]
    lines += [line("ironic-api", 200, 30, connected=4000, tries=16)]
    found = traffic.read(lines)
    assert [one.service for one in found] == ["keystone", "ironic-api"]
    assert found[0] == traffic.Traffic("keystone", 100, 0, 0, 50.5, 95.05, 0)
    assert found[1] == traffic.Traffic("ironic-api", 2, 1, 0, 4030, 4030, 4000)


@pytest.mark.parametrize(
    ("status", "end", "failed"),
    [(500, "--", 1), (404, "--", 0), (-1, "CD", 0), (-1, "cD", 0), (-1, "SD", 1), (429, "LR", 0)],
)
def test_what_failed(status: int, end: str, failed: int) -> None:
    """A client that goes has not been failed."""
    [found] = traffic.read([line(status=status, answered=-1, end=end)])
    assert (found.failed, found.refused) == (failed, int(status == traffic.TOO_MANY))
    assert found.median is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[NOTICE] (1) : New worker (8) forked",
        "10.29.29.9 keystone GET",
        LINE,
        line("plain"),
        line("<NOSRV>"),
    ],
)
def test_what_is_no_request_of_an_api_does_not_count(text: str) -> None:
    assert traffic.read([text]) == []


# --- in `osbox status`


class Cloud:
    """A front as Docker shows it, and its log."""

    def __init__(self) -> None:
        self.log = ""
        self.fails: Error | None = None
        self.asked = list[tuple[str, ...]]()

    def observe(self, *_: object) -> dict[str, ServiceState]:
        now = datetime.now(UTC).isoformat()
        return {"front": ServiceState("front", "running", "healthy", "x:1", now, "12ab")}

    def ask(self, _: Engine, *words: str, check: bool, seconds: float) -> run.Result:
        assert seconds <= 10, "nobody waits for it"
        assert not check
        self.asked.append(words)
        if self.fails:
            raise self.fails
        return run.Result(0, self.log, "")


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    found = Cloud()
    monkeypatch.setattr(log.out, "_width", 200)
    monkeypatch.setattr(engine, "find", lambda *_: Engine("private", "26"))
    monkeypatch.setattr(stack, "observe", found.observe)
    monkeypatch.setattr(docker, "ask", found.ask)
    return found


def test_status_shows_it(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line(), line(), line(status=429), line("ironic-api", 503, 7, connected=61_000)]
    cloud.log = "\n".join(lines)
    assert execute(["status"]) == 0
    said = [text.rstrip() for text in capsys.readouterr().out.splitlines()]
    assert said[-4:] == [
        "Asked in 10 min  Requests     Median       95 %       Held  Failed",
        "keystone                3       5 ms       5 ms          -       -",
        "ironic-api              1  61,007 ms  61,007 ms  61,000 ms       1",
        "1 logins were refused: too many wrong ones from one address",
    ]
    assert cloud.asked == [("logs", "--since", "10m", "front.os-in-a-box")]


def test_as_json(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.log = line()
    assert execute(["status", "--json"]) == 0
    [front] = json.loads(capsys.readouterr().out)
    assert front["requests"] == [
        {"service": "keystone", "requests": 1, "failed": 0, "refused": 0, "median": 5, "p95": 5.0, "held": 0}
    ]


@pytest.mark.parametrize("error", [SilentError("no answer within 5 s"), Error("docker is not installed")])
def test_no_answer_is_no_error(cloud: Cloud, error: Error, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.fails = error
    assert execute(["status"]) == 0
    said = capsys.readouterr()
    assert ("front" in said.out, said.err) == (True, "")
