"""Containers of the tests of images are gone afterwards, also when the engine needs more than one word for
it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from osbox import run
from osbox.build import images
from osbox.engine import docker, engine
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.images import catalogue, sandbox
from osbox.images.runspec import RunSpec
from osbox.images.sandbox import Sandbox
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.home import prepare

IMAGE = "os-base-image"

pytestmark = pytest.mark.images


@pytest.fixture(scope="module")
def running() -> Engine:
    with waited("engine and one image", within=1200):
        paths = Paths(PROJECT, prepare())
        found = engine.start(paths, load_site(paths.home))
        images.build(paths, found, [catalogue.find(IMAGE)])
        return found


Hold = Callable[[Sandbox], tuple[str, Path]]


@pytest.fixture
def hold(running: Engine) -> Iterator[Hold]:
    """Has a container that the engine cannot remove, as a file of its state is immutable: its name and that
    file."""
    held: dict[str, Path] = {}

    def start(box: Sandbox) -> tuple[str, Path]:
        with box.started(f"{IMAGE}:latest", RunSpec(), "--entrypoint=true") as identity:
            words = ("container", "inspect", "--format", "{{.Name}} {{.ResolvConfPath}}", identity)
            name, path = docker.docker(running, *words).out.strip().lstrip("/").split(" ", maxsplit=1)
            file = Path(path).with_name("held")
            file.touch()
            held[name] = file
            run.run(["chattr", "+i", str(file)])
        return name, file

    yield start
    for name, file in held.items():
        if file.exists():
            run.run(["chattr", "-i", str(file)])
        docker.docker(running, "rm", "--force", name, check=False)


def test_a_removal_that_fails_is_asked_for_again(running: Engine, hold: Hold, tmp_path: Path) -> None:
    with Sandbox(running, tmp_path) as box:
        name, file = hold(box)
        assert docker.ids(running, "container", f"name={name}") == [name]
        let_go = threading.Timer(2, run.run, [["chattr", "-i", str(file)]])
        let_go.start()
    let_go.join()
    assert docker.ids(running, "container", f"name={name}") == []


def test_a_container_that_stays_is_an_error(
    hold: Hold, tmp_path: Path, running: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "TURN_SECONDS", 1)
    with pytest.raises(Error, match="does not remove containers") as error, Sandbox(running, tmp_path) as box:
        hold(box)
    assert "held: operation not permitted" in error.value.evidence


def interrupted(_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_whoever_interrupts_hears_of_the_interruption(
    running: Engine, hold: Hold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "TURN_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt), Sandbox(running, tmp_path) as box:
        interrupted(hold(box))
