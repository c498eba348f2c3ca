"""Quick tests first, then those that need the engine: images, then end to end."""

from pathlib import Path

import pytest

from osbox.site.load import find_paths
from osbox.site.site import Paths

PROJECT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "images: needs the engine; builds and tests every image")
    config.addinivalue_line("markers", "full: of a long matrix; runs with --full only (make check-full)")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run the long matrices that `make check` only samples")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("full")])
        items[:] = [item for item in items if not item.get_closest_marker("full")]
    items.sort(key=lambda item: 2 if item.get_closest_marker("e2e") else 1 if item.get_closest_marker("images") else 0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("OSBOX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BUILD_VERSION", raising=False)
    return tmp_path / "home"


@pytest.fixture
def paths(home: Path) -> Paths:
    return find_paths()


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows or would add."""
    from osbox import run  # noqa: PLC0415 - keeps collection quick

    words = ["git", "-C", str(PROJECT), "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    names = run.run(words).out.split("\0")
    return [PROJECT / name for name in sorted(set(names)) if name and (PROJECT / name).is_file()]
