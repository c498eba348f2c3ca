"""How the tests run, on made-up tests: kinds, deadlines, a full disk, a run that was killed."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from osbox import run
from tests.e2e.outside import conftest as outside
from tests.e2e.outside import world
from tests.made_up import MadeUp

pytestmark = pytest.mark.timeout(120)  # each starts pytest, some several times


@pytest.fixture
def made_up(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    return MadeUp(pytester, monkeypatch)


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


def test_kinds_in_their_order(made_up: MadeUp) -> None:
    rest = ["test_images", "test_end_to_end"]
    root = ["test_root"] if os.geteuid() == 0 else []
    made_up.write(KINDS)
    assert order(made_up.run_here("-v")) == ["test_quick", *root, *rest]
    assert order(made_up.run_here("-v", "-m", "quick")) == ["test_quick"]
    assert order(made_up.run_here("-v", "-m", "quick", "--full")) == ["test_quick", "test_full"]
    assert order(made_up.run_here("-v", "-m", "not quick")) == [*root, *rest]


def test_one_processor_is_enough(made_up: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up.write(KINDS)
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        result = made_up.run("-m", "quick", "-nauto", "--dist=worksteal")
    finally:
        os.sched_setaffinity(0, mine)
    result.assert_outcomes(passed=1, deselected=0)
    result.stdout.fnmatch_lines(["1 worker *"])


# --- deadlines
# --------------------------------------------------------------------------------

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


def test_after_a_deadline_all_is_torn_down_and_the_next_test_runs(made_up: MadeUp) -> None:
    made_up.write(SLEEPS)
    begin = time.monotonic()
    result = made_up.run("-v", "-rA")
    assert time.monotonic() - begin < 25
    result.assert_outcomes(failed=1, passed=2, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "*test_that_sleeps FAILED*",
            "*test_after_it PASSED*",
            "*Timeout (>1.0s) from pytest-timeout*",
            "*Timeout: waited for what never comes: not within 1 s*",
            "*Timeout: the tear-down did not end within * s*",
            "Waited: the state 2 s, what never comes 1 s in vain",
        ]
    )
    assert not [name for name in ("state", "thing") if (made_up.path / name).exists()]


def test_every_test_has_a_deadline(made_up: MadeUp) -> None:
    looks = "import pytest\n" + "".join(
        f"@pytest.mark.{kind}\ndef test_{kind}(request): assert"
        f" request.node.get_closest_marker('timeout').args == ({seconds},)\n"
        for kind, seconds in (("images", 300), ("e2e", 900))
    )
    looks += "def test_quick(request): assert request.node.get_closest_marker('timeout').args == (30,)\n"
    looks += (
        "@pytest.mark.timeout(7)\ndef test_own(request): assert"
        " request.node.get_closest_marker('timeout').args == (7,)\n"
    )
    made_up.write(looks)
    made_up.run().assert_outcomes(passed=4)


# --- a full disk
# --------------------------------------------------------------------------------


@pytest.mark.root
def test_too_small_a_disk_is_refused_before_anything_is_made(made_up: MadeUp) -> None:
    made_up.free(5 << 30)
    made_up.write(KINDS)
    result = made_up.run_here("-m", "not quick")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = [line for line in result.stderr.lines + result.stdout.lines if "free under" in line]
    assert len(said) == 1
    assert said[0].startswith(
        f"ERROR: only 5120 MiB free under {made_up.path}: images and end-to-end tests need 8 GiB"
    )
    assert not made_up.home.exists()
    made_up.run_here("-m", "root").assert_outcomes(passed=1, deselected=4)  # needs no engine


def test_a_disk_that_fills_up_in_the_middle_is_said(made_up: MadeUp) -> None:
    made_up.write(
        "import errno, os\ndef test_it(): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\ndef"
        " test_other(): assert 0\n"
    )
    result = made_up.run_here()
    result.stdout.re_match_lines(
        [
            r"The disk was full in 1 of these \(\d+ MiB free now under .*\): tests/test_made_up.py::test_it\."
            r" Free some"
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


# --- a check that was killed
# --------------------------------------------------------------------------------


def test_programs_of_a_killed_check_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine, others = (tmp_path / name for name in (f"{world.PREFIX}1", "another"))
    for folder in (mine, others):
        folder.mkdir()
        shutil.copy(shutil.which("sleep") or "", folder)
    with run.spawn([str(mine / "sleep"), "60"]) as one, run.spawn([str(others / "sleep"), "60"]) as two:
        world.remove_programs()
        assert one.wait(10) == -signal.SIGKILL
        assert two.poll() is None
    assert list(tmp_path.iterdir()) == [others]


@pytest.mark.root
def test_outposts_of_a_killed_check_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    asked: list[tuple[Path, str]] = []
    monkeypatch.setattr(
        outside.Outpost, "inside", lambda outpost, *words: asked.append((outpost.home, " ".join(words[1:])))
    )
    mounted, bare = (tmp_path / f"{outside.PREFIX}{number}" for number in (1, 2))
    for home in (mounted, bare):
        home.mkdir()
    run.run(["mount", "-t", "tmpfs", "tmpfs", str(mounted)])
    (mounted / "site.toml").touch()
    outside.remove_outposts()
    assert asked == [(mounted, "down --purge")]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_check_leaves_no_process(made_up: MadeUp) -> None:
    """The workers of xdist end with what started them; nothing of it is at work in the next run."""
    made_up.pytester.makeconftest(
        "import os\nfrom pathlib import Path\nPath(f'worker-{os.getpid()}').touch()\n"
    )
    made_up.write(
        "import time\nfrom pathlib import Path\nimport pytest\n@pytest.mark.parametrize('one', 'ab')\n"
        "def test_it(one):\n    if not Path('killed').exists(): time.sleep(1)\n"
    )
    process = made_up.pytester.popen([*made_up.pytester._getpytestargs(), "-n2"])
    deadline = time.monotonic() + 60
    while len(list(made_up.path.glob("worker-*"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    (made_up.path / "killed").touch()
    while any(
        Path(f"/proc/{file.name.partition('-')[2]}/cmdline").exists()
        for file in made_up.path.glob("worker-*")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    made_up.run("-m", "quick").assert_outcomes(passed=2)


def test_a_check_that_ignores_signals_does_not_pass_that_on(made_up: MadeUp) -> None:
    """As with `nohup make check &` in a script: tests of Ctrl-C waited for what could not hear it."""
    made_up.write(
        "import signal, subprocess, sys\n"
        "ASK = 'import signal; print(*[signal.getsignal(n) is signal.SIG_IGN for n in (1, 2)])'\n"
        "def test_of_a_command():\n"
        "    done = subprocess.run([sys.executable, '-c', ASK], capture_output=True, text=True, check=True)\n"
        "    assert done.stdout == 'False False\\n'\n"
    )
    ignored = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        made_up.run().assert_outcomes(passed=1)
    finally:
        for number, before in ignored.items():
            signal.signal(number, before)
