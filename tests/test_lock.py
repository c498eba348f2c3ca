"""One at a time, between processes: who waits says for whom, and Ctrl-C ends the wait."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from osbox import lock, run
from tests.fulldisk import no_room

HOLD = (
    "import sys; from pathlib import Path; from osbox import lock\nwith lock.alone(Path(sys.argv[1]),"
    " 'A test runs here'):\n  print('held', flush=True); sys.stdin.read()"
)


SECONDS = 0.4
"""That somebody is left waiting."""
Holder = subprocess.Popen[str]


@contextmanager
def holding(place: Path) -> Iterator[Holder]:
    """It ends when its input is closed."""
    with run.spawn([sys.executable, "-c", HOLD, str(place)], stdin=-1, stdout=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process


def later(process: Holder, act: Callable[[], object] = lambda: None) -> None:
    """Let it end, after an act."""
    stdin = process.stdin
    assert stdin
    Timer(SECONDS, lambda: (act(), stdin.close())).start()


@pytest.fixture
def holder(place: Path) -> Iterator[Holder]:
    """A process that holds the lock."""
    with holding(place) as process:
        yield process


@pytest.fixture(params=["file", "directory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "missing" / "lock" if request.param == "file" else tmp_path


def test_the_second_waits_and_says_for_whom(
    place: Path, holder: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = time.monotonic()
    later(holder)
    with lock.alone(place, "A test runs here"):
        assert time.monotonic() - begin > SECONDS * 0.9
    who = "another process" if place.is_dir() else f"process {holder.pid}"
    assert f"A test runs here ({who}): this one goes on when it has ended" in capsys.readouterr().err
    if not place.is_dir():
        assert place.read_text() == f"process {os.getpid()}\n"


def test_a_lock_ends_with_a_holder_that_is_killed(
    place: Path, holder: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    holder.kill()
    with lock.alone(place):
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("call", ["truncate", "pwrite"])
def test_a_full_disk_has_room_for_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: str
) -> None:
    """`osbox down --purge`, which would free it, failed at its first act."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    place = tmp_path / "machine.lock"
    with lock.alone(place, who="osbox down --purge"):
        hold = [sys.executable, "-c", HOLD, str(place)]
        with run.spawn(hold, stderr=-1) as second:
            assert second.stderr
            assert "A test runs here (another process)" in second.stderr.readline()
            second.kill()


def test_without_room_for_a_file_goes_on_who_frees_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of inodes, or on btrfs, there is none left for an empty file either."""
    no_room(monkeypatch)
    place = tmp_path / "machine.lock"
    with pytest.raises(OSError, match="No space left"), lock.alone(place):
        pass
    with pytest.raises(ValueError, match="of the block") as caught, lock.alone(place, frees=True):
        raise ValueError("of the block")
    assert caught.value.__context__ is None
    place.write_text("")
    with lock.alone(place, frees=True):  # one that is there is held
        hold = [sys.executable, "-c", HOLD, str(place)]
        with run.spawn(hold, stderr=-1) as second:
            assert second.stderr
            assert "A test runs here" in second.stderr.readline()
            second.kill()


def test_ctrl_c_ends_the_wait(place: Path, holder: Holder) -> None:
    with run.spawn([sys.executable, "-c", HOLD, str(place)], stderr=-1) as second:
        assert second.stderr
        assert "goes on when it has ended" in second.stderr.readline()
        begin = time.monotonic()
        second.send_signal(signal.SIGINT)
        assert second.wait(5) != 0
        assert time.monotonic() - begin < 1


def test_a_lock_that_was_removed_meanwhile_locks_nothing(tmp_path: Path) -> None:
    """Whoever waited for it takes the one that lies there now."""
    place = tmp_path / "below" / "lock"
    with holding(place):
        place.unlink()
        place.parent.rmdir()
        with holding(place) as second:  # the removed one is nobody's
            later(second)
            with lock.alone(place):
                assert second.wait(5) == 0, "we waited for it"


def test_a_directory_that_was_removed_meanwhile_stays_away(tmp_path: Path) -> None:
    """What waits for a purge would leave a lock in what is gone."""
    place = tmp_path / "below" / "lock"
    with holding(place) as first:
        later(first, lambda: shutil.rmtree(place.parent))
        with (
            pytest.raises(lock.RemovedError, match="below was removed while this waited"),
            lock.alone(place, anew=False),
        ):
            pass
        assert first.wait(5) == 0
    assert not place.parent.exists()
