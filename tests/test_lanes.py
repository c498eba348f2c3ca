"""Two lanes, on made-up tests: which test runs in which, in what order, and that one waits for the other."""

import json
import os
import re
from pathlib import Path

import pytest

from tests import home, lanes
from tests.made_up import MadeUp

pytestmark = pytest.mark.timeout(120)  # they start pytest with two workers

TELLS = """
import json, time
import pytest
from tests import home, lanes
from tests.e2e.isolated.conftest import SEED
pytestmark = pytest.mark.e2e
def test_where(request):
    {before}
    with open("told.jsonl", "a") as file:
        said = dict(test=request.node.nodeid, home=str(home.HOME), name=home.NAME, net=home.NET, seed=SEED)
        file.write(json.dumps(said) + "\\n")
    {after}
"""
FIRST = "tests/test_first.py"
SECOND = ("tests/e2e/outside/test_x.py", "tests/engine/test_y.py", "tests/e2e/isolated/test_a.py")


@pytest.fixture
def made_up(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    for name in (home.LANES, "OSBOX_CHECK_SEED", "OSBOX_CHECK_DAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    found = MadeUp(pytester, monkeypatch)
    texts = dict.fromkeys(SECOND, ("", "time.sleep(0.5)")) | {FIRST: ("lanes.have_the_host()", "")}
    for name, (before, after) in texts.items():
        (found.path / name).parent.mkdir(parents=True, exist_ok=True)
        (found.path / name).write_text(TELLS.format(before=before, after=after))
    return found


def told(made_up: MadeUp) -> list[dict[str, str]]:
    return [json.loads(line) for line in (made_up.path / "told.jsonl").read_text().splitlines()]


def test_each_lane_has_its_own_names_and_the_first_waits_for_the_second(made_up: MadeUp) -> None:
    result = made_up.run("-m", "not quick", "-n2", "--dist=loadscope")
    result.assert_outcomes(passed=4)
    said = told(made_up)
    assert [one["test"].partition("::")[0] for one in said] == [*SECOND, FIRST]
    of_first, of_second = said[-1], said[:-1]
    assert of_first["home"] == str(made_up.home)
    assert {one["home"] for one in of_second} == {f"{made_up.home}-2"}
    assert {one["name"] for one in of_second} == {"check-2"}
    assert of_first["net"] != of_second[0]["net"]
    assert len({one["seed"] for one in said}) == 1, "both collect the same tests"
    assert re.search(r"Waited: the second lane to leave the host \d+ s", result.stdout.str())


def test_without_lanes_the_same_tests_run_one_after_the_other(made_up: MadeUp) -> None:
    made_up.run("-m", "not quick").assert_outcomes(passed=4)
    said = told(made_up)
    assert [one["test"].partition("::")[0] for one in said] == [FIRST, *SECOND]
    assert {one["home"] for one in said} == {str(made_up.home)}


def test_a_full_disk_is_told_before_the_lanes_begin(made_up: MadeUp) -> None:
    made_up.free(9 << 30)
    result = made_up.run("-m", "not quick", "-n2", "--dist=loadscope")
    if os.geteuid() == 0:
        result.stderr.fnmatch_lines(
            ["*only 9216 MiB free under *: images and end-to-end tests need 16 GiB;*"]
        )
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert not (made_up.path / "told.jsonl").exists()


def test_what_is_named_as_the_second_lane_is_there() -> None:
    for name in lanes.SECOND:
        assert (Path(__file__).parents[1] / name).exists(), name


def test_a_made_up_run_within_a_lane_leaves_it_one(made_up: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the word that says so away, and the first lane did not wait for the second any more: it looked
    at the host with the other's namespaces on it."""
    monkeypatch.setenv(home.LANES, "1")
    made_up.run_here("-m", "quick")
    assert os.environ[home.LANES] == "1"


def test_the_second_lane_does_nothing_in_the_hosts_network_once_it_has_left(made_up: MadeUp) -> None:
    apart = "with namespaces.alone(): lanes.may_run_here()" if os.geteuid() == 0 else ""
    text = "from tests import namespaces\n" + TELLS.format(
        before=f"lanes.may_run_here()\n    lanes.leave_the_host()\n    {apart}", after="lanes.may_run_here()"
    )
    (made_up.path / SECOND[-1]).write_text(text)
    result = made_up.run("-m", "not quick", "-n2", "--dist=loadscope")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*the second lane has left the host's network*"])
    assert len(told(made_up)) == 4, "it failed only at the end"
