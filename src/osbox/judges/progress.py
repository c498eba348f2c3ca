"""How far a suite is that runs: its records, followed as they are written."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from osbox import log
from osbox.judges import verdict
from osbox.judges.verdict import Expected, Outcome, Test

ENOUGH = 20
"""So many tests have ended before it is said how long the others take."""


class Progress:
    """Call it for a line of now; from one thread at a time."""

    def __init__(self, records: Path, rules: Expected, clock: Callable[[], float] = time.monotonic) -> None:
        self.records, self.rules, self.clock = records, rules, clock
        self.begin, self.first = clock(), 0.0
        self.at, self.collected = 0, 0
        self.tests, self.wrong = dict[str, Test](), set[str]()

    def __call__(self) -> str:
        for line in self._new():
            self._take(line)
        now = self.clock()
        if self.tests and not self.first:
            self.first = now  # what came before, reading all tests, is no part of the pace
        counts = Counter(test.outcome for test in self.tests.values())
        return said(counts, len(self.wrong), self.collected, now - self.begin, now - self.first)

    def _new(self) -> list[str]:
        """The lines that have come since, whole ones only."""
        try:
            with self.records.open("rb") as file:
                file.seek(self.at)
                whole, end, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:  # pytest has not begun
            return []
        self.at += len(whole + end)
        return whole.decode(errors="replace").splitlines()

    def _take(self, line: str) -> None:
        if test := verdict.add(self.tests, line):
            self.wrong.discard(test.name)
            if verdict.judge([test], self.rules).wrong:
                self.wrong.add(test.name)
        elif not self.collected:
            self.collected = json.loads(line).get("collected", 0)


def said(counts: Mapping[Outcome, int], wrong: int, collected: int, seconds: float, testing: float) -> str:
    """The line. testing: seconds since the first test ended."""
    done = sum(counts.values())
    passed = log.seconds(seconds)
    if not done:
        return f"{collected:,} tests collected, {passed}" if collected else f"reading the tests, {passed}"
    among = f" of {max(done, collected):,}" if collected else ""  # a file that cannot be read counts, too
    outcomes: tuple[Outcome, ...] = ("passed", "failed", "skipped")
    words = [f"{done:,}{among} tests", *(f"{counts.get(one, 0):,} {one}" for one in outcomes)]
    words += [f"{wrong:,} not as expected"] if wrong else []
    words += [passed]
    if done >= ENOUGH and collected > done:
        words += [f"about {log.seconds(testing / done * (collected - done))} left"]
    return ", ".join(words)
