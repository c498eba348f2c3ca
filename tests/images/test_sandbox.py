"""Throw-away containers, without an engine; with one, tests/test_sandbox.py tests that they are removed."""

from pathlib import Path

import pytest

from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ContainerInfo, State
from osbox.errors import Error
from osbox.images import sandbox
from osbox.images.sandbox import Sandbox


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    monkeypatch.setattr(sandbox, "HEALTHY_SECONDS", 0.1)
    monkeypatch.setattr(sandbox, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(Sandbox, "_last_line", lambda *_: "bye")
    return Sandbox(Engine("host", "26"), tmp_path)


def is_there(monkeypatch: pytest.MonkeyPatch, state: State | None) -> None:
    found = ContainerInfo("1", "x", "os-x:latest", "sha256:1", state) if state else None
    monkeypatch.setattr(docker, "container", lambda *_: found)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (State("running", running=True, health="healthy"), ""),
        (State("exited", exit_code=3), "it ended with exit code 3: bye"),
        (State("running", running=True), "and nothing says whether it is well"),
        (
            State("running", running=True, health="starting", health_log=("a", "no\n")),
            "not healthy within 0.1 s: no; its log: bye",
        ),
        (
            State("running", running=True, health="starting"),
            "not healthy within 0.1 s: no check ran; its log: bye",
        ),
    ],
)
def test_why_a_container_is_not_healthy(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, state: State, why: str
) -> None:
    is_there(monkeypatch, state)
    assert box.until_healthy("x") == why


def test_a_container_that_somebody_removed_is_an_error(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    is_there(monkeypatch, None)
    for ask in (lambda: box.until_healthy("x"), lambda: box.until("x", "healthy"), lambda: box.end("x", 1)):
        with pytest.raises(Error, match="the test's container x was removed"):
            ask()
