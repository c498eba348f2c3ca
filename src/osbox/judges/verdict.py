"""What became of a suite's tests, held against what is expected of them. Pure."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["passed", "failed", "skipped"]


class Rule(BaseModel):
    """What is expected not to pass, and why. tests: a regular expression, searched in the dotted name.
    reason: likewise, in what the suite itself says of a skip. releases: all, unless some are named. may_pass:
    of what fails on some machines only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tests: str = ""
    reason: str = ""
    why: str = Field(min_length=10)
    releases: tuple[str, ...] = ()
    may_pass: bool = False

    def is_for(self, release: str) -> bool:
        return not self.releases or release in self.releases

    def covers(self, test: "Test") -> bool:
        return bool(re.search(self.tests, test.name) and re.search(self.reason, test.reason))


class Expected(BaseModel):
    """A file of expectations: what is not run at all, what is to fail, and what is to be skipped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    leave: tuple[Rule, ...] = ()
    fail: tuple[Rule, ...] = ()
    skip: tuple[Rule, ...] = ()

    @property
    def left(self) -> str:
        """A regular expression that is found in the names of the tests that are not run; "" when all are."""
        return "|".join(f"(?:{rule.tests})" for rule in self.leave)


@dataclass(frozen=True)
class Test:
    """How a test ended, in seconds, and what it said of that."""

    name: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0


@dataclass(frozen=True)
class Verdict:
    """skips: how often each reason, and why that is expected ("" when it is not). failures: how many failed
    for each known reason. wrong: what makes the run red, a line each.
    """

    counts: dict[Outcome, int]
    seconds: float
    skips: dict[tuple[str, str], int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()


def expected(text: str, release: str) -> Expected:
    """The expectations of a file that are for a release. Raises ValueError when it is none."""
    every = Expected.model_validate(tomllib.loads(text))
    return Expected(**{kind: tuple(rule for rule in rules if rule.is_for(release)) for kind, rules in every})


def read(lines: Iterable[str]) -> list[Test]:
    """The tests of a run's records, each once: failed when anything of it failed. A line that was cut off by
    a kill is left out."""
    found = dict[str, Test]()
    for line in lines:
        add(found, line)
    return list(found.values())


def add(found: dict[str, Test], line: str) -> Test | None:
    """Take a line into those of before, by name; returns what it has changed."""
    try:
        data = json.loads(line)
        test = Test(data["test"], data["outcome"], " ".join(data["reason"].split()), data["seconds"])
    except (ValueError, KeyError):  # how many were collected, or cut off
        return None
    before = found.get(test.name)
    if before and before.outcome == "failed":
        return None
    found[test.name] = test
    return test


def judge(tests: Sequence[Test], rules: Expected) -> Verdict:
    """Whether all is as expected: what fails or is skipped has a rule, and what has one does so."""
    counts: Counter[Outcome] = Counter({"passed": 0, "failed": 0, "skipped": 0})
    skips, failures, wrong = Counter[tuple[str, str]](), Counter[str](), list[str]()
    for test in tests:
        counts[test.outcome] += 1
        why = _why(test, rules)
        if test.outcome == "skipped":
            skips[test.reason, why] += 1
        if test.outcome == "failed" and why:
            failures[why] += 1
        if test.outcome == "passed" and any(
            rule.tests and not rule.may_pass and re.search(rule.tests, test.name) for rule in rules.fail
        ):
            wrong.append(f"passed   {test.name}: it is expected to fail")
        elif test.outcome != "passed" and not why:
            wrong.append(f"{test.outcome:8} {test.name}: {test.reason}")
    seconds = sum(test.seconds for test in tests)
    return Verdict(dict(counts), seconds, dict(skips), dict(failures), tuple(wrong))


def _why(test: Test, rules: Expected) -> str:
    among = {"failed": rules.fail, "skipped": rules.skip, "passed": ()}[test.outcome]
    return next((rule.why for rule in among if rule.covers(test)), "")
