"""osbox up asks the engine once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osbox.cloud import stack as cloud
from osbox.commands import stack
from osbox.commands.context import Context
from osbox.engine import docker, engine, host, processes
from osbox.engine.engine import Engine
from osbox.network import connect, converge
from osbox.site import deployments
from osbox.site.site import Paths, Site


@pytest.mark.parametrize("name", ["os-in-a-box", "lab"])
def test_the_engine_is_asked_once(monkeypatch: pytest.MonkeyPatch, paths: Paths, name: str) -> None:
    """Each question takes the client a tenth of a second, and `up` shall take no time when there is nothing
    to do."""
    asked = list[str]()

    def version() -> str:
        asked.append("version")
        return "28.2"

    monkeypatch.setattr(host, "usable", version)
    for module, verb in ((cloud, "up"), (connect, "reconnect"), (converge, "ensure_bridge")):
        monkeypatch.setattr(module, verb, lambda *_, **__: [])
    monkeypatch.setattr(docker, "networks", lambda _: ())
    monkeypatch.setattr(engine, "require_root", lambda: None)
    base = Site(engine="host")
    own = deployments.paths(paths, name) if name != base.name else paths
    here = Context(
        own, deployments.site(paths, base, name, lambda _: True) if own != paths else base, paths, base
    )
    context: Any = SimpleNamespace(obj=here)
    stack.up(context)
    # A new deployment asks which networks the engine has, before it chooses its own.
    assert asked == ["version"] * (1 if own == paths else 2)
    assert own.lock("machine").exists()
    assert deployments.names(paths) == ([name] if own != paths else [])
    assert own == paths or own.site_toml.exists(), "settled before its lock was there"


def test_an_engine_that_was_started_is_asked_once_more(monkeypatch: pytest.MonkeyPatch, paths: Paths) -> None:
    answers, asked = [None, Engine("private", "28.2")], list[Path]()

    def find(where: Paths, _: Site) -> Engine | None:
        asked.append(where.home)
        return answers[len(asked) - 1]

    monkeypatch.setattr(engine, "find", find)
    monkeypatch.setattr(processes, "alive", lambda _: True)
    assert engine._wait(paths, Site(), 1) == answers[1]
    assert len(asked) == 2
