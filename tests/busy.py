"""How busy the processors were while each test ran: what only waits may run beside what computes.

At the end of the run: of the whole machine, by file. Other work on the machine counts, too,
and that of the other lane.
"""

import os
import resource
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import kind

FILES, SECONDS = 12, 10
"""Told at the end: those that took longest, and this long at the least."""


@dataclass
class Work:
    """Seconds: by the clock; of processors that did something; of our own processes among them."""

    clock: float = 0
    busy: float = 0
    own: float = 0

    def add(self, other: "Work") -> None:
        self.clock, self.busy, self.own = (
            self.clock + other.clock,
            self.busy + other.busy,
            self.own + other.own,
        )


def now() -> Work:
    """proc_stat(5): the first line is of all processors: user, nice, system, idle, iowait, irq, softirq, …"""
    ticks = [int(part) for part in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]]
    busy = (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Work(time.monotonic(), busy, sum(one.ru_utime + one.ru_stime for one in own))


@dataclass
class Busy:
    files: dict[str, Work] = field(default_factory=dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if kind(item) == "quick":
            return (yield)
        before = now()
        result = yield
        after = now()
        name = item.nodeid.partition("::")[0]
        self.files.setdefault(name, Work()).add(
            Work(after.clock - before.clock, after.busy - before.busy, after.own - before.own)
        )
        return result

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["busy"] = {name: astuple(work) for name, work in self.files.items()}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for name, work in getattr(node, "workeroutput", {}).get("busy", {}).items():
            self.files.setdefault(name, Work()).add(Work(*work))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        told = [(name, work) for name, work in self.files.items() if work.clock >= SECONDS]
        if not told:
            return
        processors = len(os.sched_getaffinity(0))
        terminalreporter.section(f"how busy {processors} processors were")
        for name, work in sorted(told, key=lambda entry: -entry[1].clock)[:FILES]:
            share = work.busy / (work.clock * processors)
            terminalreporter.write_line(
                f"{work.clock:7.0f} s  {share:4.0%} busy  {work.own:5.0f} s of it our own processes  {name}"
            )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Busy(), "busy")
