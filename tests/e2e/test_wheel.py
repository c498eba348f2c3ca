"""osbox as a package beside the clone: one state directory, one engine, and nothing is built anew."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from osbox import run
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.e2e.changes import containers, plan
from tests.e2e.conftest import Tool, remove
from tests.home import HOME, prepare
from tests.test_wheel import build

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """The wheel's own osbox, in a fresh virtual environment with the libraries that the lock names."""
    place = tmp_path_factory.mktemp("package")
    tool = Tool()
    tool.program = str(place / "venv/bin/osbox")
    with waited("osbox's libraries", within=600):
        wheel = build("wheel", PROJECT, place / "dist")
        run.run([sys.executable, "-m", "venv", str(place / "venv")])
        pip = [str(place / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        run.run([*pip, "--require-hashes", "-r", str(PROJECT / "requirements.lock")])
        run.run([*pip, "--no-deps", "--no-index", str(wheel)])
    return tool


@pytest.fixture(scope="module")
def clone(osbox: Tool) -> Iterator[Tool]:
    """The clone's osbox, with images, ramdisk and guest image built by it, and no cloud."""
    remove(osbox)
    prepare()
    with waited("images and artefacts", within=1800):
        for command in ("build", "ramdisk", "guest"):
            osbox(command)
    yield osbox
    remove(osbox)
    prepare()


def built() -> dict[str, int]:
    """All files that a build writes, with the time of their last change: logs, provenance, artefacts.

    The time of a directory says when it was last used.
    """
    places = (HOME / "logs/build", HOME / "provenance", HOME / "artifacts", HOME / "recipes")
    logs = HOME.glob("logs/build-*.log")
    files = [*logs, *(path for place in places for path in place.rglob("*"))]
    return {str(path): path.lstat().st_mtime_ns for path in files if not path.is_dir()}


def images(tool: Tool) -> str:
    listing = ("docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    return "\n".join(sorted(tool("engine", "shell", "--", *listing).splitlines()))


def test_the_demo_of_the_package_builds_nothing_anew(clone: Tool, package: Tool) -> None:
    before, ids = built(), images(clone)
    package("build")
    assert (built(), images(package)) == (before, ids)
    text = package("demo", timeout=2300)
    assert "bm-node-1 login:" in text
    assert "ACTIVE" in text
    after = {name: time for name, time in built().items() if "/recipes/compose-" not in name}
    assert (after, images(clone)) == (before, ids)


def test_the_clone_goes_on_with_the_packages_cloud(clone: Tool, package: Tool) -> None:
    """And the other way round: to neither there is anything to do."""
    before = containers()
    assert plan() == []
    assert "bm-node-1 login:" in clone("demo")
    assert "bm-node-1 login:" in package("demo")
    assert containers() == before
    package("down", "--purge", "--keep-images")


def test_nothing_was_written_into_the_package(package: Tool) -> None:
    """pip compiles what it installs; besides that there are the files that the wheel names."""
    [top] = Path(package.program).parents[1].glob("lib/python*/site-packages")
    [record] = top.glob("osbox-*.dist-info/RECORD")
    known = {line.split(",")[0] for line in record.read_text().splitlines()}
    found = {str(path.relative_to(top)) for path in (top / "osbox").rglob("*") if path.is_file()}
    assert {name for name in found - known if "__pycache__" not in name} == set()
