"""What passed before on this machine, and is not repeated; docs/testing.md says when.

A record is a line of JSON in the state directory of the checks: an image test with the digest of all that it
depends on, or a whole file of end-to-end tests (they build on one another) with the digest of the tree. The
last line about a test and a digest holds; a failure is written down, too. Written when the last test of a
file is done: what is killed before leaves nothing.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from osbox.images.catalogue import Image
from tests import digests
from tests.conftest import kind
from tests.digests import Digests
from tests.home import BASE, LANES

FILE = BASE / "checks.jsonl"
LINES = 5000
"""No more are kept: some twenty whole runs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--again", action="store_true", help="also run what passed before and whose inputs did not change"
    )


def pytest_configure(config: pytest.Config) -> None:
    """In a run of one process, and in lanes; not where xdist hands out the quick tests."""
    worker = hasattr(config, "workerinput")
    shared = worker or config.getoption("numprocesses", None)
    # A checkout that came out of a bundle cannot tell what is in it.
    if (not shared or os.environ.get(LANES)) and (config.rootpath / ".git").exists():
        config.pluginmanager.register(Records(config), "records")


# --- the file
# --------------------------------------------------------------------------------


def read(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The last record of each test and digest. A line that a full disk or a kill cut off is none."""
    found = {}
    for line in file.read_text(errors="replace").splitlines() if file.exists() else []:
        try:
            record = json.loads(line)
            found[record["test"], record["digest"]] = record
        except (ValueError, KeyError, TypeError):
            continue
    return found


def write(file: Path, records: Iterable[dict[str, Any]]) -> None:
    """Add lines; when there are too many, the oldest go."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, sort_keys=True) for record in records]
    old = file.read_text(errors="replace") if file.exists() else ""
    if len(old.splitlines()) > LINES:
        new = file.with_name(file.name + ".new")
        new.write_text("\n".join([*old.splitlines()[-LINES // 2 :], *lines, ""]))
        new.rename(file)
        return
    with file.open("a") as stream:
        stream.write("\n".join([*([""] if old and not old.endswith("\n") else []), *lines, ""]))


# --- the run
# --------------------------------------------------------------------------------


@dataclass
class Unit:
    """What is repeated or not as one: an image test, or a file of end-to-end tests.

    files: a digest; tags: of the images it is about.
    """

    name: str
    kind: str
    items: list[pytest.Function]
    files: str
    tags: tuple[str, ...] = ()
    date: str = ""

    @property
    def digest(self) -> str:
        return digests.of(self.files, *map(digests.built, self.tags))


def units(project: Path, items: Iterable[pytest.Item]) -> Iterator[Unit]:
    of, files = Digests(project), dict[Path, list[pytest.Function]]()
    for item in items:
        if isinstance(item, pytest.Function) and kind(item) == "images":
            yield Unit(item.nodeid, "images", [item], *of.image(item))
        elif isinstance(item, pytest.Function) and kind(item) == "e2e":
            files.setdefault(item.path, []).append(item)
    for found in files.values():
        # With the names of its tests: a sample of them, or those that somebody chose, are not the whole file.
        yield Unit(
            found[0].nodeid.partition("::")[0],
            "e2e",
            found,
            digests.of(of.tree, *(item.nodeid for item in found)),
        )


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Records:
    """One run of pytest: what it leaves out, and what it finds."""

    config: pytest.Config
    left: list[Unit] = field(default_factory=list)
    ends: dict[pytest.Item, list[Unit]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    trouble: str = ""

    @pytest.hookimpl(trylast=True)  # after -k and -m
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        known = {} if self._asked() else read(FILE)
        by_file: dict[Path, list[Unit]] = {}
        for unit in units(self.config.rootpath, items):
            record = known.get((unit.name, unit.digest), {})
            unit.date = str(record.get("date", ""))
            counts = unit.kind == "images" or self.config.getoption("--full")
            (
                self.left
                if counts and record.get("passed") is True
                else by_file.setdefault(unit.items[0].path, [])
            ).append(unit)
        for there in by_file.values():
            self.ends[there[-1].items[-1]] = there
        gone = {item for unit in self.left for item in unit.items}
        self.config.hook.pytest_deselected(items=list(gone))
        items[:] = [item for item in items if item not in gone]

    def _asked(self) -> bool:
        """--again, or tests by name: whoever names one wants to see it run."""
        named = self.config.args_source is pytest.Config.ArgsSource.ARGS
        return bool(self.config.getoption("--again") or self.config.option.keyword or named)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.failed.add(report.nodeid)
        elif report.when == "call":
            self.passed.add(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        result = yield
        if item in self.ends:
            self._write(self.ends.pop(item))
        return result

    def _write(self, done: list[Unit]) -> None:
        """What was found, unless a file changed meanwhile: then it is not known what was tested."""
        good, date = self.passed - self.failed, datetime.now(UTC).date().isoformat()
        try:
            now = {
                unit.name: unit.files
                for unit in units(self.config.rootpath, [item for unit in done for item in unit.items])
            }
            write(
                FILE,
                [
                    {
                        "test": unit.name,
                        "digest": unit.digest,
                        "passed": {item.nodeid for item in unit.items} <= good,
                        "date": date,
                    }
                    for unit in done
                    if now[unit.name] == unit.files
                ],
            )
        except OSError as error:
            self.trouble = f"What passed is not written down in {FILE}: {error.strerror}"

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and (self.left or self.told):
            session.exitstatus = pytest.ExitCode.OK  # there was nothing left to do
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["records"] = [*self.lines(), *([self.trouble] if self.trouble else [])]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        lines = getattr(node, "workeroutput", {}).get("records", ())
        self.told += [line for line in lines if line not in self.told]

    def lines(self) -> list[str]:
        """What is left out, and why."""
        images = [unit for unit in self.left if unit.kind == "images"]
        dates = sorted({unit.date for unit in images})
        runs = (
            f"the green run of {dates[0]}"
            if len(dates) == 1
            else f"green runs of {dates[0]} to {dates[-1]}"
            if dates
            else ""
        )
        said = (
            [
                f"{len(images)} image tests not repeated: same inputs and test code as {runs}; --again runs"
                " them"
            ]
            if images
            else []
        )
        return said + [
            f"{unit.name} not repeated: its {len(unit.items)} tests passed with this very tree on"
            f" {unit.date}; --again runs them"
            for unit in self.left
            if unit.kind == "e2e"
        ]

    def pytest_report_collectionfinish(self) -> list[str]:
        return self.lines()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in [*self.lines(), *self.told, *([self.trouble] if self.trouble else [])]:
            terminalreporter.write_line(line)


def wanted(request: pytest.FixtureRequest) -> list[Image]:
    """The images that the module's tests will look at with this parameter of the fixture: it need not test
    the others."""
    given = getattr(request, "param", None)
    mine = [
        item.callspec.params
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    return [
        params["image"]
        for params in mine
        if "image" in params and given in (None, params.get(request.fixturename))
    ]
