"""How the tests run, on made-up tests: kinds, and a run that was killed."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PROJECT

Run = Callable[..., pytest.RunResult]
pytestmark = pytest.mark.timeout(120)  # each starts pytest, some several times


@pytest.fixture
def made_up(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest as the Makefile does on tests with this text, in a state directory of their own."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("OSBOX_CHECK_HOME", str(pytester.path / "home"))
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)  # of the run that we are in
    pytester.makeini("[pytest]\naddopts = -ra --strict-markers -p no:cacheprovider -p tests.conftest\ntestpaths = tests\ntimeout_method = signal\n")
    (pytester.path / "tests").mkdir()

    def start(text: str = "", *words: str, name: str = "test_made_up.py") -> pytest.RunResult:
        if text:
            (pytester.path / "tests" / name).write_text(text)
        return pytester.runpytest_subprocess(*words, timeout=100)

    return start


KINDS = """
import pytest
def test_quick(): pass
@pytest.mark.e2e
def test_end_to_end(): pass
@pytest.mark.images
def test_images(): pass
@pytest.mark.root
def test_root(): pass
@pytest.mark.full
def test_full(): pass
"""


def order(result: pytest.RunResult) -> list[str]:
    return re.findall(r"::(\S+) (?:PASSED|FAILED|ERROR)", result.stdout.str())


def test_kinds_in_their_order(made_up: Run) -> None:
    rest = ["test_images", "test_end_to_end"]
    root = ["test_root"] if os.geteuid() == 0 else []
    assert order(made_up(KINDS, "-v")) == ["test_quick", *root, *rest]
    assert order(made_up("", "-v", "-m", "quick")) == ["test_quick"]
    assert order(made_up("", "-v", "-m", "quick", "--full")) == ["test_quick", "test_full"]
    assert order(made_up("", "-v", "-m", "not quick")) == [*root, *rest]


def test_one_processor_is_enough(made_up: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        result = made_up(KINDS, "-m", "quick", "-nauto", "--dist=worksteal")
    finally:
        os.sched_setaffinity(0, mine)
    result.assert_outcomes(passed=1, deselected=0)
    result.stdout.fnmatch_lines(["1 worker *"])


# --- a check that was killed -----------------------------------------------------------------------------------------

def test_a_killed_check_leaves_no_process(made_up: Run, pytester: pytest.Pytester) -> None:
    """The workers of xdist end with what started them; nothing of it is at work in the next run."""
    pytester.makeconftest("import os\nfrom pathlib import Path\nPath(f'worker-{os.getpid()}').touch()\n")
    (pytester.path / "tests/test_long.py").write_text("import time\ndef test_it(): time.sleep(2)\ndef test_that(): time.sleep(2)\n")
    process = pytester.popen([*pytester._getpytestargs(), "-n2"])
    deadline = time.monotonic() + 60
    while len(list(pytester.path.glob("worker-*"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{file.name.partition('-')[2]}/cmdline").exists() for file in pytester.path.glob("worker-*")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    made_up(KINDS, "-m", "quick", name="test_next.py").assert_outcomes(passed=3)
