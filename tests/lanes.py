"""Two lanes side by side, each with an engine and a state directory of its own (tests/home.py): while one
waits, the other computes.

The first walks the main road: images, their tests, the cloud with its nodes. The second has what needs no
node: an outpost behind a proxy, engines, a bundle, crashes. `--numprocesses=auto --dist=loadscope` makes
them; without these words, or on a small machine, all runs in one lane, one after the other.

The second lane takes its images from the first, and is out of the host's network before the first one's
cloud is made: that one looks at what is left on the host.
"""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from osbox import run
from osbox.build import debian, images
from osbox.engine import docker, engine, processes
from osbox.engine import root as engine_root
from osbox.engine.engine import Engine
from osbox.site.load import load_site
from osbox.site.site import Paths
from osbox.supply import bundle
from tests import samples
from tests.conftest import kind
from tests.deadlines import waited
from tests.home import BASE, HOME, LANE, LANES, PROJECT, prepare

SECOND = ("tests/e2e/outside/", "tests/engine/", "tests/e2e/test_bundle.py", "tests/e2e/isolated/")
"""What runs in the second lane, in this order: first what needs a way out of the host."""
MEMORY_BYTES = 12 << 30
"""Two clouds of 2.3 GiB, two nodes, and before them an engine of 2 GB in memory: with less, one lane."""
KEPT = ("artifacts", "downloads", "inventory", "provenance", "tools")
"""What the second lane takes over of the first one's state directory, besides engine and images."""
_held: list[int] = []


def lane(nodeid: str) -> str:
    """Which lane a test belongs to, by its name: first, or second."""
    return "second" if nodeid.startswith(SECOND) else "first"


@pytest.hookimpl(trylast=True)  # after those of conftest.py, which bring the kinds into their order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of the second lane last, in its order."""
    items.sort(key=lambda item: position(item) if kind(item) == "e2e" else 0)


def position(item: pytest.Item) -> int:
    return next((number for number, place in enumerate(SECOND, 1) if item.nodeid.startswith(place)), 0)


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """xdist's scheduler, with the first lane for the first worker, whichever of them is ready first."""

    assigned_work: dict[Any, Any]

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)

    def schedule(self) -> None:
        self.config.option.loadscopereorder = False  # by the number of tests
        self.assigned_work = dict(sorted(self.assigned_work.items(), key=lambda entry: entry[0].gateway.id))
        super().schedule()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return Lanes(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """-n auto: the processors that we may use, or the lanes.

    xdist's own count is of cores, whether we may use them or not.
    """
    processors = len(os.sched_getaffinity(0))
    if config.getvalue("dist") != "loadscope":
        return processors
    return (
        2
        if processors > 1 and os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >= MEMORY_BYTES
        else 1
    )


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ.pop(LANES, None)
        if config.getoption("dist", "no") == "loadscope":
            # The workers that are about to be started are lanes; of what is chosen by day or by chance they
            # choose the same.
            os.environ[LANES] = "1"
            os.environ.setdefault("OSBOX_CHECK_DAY", samples.today().isoformat())
            os.environ.setdefault("OSBOX_CHECK_SEED", str(time.time_ns() % 1_000_000))


# --- the host's network
# --------------------------------------------------------------------------------


def pytest_sessionstart() -> None:
    """The second lane begins in it: no test has begun, so the first one is not at its cloud."""
    if LANE > 1:
        _held.append(os.open(__file__, os.O_RDONLY))
        fcntl.flock(_held[0], fcntl.LOCK_EX)


def pytest_sessionfinish() -> None:
    leave_the_host()


def leave_the_host() -> None:
    """The second lane makes no more links on the host, and needs nothing more of the first one's engine."""
    while _held:
        os.close(_held.pop())


def may_run_here() -> None:
    """Fail what the second lane runs in the host's network after it has left it: the first one compares
    what is there before its cloud with what is there after it."""
    if LANE > 1 and not _held and processes.namespace("thread-self") == processes.namespace(os.getppid()):
        pytest.fail("the second lane has left the host's network: this wants one of its own", pytrace=False)


def have_the_host() -> None:
    """The first lane waits until it has the host's network, and its own engine, for itself."""
    if os.environ.get(LANES) and LANE == 1:
        with waited("the second lane to leave the host", within=1800), Path(__file__).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)


# --- images for the second lane
# --------------------------------------------------------------------------------


def take_over() -> None:
    """Give the second lane the first one's images and what else is dear; it waits until they are built."""
    if BASE == HOME:
        return
    base, mine = Paths(PROJECT, BASE), Paths(PROJECT, HOME)
    version = os.environ.get("BUILD_VERSION", "latest")
    with waited("images of the first lane", within=1800):
        there = engine.start(base, load_site(BASE))
        images.build(base, there, version=version)
    with waited("images for the second lane", within=600):
        copy_root(base.engine / "root", mine)
        for name in KEPT:
            if (base.home / name).exists():
                run.run(
                    [
                        "cp",
                        "--archive",
                        "--update",
                        "--no-target-directory",
                        str(base.home / name),
                        str(mine.home / name),
                    ]
                )
        here = engine.start(mine, load_site(prepare()))
        theirs, ours = (
            {tag: one.id for tag, one in docker.images(at, *tags(at, version)).items()}
            for at in (there, here)
        )
        missing = sorted(tag for tag, number in theirs.items() if ours.get(tag) != number)
        if missing:
            with (
                run.reading(there.argv("docker", "save", *missing)) as source,
                run.feeding(here.argv("docker", "load", "--quiet")) as sink,
            ):
                shutil.copyfileobj(source, sink, 1 << 20)
        images.build(mine, here, version=version)  # finds all of them


def tags(at: Engine, version: str) -> list[str]:
    """Debian, and what was built on it."""
    return [tag for tag in docker.ids(at, "image") if tag == debian.TAG or tag.endswith(f":{version}")]


def copy_root(root: Path, to: Paths) -> None:
    """The root file system of an engine, which may run on it, for another one that has none."""
    if engine_root.is_current(to.engine / "root"):
        return
    with (
        engine_root.replacing(to) as new,
        tempfile.TemporaryDirectory() as empty,
        run.reading(bundle.root_argv(root, Path(empty) / "empty")) as source,
        run.feeding(
            ["tar", "--extract", "--directory", str(new), "--preserve-permissions", "--numeric-owner"]
        ) as sink,
    ):
        shutil.copyfileobj(source, sink)
