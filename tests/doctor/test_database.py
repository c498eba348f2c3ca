"""What the doctor says of the database: tests/cases/database, MariaDB's answer and what comes of it.

OSBOX_UPDATE_CASES=1 pytest tests/doctor/test_database.py writes what comes of each anew: read what changed.
"""

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from osbox import doctor, run
from osbox.doctor import database, dbload
from osbox.doctor.finding import Facts, Finding
from osbox.engine import asking, docker
from osbox.engine.engine import Engine
from osbox.engine.info import ContainerInfo, State
from osbox.site.site import Paths, Site
from tests.conftest import PROJECT

CASES = sorted((PROJECT / "tests/cases/database").glob("*.tsv"))


class Database:
    """MariaDB's container, and what comes of the one question to it."""

    def __init__(self, paths: Paths, state: str = "running") -> None:
        running = {"mysql": ContainerInfo("1", "mysql.os-in-a-box", "os-mysql:1", "sha256:1", State(state))}
        self.facts = Facts(paths, Site(), paths, Engine("private", "26"), running)
        self.answer: run.Result | Exception = run.Result(0, "", "")
        self.asked = list[tuple[str, ...]]()

    def ask(self, _: Engine, *words: str, check: bool, seconds: float) -> run.Result:
        assert seconds <= 10, "the other checks take five"
        assert not check
        self.asked.append(words)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def found(self) -> list[Finding]:
        return doctor.examine(self.facts, {"database": database.check_database})


@pytest.fixture
def mariadb(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database(paths)
    monkeypatch.setattr(docker, "ask", made.ask)
    return made


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_case(mariadb: Database, file: Path) -> None:
    mariadb.answer = run.Result(0, file.read_text(), "")
    told = "".join(
        f"{one.level}: {one.what}\n"
        + "".join(f"  │ {line}\n" for line in one.evidence.splitlines())
        + (f"  → {one.next}\n" if one.next else "")
        for one in mariadb.found()
    )
    beside = file.with_suffix(".txt")
    if os.environ.get("OSBOX_UPDATE_CASES"):
        beside.write_text(told)
    assert told == beside.read_text()
    [words] = mariadb.asked
    assert words[:4] == ("exec", "mysql.os-in-a-box", "mariadb", "--user=stack")


def test_no_case_tells_a_value() -> None:
    """Statements have passwords of BMCs in them."""
    assert any("hunter" in file.read_text() for file in CASES)
    assert not any("hunter" in file.with_suffix(".txt").read_text() for file in CASES)


STATEMENTS: Mapping[str, str] = {
    "SELECT `it's` WHERE c = 'x' AND d = \"y\" AND e = 7": "SELECT `it's` WHERE c = ? AND d = ? AND e = 7",
    r"c = 'it\'s secret', d": "c = ?, d",
    "c = 'it''s secret', d": "c = ?, d",
    r"c = 'secret\\', d = 'more'": "c = ?, d = ?",
    "c = \"say 'secret'\", d": "c = ?, d",
    "c = 'cut secret": "c = ?",
    "c = 'cut secret\\": "c = ?",
    "c = _binary'secret' AND d = X'5EC3'": "c = _binary? AND d = X?",
    "c = 0x5EC3E7": "c = ?",
    "a\n  b\tc": "a b c",
    "a\x1b[31mb": "ab",
    "x" * 300: "x" * 200 + " …",
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_is_told_without_its_values(statement: str) -> None:
    assert dbload.without_values(statement) == STATEMENTS[statement]


def test_a_database_that_gives_no_answer_in_time_is_not_looked_at(mariadb: Database) -> None:
    mariadb.answer = asking.SilentError("the container engine gave no answer within 8 s")
    [one] = mariadb.found()
    assert (one.level, one.what) == ("warning", "database: not looked at")


def test_one_that_refuses_is_told_with_its_word(mariadb: Database) -> None:
    mariadb.answer = run.Result(1, "", "ERROR 2002 (HY000): Can't connect to local server\n")
    [one] = mariadb.found()
    assert (one.level, one.next) == ("warning", "osbox logs mysql")
    assert one.evidence == "ERROR 2002 (HY000): Can't connect to local server"


def test_without_one_that_runs_nobody_is_asked(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Database(paths, state="exited")
    monkeypatch.setattr(docker, "ask", made.ask)
    assert made.found() == []
    assert made.asked == []


def test_the_limit_of_slow_queries_is_that_of_the_page() -> None:
    config = configparser.ConfigParser()
    config.read(PROJECT / "images/mysql/osbox.cnf")
    limits = config["mariadbd"]
    assert limits["slow_query_log"] == "OFF", "a log would have to be bounded"
    page = (PROJECT / "docs/doctor.md").read_text()
    [row] = [line for line in page.splitlines() if line.startswith("| database |")]
    assert f"more than {limits['long_query_time']} s" in row
    assert f"more than {dbload.SLOW_AT_LEAST} and one in {1 / dbload.SLOW_SHARE:,.0f}" in row
    assert f"running for {dbload.LONG_SECONDS} s or more" in row
    assert f"of {dbload.LOCK_SECONDS} s or more" in row
