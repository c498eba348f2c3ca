"""What is said of a suite while it runs."""

import json
from pathlib import Path

import pytest

from osbox.judges import progress
from osbox.judges.progress import Progress
from osbox.judges.verdict import Expected, Outcome, Rule

RULES = Expected(fail=(Rule(tests="consoles", why="Bare metal has no consoles."),))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def record(test: str, outcome: Outcome) -> str:
    return json.dumps({"test": test, "outcome": outcome, "reason": "", "seconds": 1}) + "\n"


def test_a_run_from_its_beginning(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "tests.jsonl"
    shown = Progress(file, RULES, clock)
    assert shown() == "reading the tests, 0.0 s"
    file.write_text('{"collected": 1200}\n')
    clock.now += 60
    assert shown() == "1,200 tests collected, 60 s"
    with file.open("a") as records:
        records.write(
            record("a.passes", "passed") + record("a.consoles", "failed") + record("a.b", "skipped")
        )
    assert shown() == "3 of 1,200 tests, 1 passed, 1 failed, 1 skipped, 1 not as expected, 60 s"
    with file.open("a") as records:
        records.writelines(record(f"b.{number}", "passed") for number in range(97))
    clock.now += 30
    assert (
        shown() == "100 of 1,200 tests, 98 passed, 1 failed, 1 skipped, 1 not as expected, 90 s,"
        " about 5 m 30 s left"
    )


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "tests.jsonl"
    shown, line = Progress(file, RULES, Clock()), record("ä.passes", "passed").encode()
    for size in range(len(line)):
        file.write_bytes(line[:size])
        assert shown() == "reading the tests, 0.0 s"
    file.write_bytes(line)
    assert shown() == shown() == "1 tests, 1 passed, 0 failed, 0 skipped, 0.0 s"


def test_a_test_that_passes_and_is_not_taken_down_has_failed_once(tmp_path: Path) -> None:
    file = tmp_path / "tests.jsonl"
    shown = Progress(file, RULES, Clock())
    file.write_text(record("a.consoles", "passed"))
    assert shown() == "1 tests, 1 passed, 0 failed, 0 skipped, 1 not as expected, 0.0 s"
    with file.open("a") as records:
        records.write(record("a.consoles", "failed"))
    assert shown() == "1 tests, 0 passed, 1 failed, 0 skipped, 0.0 s"


@pytest.mark.parametrize(
    ("passed", "collected", "words"),
    [
        (progress.ENOUGH - 1, 1000, "19 of 1,000 tests, 19 passed, 0 failed, 0 skipped, 100 s"),
        (1001, 1000, "1,001 of 1,001 tests, 1,001 passed, 0 failed, 0 skipped, 100 s"),
        (1000, 1000, "1,000 of 1,000 tests, 1,000 passed, 0 failed, 0 skipped, 100 s"),
    ],
)
def test_what_is_left_is_said_when_it_can_be_told(passed: int, collected: int, words: str) -> None:
    told = progress.said({"passed": passed}, 0, collected, 100, 50)
    assert told.replace("1 m 40 s", "100 s") == words
