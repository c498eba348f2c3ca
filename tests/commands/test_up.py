"""osbox up asks the engine once."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from osbox.cli import execute
from osbox.cloud import plan as planning
from osbox.cloud import stack as cloud
from osbox.commands import converging, stack
from osbox.commands.context import Context
from osbox.engine import docker, engine, host, processes, rules
from osbox.engine.engine import Engine
from osbox.network import connect, converge, subnets
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
    monkeypatch.setattr(converging, "_followers", lambda *_: [])
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


def test_flushed_rules_are_put_back_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without them no container with a published port can be started."""
    done = list[str]()
    private = Engine("private", "28.2", ("nsenter",))

    def notes(what: str, answer: list[str]) -> Any:
        def act(*_: object, **__: object) -> list[str]:
            done.append(what)
            return answer

        return act

    monkeypatch.setattr(engine, "start", lambda *_: private)
    monkeypatch.setattr(engine, "require_root", lambda: None)
    monkeypatch.setattr(docker, "networks", lambda _: ())
    monkeypatch.setattr(converging, "_followers", lambda *_: [])
    for module, verb, answer in (
        (rules, "put_back", ["Docker's iptables rules"]),
        (converge, "ensure_bridge", []),
        (cloud, "up", []),
        (connect, "reconnect", []),
        (rules, "keep", []),
    ):
        monkeypatch.setattr(module, verb, notes(verb, answer))
    here = Context(paths, Site(), paths, Site())
    stack.up(cast(Any, SimpleNamespace(obj=here)))
    assert done == ["put_back", "ensure_bridge", "up", "reconnect", "keep"]
    said = capsys.readouterr().out
    assert "put back: Docker's iptables rules" in said
    assert "1 changes in" in said


def test_a_plan_says_that_they_are_put_back(
    monkeypatch: pytest.MonkeyPatch, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """It failed before: the network's plan refuses to go on without the chain of its rules."""
    monkeypatch.setattr(engine, "find", lambda *_: Engine("private", "28.2", ("nsenter",)))
    monkeypatch.setattr(rules, "swept", lambda *_: True)
    monkeypatch.setattr(rules, "is_kept", lambda *_: True)
    monkeypatch.setattr(docker, "networks", lambda _: ())
    monkeypatch.setattr(converging, "_followers", lambda *_: [])
    monkeypatch.setattr(cloud, "plan", lambda *_: planning.Plan((), {}, {}, {}, rack=False))
    seen = list[bool]()

    def pending(*_: object, replaced: bool) -> list[str]:
        seen.append(replaced)
        return ["join"]

    monkeypatch.setattr(connect, "pending", pending)
    assert execute(["plan", "--json"]) == 2
    assert [change["name"] for change in json.loads(capsys.readouterr().out)["changes"]] == [
        "put back Docker's firewall rules",
        "join",
    ]
    assert seen == [True]


def test_a_plan_says_so_when_they_cannot_be_put_back(
    monkeypatch: pytest.MonkeyPatch, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """It planned what `osbox up` then refused."""
    monkeypatch.setattr(engine, "find", lambda *_: Engine("private", "28.2", ("nsenter",)))
    monkeypatch.setattr(rules, "swept", lambda *_: True)
    monkeypatch.setattr(docker, "networks", lambda _: ())
    monkeypatch.setattr(converging, "_followers", lambda *_: [])
    monkeypatch.setattr(cloud, "plan", lambda *_: planning.Plan((), {}, {}, {}, rack=False))
    assert execute(["plan"]) == 1
    assert "osbox engine stop (it ends every container), then osbox up" in capsys.readouterr().err


@pytest.mark.parametrize("runs", [True, False])
def test_who_starts_the_engine_keeps_its_rules(
    monkeypatch: pytest.MonkeyPatch, paths: Paths, *, runs: bool
) -> None:
    """`osbox up` alone did: after a reboot and `osbox engine start` a flush could not be mended."""
    private, kept = Engine("private", "28.2", ("nsenter",)), list[Engine]()

    def start(_: Paths, __: Site, before: Callable[[], object]) -> Engine:
        if not runs:
            before()
        return private

    monkeypatch.setattr(engine, "start", start)
    monkeypatch.setattr(subnets, "require_free", lambda *_: None)
    monkeypatch.setattr(rules, "keep", lambda *words: kept.append(words[2]))
    assert execute(["engine", "start"]) == 0
    assert kept == ([] if runs else [private])
