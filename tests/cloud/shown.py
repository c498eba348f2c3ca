"""A cloud as `osbox status` sees it: its containers, and what Docker answers."""

from datetime import UTC, datetime

import pytest

from osbox import run
from osbox.cloud import stack
from osbox.cloud.compose import ServiceState
from osbox.engine import docker, engine
from osbox.engine.engine import Engine
from osbox.errors import Error


class Shown:
    """Services, each in a container of the same state, and the answer to every question about them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *services: str) -> None:
        self.services, self.state, self.answer = services, "running", ""
        self.fails: Error | None = None
        self.asked = list[tuple[str, ...]]()
        monkeypatch.setattr(engine, "find", lambda *_: Engine("private", "26"))
        monkeypatch.setattr(stack, "observe", self.observe)
        monkeypatch.setattr(docker, "ask", self.ask)

    def observe(self, *_: object) -> dict[str, ServiceState]:
        now = datetime.now(UTC).isoformat()
        return {name: ServiceState(name, self.state, "healthy", "x:1", now, "12ab") for name in self.services}

    def ask(self, _: Engine, *words: str, check: bool, seconds: float) -> run.Result:
        assert seconds <= 10, "nobody waits for it"
        assert not check
        self.asked.append(words)
        if self.fails:
            raise self.fails
        return run.Result(0, self.answer, "")
