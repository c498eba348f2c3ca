"""How the tests run, on made-up tests: kinds, deadlines, a full disk, a run that was killed."""

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


# --- deadlines -------------------------------------------------------------------------------------------------------

SLEEPS = """
import time
from pathlib import Path
import pytest
from tests.deadlines import waited

@pytest.fixture(scope="module")
def state():
    with waited("the state", within=20):
        time.sleep(1.5)
    Path("state").mkdir()
    yield
    Path("state").rmdir()

@pytest.fixture
def thing():
    Path("thing").touch()
    yield
    Path("thing").unlink()

@pytest.mark.timeout(1)
def test_that_sleeps(state, thing):
    time.sleep(30)

@pytest.mark.timeout(1)
def test_after_it(state, thing): pass

@pytest.fixture
def slow():
    with waited("what never comes", within=1):
        time.sleep(30)

def test_that_waits_in_vain(state, slow): pass

@pytest.fixture
def stuck(monkeypatch):
    monkeypatch.setitem(__import__("tests.deadlines").deadlines.SECONDS, "quick", 1)
    yield
    time.sleep(30)

def test_that_does_not_end(thing, stuck): pass
"""


def test_after_a_deadline_all_is_torn_down_and_the_next_test_runs(made_up: Run, pytester: pytest.Pytester) -> None:
    begin = time.monotonic()
    result = made_up(SLEEPS, "-v", "-rA")
    assert time.monotonic() - begin < 25
    result.assert_outcomes(failed=1, passed=2, errors=2)
    result.stdout.fnmatch_lines_random([
        "*test_that_sleeps FAILED*", "*test_after_it PASSED*", "*Timeout (>1.0s) from pytest-timeout*",
        "*Timeout: waited for what never comes: not within 1 s*", "*Timeout: the tear-down did not end within * s*",
        "Waited: the state 2 s, what never comes 1 s in vain",
    ])  # fmt: skip
    assert not [name for name in ("state", "thing") if (pytester.path / name).exists()]


def test_every_test_has_a_deadline(made_up: Run) -> None:
    looks = "import pytest\n" + "".join(
        f"@pytest.mark.{kind}\ndef test_{kind}(request): assert request.node.get_closest_marker('timeout').args == ({seconds},)\n"
        for kind, seconds in (("images", 300), ("e2e", 900))
    )
    looks += "def test_quick(request): assert request.node.get_closest_marker('timeout').args == (30,)\n"
    looks += "@pytest.mark.timeout(7)\ndef test_own(request): assert request.node.get_closest_marker('timeout').args == (7,)\n"
    made_up(looks).assert_outcomes(passed=4)


# --- a full disk -----------------------------------------------------------------------------------------------------

@pytest.mark.root
def test_too_small_a_disk_is_refused_before_anything_is_made(made_up: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import shutil\nshutil.disk_usage = lambda _: type('Usage', (), {'free': 5 << 30})\n")
    result = made_up(KINDS, "-m", "not quick")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    home = pytester.path / "home"
    said = [line for line in result.stderr.lines + result.stdout.lines if "free under" in line]
    assert len(said) == 1
    assert said[0].startswith(f"ERROR: only 5120 MiB free under {pytester.path}: images and end-to-end tests need 8 GiB")
    assert not home.exists()
    made_up("", "-m", "root").assert_outcomes(passed=1, deselected=4)  # needs no engine


def test_a_disk_that_fills_up_in_the_middle_is_said(made_up: Run) -> None:
    result = made_up("import errno, os\ndef test_it(): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\ndef test_other(): assert 0\n")
    result.stdout.re_match_lines([r"The disk was full in 1 of these \(\d+ MiB free now under .*\): tests/test_made_up.py::test_it\. Free some"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


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
