"""A disk that is full: seen before an engine is asked for anything, and said when a test fails for it."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from osbox.engine.engine import MIN_FREE_BYTES
from tests.conftest import kind
from tests.home import BASE, LANES

FULL: list[str] = []
TELLS = (os.strerror(errno.ENOSPC), "the disk is full", "MiB free under")
"""As the kernel's error is written, and as osbox says it."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before the lanes begin: who starts them collects no tests, and does not know which these will be."""
    if os.environ.get(LANES) and not hasattr(session.config, "workerinput"):
        require(2 * MIN_FREE_BYTES, session.config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is refused here has left nothing.

    An engine asks for the same when it starts, in the middle of some test's set-up.
    """
    if not os.environ.get(LANES) and any(kind(item) in ("images", "e2e") for item in session.items):
        require(MIN_FREE_BYTES, session.config)


def require(size: int, config: pytest.Config) -> None:
    if os.geteuid() == 0 and not config.option.collectonly and free() < size:
        raise pytest.UsageError(
            f"only {free() >> 20} MiB free under {place()}: images and end-to-end tests need"
            f" {size >> 30} GiB; free some space, or set OSBOX_CHECK_HOME to a directory on a larger disk"
        )


def place() -> Path:
    """The state directory, or what is there of the way to it."""
    return next(path for path in (BASE, *BASE.parents) if path.exists())


def free() -> int:
    return shutil.disk_usage(place()).free


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and any(text in report.longreprtext for text in TELLS):
        FULL.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FULL:
        terminalreporter.write_line(
            f"The disk was full in {len(FULL)} of these ({free() >> 20} MiB free now under {place()}):"
            f" {', '.join(FULL)}. Free some space and run the same again.",
            red=True,
        )
