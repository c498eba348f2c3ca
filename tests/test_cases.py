"""tests/cases/README.md: every case has its line, and the tests that it names are there."""

import ast
import re
from functools import cache

import pytest

from tests.conftest import PROJECT

TESTS = PROJECT / "tests"
PAGE = (TESTS / "cases/README.md").read_text()
NUMBERS = {"A": 11, "B": 6, "C": 7, "D": 5, "E": 13}
"""How many cases of each kind were seen."""
NAMED = sorted(set(re.findall(r"`([\w/]+\.py::\w+)", PAGE)))


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))


@pytest.mark.parametrize("named", NAMED)
def test_what_is_named_is_a_test(named: str) -> None:
    file, _, test = named.partition("::")
    assert test.startswith("test_")
    assert test in functions(file)


def test_every_case_has_its_line() -> None:
    lines = re.findall(r"^\| ([A-E]\d+) \|", PAGE, re.MULTILINE)
    assert lines == [f"{kind}{number}" for kind, last in NUMBERS.items() for number in range(1, last + 1)]


def test_every_line_names_a_test_or_says_why_there_is_none() -> None:
    rows = [line for line in PAGE.partition("## What failed")[2].splitlines() if line.startswith("| ")]
    cases = [row for row in rows if not row.startswith(("| # |", "| Scenario |"))]
    assert len(cases) > sum(NUMBERS.values())
    assert [row for row in cases if ".py::test_" not in row and "no test" not in row] == []


def test_every_folder_of_golden_cases_is_named() -> None:
    folders = {path.name for path in (TESTS / "cases").iterdir() if path.is_dir()}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)) == folders
