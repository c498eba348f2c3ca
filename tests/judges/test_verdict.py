"""What became of a suite's tests, held against what is expected: tests/cases/judges."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from osbox.judges import run, suite, verdict
from osbox.judges.verdict import Rule
from osbox.releases import folder
from tests.conftest import PROJECT

CASES = sorted((PROJECT / "tests/cases/judges").glob("*.yaml"))
RELEASES = folder.known(PROJECT / "releases")
SENTENCE = re.compile(r"[A-Z`'0-9].*\s.*\.", re.DOTALL)


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_verdict(file: Path) -> None:
    case = yaml.safe_load(file.read_text())
    rules = verdict.expected(case.get("expected", ""), case.get("release", "2026.1"))
    found = verdict.judge(verdict.read(case["records"].splitlines()), rules)
    assert found.counts == case["counts"]
    assert found.seconds == case["seconds"]
    assert [[*key, count] for key, count in found.skips.items()] == case.get("skips", [])
    assert found.failures == case.get("failures", {})
    assert list(found.wrong) == case.get("wrong", []), case["why"]


@pytest.mark.parametrize(
    "text",
    [
        "[[fail]]\ntests = 'a'\n",
        "[[fail]]\ntests = 'a'\nwhy = 'short'\n",
        "[[fail]]\ntest = 'a'\nwhy = 'A word that is not known.'\n",
        "[[fails]]\ntests = 'a'\nwhy = 'A table that is not known.'\n",
        "[[fail]\n",
    ],
)
def test_what_are_no_expectations_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        verdict.expected(text, "2026.1")


# --- the files that come with osbox
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", suite.NAMES)
def test_expectations_can_be_read(name: str, release: str) -> None:
    verdict.expected((run.EXPECTED / f"{name}.toml").read_text(), release)


def test_no_file_is_without_a_suite() -> None:
    assert {path.name for path in run.EXPECTED.iterdir()} == {f"{name}.toml" for name in suite.NAMES}


@pytest.mark.parametrize("name", suite.NAMES)
def test_rules_say_what_they_are_for_and_why(name: str) -> None:
    data = tomllib.loads((run.EXPECTED / f"{name}.toml").read_text())
    every = [(kind, rule) for kind, rules in data.items() for rule in rules]
    assert {str(rule): wrong for kind, rule in every if (wrong := amiss(kind, rule))} == {}


def amiss(kind: str, data: dict[str, Any]) -> str:
    """What is wrong with a rule; "" when nothing is."""
    rule = Rule.model_validate(data)
    for regex in (rule.tests, rule.reason):
        try:
            re.compile(regex)
        except re.error as error:
            return f"{regex} is no regular expression: {error}"
    if not rule.tests and (kind == "fail" or not rule.reason):  # every test that passes would be wrong
        return "it is for all tests"
    if not SENTENCE.fullmatch(rule.why):
        return "why is no sentence"
    unknown = set(rule.releases) - set(RELEASES)
    return f"there is no release {', '.join(sorted(unknown))}" if unknown else ""


@pytest.mark.parametrize(
    ("kind", "rule", "said"),
    [
        ("skip", {"reason": "x", "why": "There are no volumes."}, ""),
        ("fail", {"tests": "x", "why": "`x` has no volumes."}, ""),
        ("fail", {"reason": "x", "why": "There are no volumes."}, "it is for all tests"),
        ("skip", {"why": "There are no volumes."}, "it is for all tests"),
        ("skip", {"reason": "(x", "why": "There are no volumes."}, "(x is no regular expression"),
        ("fail", {"tests": "[x", "why": "There are no volumes."}, "[x is no regular expression"),
        ("skip", {"reason": "x", "why": "there are no volumes."}, "why is no sentence"),
        ("skip", {"reason": "x", "why": "There are no volumes"}, "why is no sentence"),
        ("skip", {"reason": "x", "why": "Volumes, none.", "releases": ["1999.1"]}, "there is no release"),
    ],
)
def test_the_check_sees_a_wrong_rule(kind: str, rule: dict[str, Any], said: str) -> None:
    found = amiss(kind, rule)
    assert found.startswith(said)
    assert bool(found) == bool(said)
