"""The proof: Ctrl-C is heard while Keystone is silent; an engine that is silent for a while ends nothing."""

import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from osbox import run
from osbox.cloud import proof
from osbox.cloud.compose import ServiceState
from osbox.cloud.proof import Check
from osbox.cloud.services import AGENTS, INFRASTRUCTURE
from osbox.engine import asking, docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Site

SITE, ENGINE = Site(), Engine("host", "28")

SILENT = r"""
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from osbox.cloud import keystone, proof, sessions
from osbox.engine.engine import Engine
from osbox.site.site import Paths, Site

def silent(*_):
    os.write(1, b"asked\n")  # both do so at once
    time.sleep(30)

sessions.session = lambda *_, **__: SimpleNamespace(get_token=silent)
keystone.ensure_catalogue = silent if sys.argv[1] == "both" else lambda *_: []
paths = Paths(Path("/nonexistent"), Path("/nonexistent"))
proof.prove(paths, Site(), Engine("host", "28"), {}, logged_in=True)
"""


BUSY_SECONDS = 10  # a quarter of one on an idle machine; without threads that end with us it is 30


def interrupted(what: str) -> float:
    """The seconds from Ctrl-C to the end."""
    with run.spawn([sys.executable, "-c", SILENT, what], stdout=-1, stderr=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == "asked\n"
        time.sleep(0.3)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(40) != 0
        return time.monotonic() - begin


def test_ctrl_c_is_heard_while_keystone_gives_no_token() -> None:
    assert interrupted("login") < BUSY_SECONDS


def test_ctrl_c_is_heard_while_keystone_does_not_tell_its_catalogue() -> None:
    assert interrupted("both") < BUSY_SECONDS


# --- an engine without an answer

TOPICAL = next(agent for agent in AGENTS if agent.topic)
QUIET = "the container engine gave no answer within 40 s"


def silent_at_first(times: int, then: Callable[[], Any]) -> Callable[..., Any]:
    """So many questions get no answer in their time; then come those of `then`."""
    asked = list[int]()

    def answer(*_: Any, **__: Any) -> Any:
        asked.append(1)
        if len(asked) <= times:
            raise asking.SilentError(QUIET)
        return then()

    return answer


CHECKS: dict[str, Callable[[], Check]] = {
    "ping": lambda: partial(proof._ping, SITE, ENGINE, TOPICAL),
    "containers": lambda: partial(
        proof._is_well, proof._Look(partial(proof._containers, ENGINE, SITE)), INFRASTRUCTURE[0]
    ),
}


def held(monkeypatch: pytest.MonkeyPatch, what: str, times: int) -> dict[str, float]:
    """What a check comes to with an engine that is silent so many times."""
    healthy = {INFRASTRUCTURE[0]: ServiceState(INFRASTRUCTURE[0], "running", "healthy", "", "", "")}
    monkeypatch.setattr(docker, "ask", silent_at_first(times, lambda: run.Result(0, "", "")))
    monkeypatch.setattr(proof, "observe", silent_at_first(times, lambda: healthy))
    monkeypatch.setattr(proof, "POLL_SECONDS", 0.01)
    waiting = proof._Waiting(ENGINE, SITE, dict)
    with waiting.board:
        waiting.until({what: CHECKS[what]()})
    return waiting.ready


@pytest.mark.parametrize("what", CHECKS)
def test_an_engine_that_is_silent_for_a_while_is_asked_again(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a loaded machine one `docker exec` took more than its time, which ended `osbox up`."""
    assert held(monkeypatch, what, 3).keys() == {what}


@pytest.mark.parametrize("what", CHECKS)
def test_an_engine_that_stays_silent_is_the_reason_in_the_end(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is asked for the log of what is not ready."""
    monkeypatch.setattr(proof, "READY_SECONDS", 0.1)
    with pytest.raises(Error, match="1 services did not become ready") as caught:
        held(monkeypatch, what, 1000)
    assert caught.value.evidence == f"{what}: {QUIET}\n--- last lines of {what} ({QUIET})\n{QUIET}"


@pytest.mark.parametrize(("times", "state"), [(7, "restarting"), (8, "running"), (8, "restarting")])
def test_who_ends_again_and_again_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, times: int, state: str
) -> None:
    """An image that cannot start took five minutes to say so."""
    monkeypatch.setattr(docker, "ask", lambda *_, **__: run.Result(0, "", ""))
    monkeypatch.setattr(proof, "observe", lambda *_: {})
    monkeypatch.setattr(proof, "READY_SECONDS", 0.5)
    monkeypatch.setattr(proof, "POLL_SECONDS", 0.01)
    restarts = iter([3])

    def look() -> dict[str, ServiceState]:
        seen = ServiceState("keystone", state, "", "", "", "c", next(restarts, 3 + times))
        return {"keystone": seen}

    waiting = proof._Waiting(ENGINE, SITE, look)
    with waiting.board, pytest.raises(Error) as caught:
        waiting.until({"glance-api": lambda: "no answer"})
    gives_up = (times, state) == (8, "restarting")
    assert ("each of them ends as soon as it is started" in caught.value.message) == gives_up
    assert ("keystone: ended 8 times" in caught.value.evidence) == gives_up


def test_what_others_wait_for_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bus that did not start, the log of neutron-server was shown, which waited for it."""
    monkeypatch.setattr(docker, "ask", lambda _, *words, **__: run.Result(0, f"log of {words[-1]}", ""))
    monkeypatch.setattr(proof, "observe", lambda *_: {})
    late = {"neutron-server": "no answer", "ironic-conductor": "not alive", "rabbitmq": "restarting"}
    error = proof.not_ready(ENGINE, SITE, late)
    assert str(error.hint).startswith("osbox logs rabbitmq,")
    assert error.evidence.splitlines()[0] == "rabbitmq: restarting"
    assert f"log of rabbitmq.{SITE.name}" in error.evidence


def test_what_is_not_ready_may_be_no_service_of_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "ask", lambda *_, **__: run.Result(0, "", ""))
    monkeypatch.setattr(proof, "observe", lambda *_: {})
    assert "osbox logs rack" in str(proof.not_ready(ENGINE, SITE, {"rack": "starting"}).hint)


def test_what_does_not_run_is_told_though_nobody_had_asked_for_it_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keystone is asked first, through an entrance that did not start: its log is the one that says why."""
    monkeypatch.setattr(docker, "ask", lambda _, *words, **__: run.Result(0, f"log of {words[-1]}", ""))
    states = {
        name: ServiceState(name, state, "", "", "", "")
        for name, state in {"front": "restarting", "mysql": "running", "rack": "exited"}.items()
    }
    monkeypatch.setattr(proof, "observe", lambda *_: states)
    error = proof.not_ready(ENGINE, SITE, {"keystone": "refused"})
    assert error.evidence.splitlines()[:2] == ["front: restarting", "keystone: refused"]
    assert f"log of front.{SITE.name}" in error.evidence
    assert "rack" not in error.evidence


# --- who lives in another's network namespace


@pytest.mark.parametrize(
    ("started", "state", "restarted"),
    [
        ("2026-12-02T06:00:00.5Z", "running", False),
        ("2026-12-02T06:00:09.12Z", "running", True),
        ("2026-12-02T06:00:09.12Z", "exited", False),
    ],
    ids=["as it was", "started anew", "not started again yet"],
)
def test_who_shares_a_network_that_is_gone_is_restarted(
    monkeypatch: pytest.MonkeyPatch, started: str, state: str, *, restarted: bool
) -> None:
    """neutron-network was killed in the middle of `up`: the agents' heartbeats went nowhere, for 300 s."""
    states = {
        "agent": ServiceState("agent", "running", "healthy", "", "2026-12-02T06:00:01.1Z", ""),
        "network": ServiceState("network", state, "healthy", "", started, ""),
    }
    done = list[tuple[str, ...]]()

    def restart(_: Engine, *words: str, check: bool) -> run.Result:
        assert not check
        done.append(words)
        states["agent"] = ServiceState("agent", "running", "healthy", "", "2026-12-02T06:00:20Z", "")
        return run.Result(0, "", "")

    monkeypatch.setattr(docker, "ask", restart)
    told = [proof._moved(lambda: states, ENGINE, SITE, "agent", "network") for _ in range(2)]
    assert done == [("restart", f"agent.{SITE.name}")] * restarted
    said = "restarted: network, whose network it shares, was started after it"
    assert told == [said if restarted else "", ""]
