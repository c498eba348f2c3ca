"""What went through the entrance: its log, as it was written, in numbers; and in `osbox status`."""

import json
from pathlib import Path

import pytest

from osbox import log
from osbox.cli import execute
from osbox.cloud import traffic
from osbox.engine.asking import SilentError
from osbox.errors import Error
from tests.cloud.shown import Shown
from tests.conftest import PROJECT

TIMES = "{read}/{queued}/{connected}/{answered}/{whole}"
LINE = "10.29.29.9 {api} GET /v3 {status} 300 " + TIMES + " {tries} {end} req-1"


def line(
    api: str = "keystone",
    status: int = 200,
    answered: int = 5,
    *,
    connected: int = 0,
    queued: int = 0,
    tries: int = 0,
    end: str = "--",
    read: int = 0,
    whole: int = 9,
) -> str:
    return LINE.format(**locals())


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


def test_what_never_reached_its_service_waited_all_its_time() -> None:
    """HAProxy writes -1 for what never came, and `osbox status` showed "-1 ms": of one that was held for a
    minute, too."""
    [refused] = traffic.read([line(status=429, end="LR", queued=-1, connected=-1, answered=-1, whole=0)])
    assert refused.held == 0
    [away] = traffic.read([line(status=503, end="SC", queued=0, connected=-1, answered=-1, whole=60012)])
    assert away.held == 60012
    [slow] = traffic.read([line(status=408, end="cR", read=-1, queued=-1, connected=-1, whole=10000)])
    assert slow.held == 0, "it was the client who was waited for"


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


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setattr(log.out, "_width", 200)
    return Shown(monkeypatch, "front")


def test_status_shows_it(cloud: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line(), line(), line(status=429), line("ironic-api", 503, 7, connected=61_000)]
    cloud.answer = "\n".join(lines)
    assert execute(["status"]) == 0
    said = [text.rstrip() for text in capsys.readouterr().out.splitlines()]
    assert said[-4:] == [
        "Asked in 10 min  Requests     Median       95 %       Held  Failed",
        "keystone                3       5 ms       5 ms          -       -",
        "ironic-api              1  61,007 ms  61,007 ms  61,000 ms       1",
        "1 logins were refused: too many wrong ones from one address",
    ]
    assert cloud.asked == [("logs", "--since", "10m", "front.os-in-a-box")]


def test_as_json(cloud: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.answer = line()
    assert execute(["status", "--json"]) == 0
    [front] = json.loads(capsys.readouterr().out)
    assert front["requests"] == [
        {"service": "keystone", "requests": 1, "failed": 0, "refused": 0, "median": 5, "p95": 5.0, "held": 0}
    ]


@pytest.mark.parametrize("error", [SilentError("no answer within 5 s"), Error("docker is not installed")])
def test_no_answer_is_no_error(cloud: Shown, error: Error, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.fails = error
    assert execute(["status"]) == 0
    said = capsys.readouterr()
    assert ("front" in said.out, said.err) == (True, "")
