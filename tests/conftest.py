"""Quick tests first, then those that need root, then those that need the engine: images, then end to end.

docs/testing.md has it all.
"""

import gc
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from osbox.site import secrets
from osbox.site.load import find_paths
from osbox.site.site import Paths

pytest_plugins = ["pytester", "tests.busy", "tests.deadlines", "tests.disk", "tests.lanes", "tests.records"]

PROJECT = Path(__file__).resolve().parents[1]

KINDS = {
    "quick": (
        "needs neither root nor an engine; given to every test that has none of the other three (make quick)"
    ),
    "root": "makes mounts, network namespaces, other users' processes; skipped for anybody but root",
    "images": "needs the engine; builds and tests images",
    "e2e": "needs the engine; starts what it needs on its own state directory and removes it",
}
"""A test is of the last kind that it is marked as. In this order they run."""
_KIND = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    heed_signals()
    for name, meaning in KINDS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.addinivalue_line("markers", "full: of a long matrix; runs with --full only (make check-full)")


def heed_signals() -> None:
    """A check that was begun with `nohup` or a script's `&` ignores these, and would pass that on.

    Tests of Ctrl-C would wait for commands that never hear it. What this ignores itself is not passed on.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="also run the long matrices that `make check` only samples"
    )


def kind(item: pytest.Item) -> str:
    """Asked ten times of each of thousands: looked up once."""
    if _KIND not in item.stash:
        item.stash[_KIND] = next((name for name in reversed(KINDS) if item.get_closest_marker(name)), "quick")
    return item.stash[_KIND]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What collection makes, stays to the end: Python's collector looks for garbage neither in it nor during
    it, which took a fifth of its time in each worker."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("full")])
        items[:] = [item for item in items if not item.get_closest_marker("full")]
    order = list(KINDS)
    for item in items:
        if kind(item) == "quick":
            item.add_marker("quick")
        if kind(item) == "root" and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip("needs root"))
    # A quick test with a deadline of its own is a long one: begun last, it would be what all processors wait
    # for.
    items.sort(
        key=lambda item: (
            order.index(kind(item)),
            kind(item) == "quick" and not item.get_closest_marker("timeout"),
        )
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("OSBOX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BUILD_VERSION", raising=False)
    return tmp_path / "home"


@pytest.fixture
def paths(home: Path) -> Paths:
    return find_paths()


@pytest.fixture
def own_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are given to the containers' user; who is not root may give them to nobody but himself."""
    if os.geteuid() != 0:
        monkeypatch.setattr(secrets, "UID", os.geteuid())


def write_all(place: Path, texts: Mapping[str, str]) -> None:
    """Have files with these texts below a place, by their names in it."""
    for name, text in texts.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows or would add."""
    from osbox import run  # noqa: PLC0415 - keeps collection quick

    words = [
        "git",
        "-C",
        str(PROJECT),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
        "--",
        *patterns,
    ]
    names = run.run(words).out.split("\0")
    return [PROJECT / name for name in sorted(set(names)) if name and (PROJECT / name).is_file()]
