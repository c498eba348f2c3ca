"""A plugin of pytest: which tests are meant, how many these are, and what became of each, a line of JSON as
soon as it is known.

A run that is killed has told so far what it knew; JUnit's file is written at the end only. OSBOX_RECORDS is
the file; OSBOX_TESTS is a regular expression that is searched in the names, OSBOX_LEAVE one of those that are
not run. Standard library and pytest only: it runs with the Python of the suites.
"""

import json
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

PLACES = re.compile(r"^.*?(?:site-packages/|(?=test/))")
"""What comes before the dotted name in a node's id: packages are installed, Swift's lie in its source."""
REASON = 300  # characters
ERROR = re.compile(r"^(?:E +)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*: .*)$")
BARE = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Z]\w*)$")
"""An error without words, right below the lines of its trace."""
WRAPPED = ("_StringException", "NOTE: Incompatible Exception Representation")
"""What testtools hides an error behind, and what pytest says of that."""
KNOWN = "upstream expects it to fail"


def name(node: str) -> str:
    """The dotted name of a test, as unittest and upstream's own lists have it."""
    file, _, rest = node.partition("::")
    module = PLACES.sub("", file).removesuffix(".py").replace("/", ".")
    return f"{module}.{rest.replace('::', '.')}" if rest else module


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are not meant."""
    wanted = re.compile(os.environ.get("OSBOX_TESTS", ""))
    left = re.compile(os.environ.get("OSBOX_LEAVE") or r"(?!)")
    names = {item: name(item.nodeid) for item in items}
    meant = {item for item, test in names.items() if wanted.search(test) and not left.search(test)}
    config.hook.pytest_deselected(items=[item for item in items if item not in meant])
    items[:] = [item for item in items if item in meant]


class Recorder:
    """Only one process writes: with workers, the one that they report to."""

    def __init__(self, place: str) -> None:
        self.file = Path(place).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115 - as long as the run
        self.seconds = dict[str, float]()
        self.is_counted = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """How many there are; where workers report to, none is collected."""
        self.count(len(session.items))

    @pytest.hookimpl(optionalhook=True)  # xdist's
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Each worker collects all of them."""
        self.count(len(ids))

    def count(self, tests: int) -> None:
        if not self.is_counted:
            self.is_counted = True
            self.file.write(json.dumps({"collected": tests}) + "\n")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line for each test: when it was called, or could not be, or could not be taken down."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.when == "call" or report.skipped or report.failed:
            self.write(name(report.nodeid), _outcome(report), _reason(report), report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """What could not even be read counts as one failed test."""
        if report.failed:
            self.write(
                name(report.nodeid) or "collection", "failed", _last(str(report.longrepr)), report.nodeid
            )

    def write(self, test: str, outcome: str, reason: str, node: str) -> None:
        line: dict[str, Any] = {"test": test, "outcome": outcome, "reason": reason}
        self.file.write(json.dumps({**line, "seconds": round(self.seconds.get(node, 0), 2)}) + "\n")


def _outcome(report: pytest.TestReport) -> str:
    return "skipped" if report.skipped else "failed" if report.failed else "passed"


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and hasattr(report, "wasxfail"):  # of unittest's there is no trace
        return f"{KNOWN} {report.wasxfail.removeprefix('reason: ')}".strip()[:REASON]
    if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")[:REASON]
    return _last(str(report.longrepr)) if report.longrepr else ""


def _last(trace: str) -> str:
    """What a trace says in its last line that names an error: testtools brings the trace as one text, with
    all that was logged."""
    lines = trace.splitlines()
    said = [error for before, line in pairwise(["", *lines]) if (error := _error(line, before))]
    said = said or [line[2:].strip() for line in lines if line.startswith("E ")]
    plain = [line.strip() for line in lines if line.strip()]
    return (said or plain or [""])[-1][:REASON]


def _error(line: str, before: str) -> str:
    """The error that a line of a trace names; "" when it names none."""
    if any(one in line for one in WRAPPED):
        return ""
    match = ERROR.match(line) or (BARE.match(line) if before.startswith("  ") else None)
    return match[1] if match else ""


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and os.environ.get("OSBOX_RECORDS"):
        config.pluginmanager.register(Recorder(os.environ["OSBOX_RECORDS"]), "osbox-recorder")
