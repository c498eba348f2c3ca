"""Who takes away what others may be working on waits for them, and says for whom."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any, get_args
from unittest.mock import patch

import pytest

from osbox import lock, log, run
from osbox.cloud import sessions
from osbox.cloud import stack as cloud
from osbox.commands import contents, demo, stack
from osbox.commands import engine as commands
from osbox.commands.context import CLOUDS, Context
from osbox.contents import images, servers, setup
from osbox.engine import engine, footprint
from osbox.engine.engine import Engine
from osbox.errors import UserError
from osbox.metal import forget, rack
from osbox.network import connect
from osbox.site import deployments
from osbox.site.site import Lock, Paths, Site
from tests.fakecloud import Cloud, serving

HOLD = """
import sys
from pathlib import Path
from osbox import lock
with lock.alone(Path(sys.argv[1]), who="osbox up"):
    print("held", flush=True)
    sys.stdin.read()
"""
WAITS = 0.05
"""Seconds that a command is left waiting, once it has said so."""


@contextmanager
def held(place: Path, meanwhile: Callable[[], object] = lambda: None) -> Iterator[int]:
    """By a process that ends when somebody in the block has said that it waits, after what happens
    meanwhile."""
    with run.spawn([sys.executable, "-c", HOLD, str(place)], stdin=-1, stdout=-1) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        say, release = log.say, process.stdin.close

        def end() -> None:
            meanwhile()
            release()

        timer = Timer(WAITS, end)

        def heard(text: str) -> None:
            say(text)
            if f"process {process.pid})" in text:
                timer.start()

        with patch.object(log, "say", heard):
            yield process.pid
        timer.join()


@pytest.fixture
def here(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A deployment with nothing in it, on an engine that is made up."""
    paths.home.mkdir(parents=True)
    monkeypatch.setattr(engine, "require_root", lambda: None)
    monkeypatch.setattr(engine, "find", lambda *_: None)
    monkeypatch.setattr(engine, "start", lambda *_: Engine("host", "28"))
    monkeypatch.setattr(engine, "stop", lambda *_: False)
    monkeypatch.setattr(footprint, "undo", lambda *_: [])
    monkeypatch.setattr(connect, "remove", lambda *_: [])
    monkeypatch.setattr(cloud, "require_up", lambda *_: None)
    monkeypatch.setattr(cloud, "observe", lambda *_: {"rack": None})
    monkeypatch.setattr(sessions, "connect", lambda *_, **__: None)
    monkeypatch.setattr(servers, "delete", lambda *_: False)
    monkeypatch.setattr(rack, "nodes", lambda *_: [SimpleNamespace(name="rack-1")])
    monkeypatch.setattr(rack, "remove", lambda *_: ["rack-1"])
    monkeypatch.setattr(forget, "forget", lambda *_, **__: [])
    return Context(paths, Site(), paths, Site())


def purge(context: Any) -> None:
    stack.down(context, purge=True)


def clean(context: Any) -> None:
    demo.demo(context, clean=True)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        *((purge, what) for what in get_args(Lock)),
        (clean, "nodes"),
        (clean, "machine"),
        *((commands.stop, what) for what in get_args(Lock) if what != CLOUDS),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_it_waits_and_says_for_whom(
    here: Context, capsys: pytest.CaptureFixture[str], command: Callable[[Any], None], what: Any
) -> None:
    with held(here.paths.lock(what)) as pid:
        command(SimpleNamespace(obj=here))
    assert f"(osbox up, process {pid}): this one goes on when it has ended" in capsys.readouterr().err


def test_the_engine_is_stopped_for_all_deployments(here: Context, capsys: pytest.CaptureFixture[str]) -> None:
    deployments.settle(here.base, here.base_site, "lab", lambda _: True)
    with held(deployments.paths(here.base, "lab").lock("machine")) as pid:
        context: Any = SimpleNamespace(obj=here)
        commands.stop(context)
    assert f"Another command changes lab (osbox up, process {pid})" in capsys.readouterr().err


def test_a_deployment_that_was_begun_while_a_purge_waited_is_seen(here: Context) -> None:
    """It would lose the engine it was just put on."""

    def begin() -> None:
        deployments.settle(here.base, here.base_site, "lab", lambda _: True)

    with (
        held(here.paths.lock("machine"), begin),
        pytest.raises(UserError, match="other clouds use this engine: lab"),
    ):
        purge(SimpleNamespace(obj=here))
    assert here.paths.site_toml.parent.is_dir()


@pytest.mark.parametrize("command", [purge, commands.stop, clean], ids=lambda value: value.__name__)
def test_who_waited_for_a_purge_makes_nothing_again(
    here: Context, command: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = deployments.paths(here.base, "lab")
    lab = replace(here, paths=own, site=deployments.settle(here.base, here.base_site, "lab", lambda _: True))
    with held(own.lock("machine"), lambda: shutil.rmtree(own.home)), suppress(lock.RemovedError):
        command(SimpleNamespace(obj=lab))
    assert not own.home.exists()


def test_a_purge_leaves_no_lock_behind(here: Context) -> None:
    purge(SimpleNamespace(obj=here))
    assert not here.paths.home.exists()


def test_who_has_nothing_makes_nothing(here: Context) -> None:
    here.paths.home.rmdir()
    for command in (purge, commands.stop):
        command(SimpleNamespace(obj=here))  # type: ignore[arg-type]
    assert not here.paths.home.exists()


def test_no_image_to_boot_goes_while_nodes_are_enrolled(
    here: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The enrolment had looked which one they are to boot, and told them after it was gone."""
    kernel = initramfs = tmp_path / "build" / "kernel"
    kernel.parent.mkdir()
    kernel.write_bytes(b"kernel")
    here.paths.trusted.parent.mkdir(parents=True)
    here.paths.trusted.write_text("ours")
    built = SimpleNamespace(kernel=kernel, initramfs=initramfs)
    monkeypatch.setattr(setup, "first", lambda *_: [])
    monkeypatch.setattr(cloud, "release", lambda *_: "")
    monkeypatch.setattr(contents, "_ramdisk", lambda *_: built)
    glance = Cloud()
    old = glance.add(images.KERNEL, "old")
    glance.answers["GET /v1/nodes/detail"] = (200, '{"nodes": []}')
    context: Any = SimpleNamespace(obj=here)
    with serving(glance) as connection:
        monkeypatch.setattr(sessions, "connect", lambda *_, **__: connection)

        def enrol() -> None:
            told = {"name": "rack-1", "uuid": "a", "driver_info": {"deploy_kernel": old}}
            glance.answers["GET /v1/nodes/detail"] = (200, json.dumps({"nodes": [told]}))
            glance.answers["PATCH /v1/nodes/a"] = (409, '{"error_message": "locked"}')

        with held(here.paths.lock("nodes"), enrol) as pid:
            contents.prepare(context, disk=False)
    assert f"(osbox up, process {pid}): this one goes on when it has ended" in capsys.readouterr().err
    assert glance.images[old]["name"] == f"{images.KERNEL}-before"
