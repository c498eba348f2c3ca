"""Every test has a deadline; what shared fixtures wait for has one of its own, and is told at the end of the
run.

pytest-timeout times a test together with its set-up. A module's images or its cloud are made in the set-up of
whichever test comes first: that time is not the test's. So a fixture says what it waits for (`waited`); the
test's time stands still meanwhile.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import pytest_timeout  # type: ignore[import-untyped]

from tests.conftest import kind

SECONDS = {"quick": 30, "root": 60, "images": 300, "e2e": 900}
"""By kind, for a test without a timeout mark; about three times what the slowest took (test_cloud.py: 329 s
for a whole demo).

The tear-down has as much again, each time that it is interrupted.
"""
WAITS: list[str] = []


@pytest.hookimpl(trylast=True)  # after those of conftest.py, which give a test its kind
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("timeout") is not None:
        return  # asked for on the command line
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS[kind(item)]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """After a test that failed there is no timer any more, and after the last test the session's own fixtures
    are torn down."""
    seconds = SECONDS[kind(item)]
    with alarm(seconds, f"the tear-down did not end within {seconds} s", again=True):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["waits"] = WAITS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    WAITS.extend(getattr(node, "workeroutput", {}).get("waits", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if WAITS:
        terminalreporter.write_line("Waited: " + ", ".join(WAITS))


@contextmanager
def waited(what: str, *, within: float) -> Iterator[None]:
    """For the block of a fixture in which many tests wait for the same: it has a deadline of its own, and is
    told at the end."""
    begin = time.monotonic()
    how = " in vain"
    try:
        with alarm(within, f"waited for {what}: not within {within:.0f} s"):
            yield
        how = ""
    finally:
        WAITS.append(f"{what} {time.monotonic() - begin:.0f} s{how}")
        print("waited for", WAITS[-1])


@contextmanager
def alarm(seconds: float, message: str, *, again: bool = False) -> Iterator[None]:
    """Fail in the block when it takes longer; again: and every time after as long again.

    The timer of the test stands still.
    """

    def ring(_signal: int, _frame: FrameType | None) -> None:
        if not pytest_timeout.is_debugging():
            pytest.fail(f"Timeout: {message}")

    rest = signal.setitimer(signal.ITIMER_REAL, 0)[0]
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds if again else 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, rest)
