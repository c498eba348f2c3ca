"""RabbitMQ's first process: files that keep the broker from starting are put aside, and only those.

A stand-in for `rabbitmq-server` does here what the real one was seen to do; test_crashes.py in
tests/e2e/isolated breaks the files of a real one.
"""

import os
import signal
import time
from pathlib import Path

import pytest

from osbox import run
from tests.home import PROJECT

PROGRAM = PROJECT / "images" / "rabbitmq" / "broker"


class Box:
    """A volume, and a `rabbitmq-server` that counts its starts."""

    def __init__(self, top: Path) -> None:
        self.home, self.starts, self.run, self.bin = top / "home", top / "starts", top / "run", top / "bin"
        for place in (self.home / "mnesia", self.run, self.bin):
            place.mkdir(parents=True)
        self.free = 1 << 20
        (self.home / ".erlang.cookie").write_text("c")

    def env(self, body: str) -> dict[str, str]:
        for name, text in {
            "rabbitmq-server": f"echo start >> {self.starts}\n{body}",
            "df": f"echo Filesystem; echo a 1 1 {self.free} 1% /",
        }.items():
            (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.bin / name).chmod(0o755)
        return {
            "HOME": str(self.home),
            "OSBOX_RUN": str(self.run),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
        }

    def __call__(self, body: str) -> run.Result:
        return run.run([str(PROGRAM)], env=self.env(body), check=False, timeout=20)

    def count(self) -> int:
        return len(self.starts.read_text().split())


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_files_that_no_start_gets_over_are_put_aside(box: Box) -> None:
    (box.home / "mnesia" / "names").touch()
    result = box('if [ -d mnesia ]; then [ -s mnesia/names ] || exit 1; fi; echo "well"; exit 0')
    assert result.code == 0
    assert box.count() == 3, "twice with them, once without"
    assert (box.home / ".put-aside" / "mnesia" / "names").exists()
    assert (box.home / ".put-aside" / ".erlang.cookie").exists()
    assert not (box.home / "mnesia").exists()
    assert "its files are put aside" in result.err


def test_a_second_time_the_older_ones_go(box: Box) -> None:
    (box.home / ".put-aside" / "mnesia").mkdir(parents=True)
    (box.home / ".put-aside" / "mnesia" / "older").touch()
    box("[ ! -d mnesia ] || exit 1")
    assert (box.home / ".put-aside" / "mnesia").is_dir()
    assert not (box.home / ".put-aside" / "mnesia" / "older").exists()


def test_files_that_were_not_the_cause_are_not_thrown_away(box: Box) -> None:
    """It fails without them, too, and Docker starts it again and again."""
    (box.home / "mnesia" / "names").write_text("dear")
    for _ in range(3):
        assert box("mkdir -p mnesia; echo new > .erlang.cookie; exit 7").code == 7
    assert (box.home / ".put-aside" / "mnesia" / "names").read_text() == "dear"


def test_once_a_start_without_them_was_well_the_next_may_be_put_aside(box: Box) -> None:
    box(f"[ ! -d mnesia ] || exit 1; touch {box.run}/well; sleep 3; exit 0")
    assert not (box.home / ".put-aside" / "unproven").exists()


def test_one_start_that_fails_loses_nothing(box: Box) -> None:
    result = box(f"[ $(wc -l < {box.starts}) -gt 1 ] || exit 1")
    assert (result.code, box.count()) == (0, 2)
    assert (box.home / "mnesia").is_dir()


def test_what_fails_without_files_too_ends(box: Box) -> None:
    assert box("exit 7").code == 7
    assert box.count() == 3


@pytest.mark.parametrize(
    ("body", "code"), [("kill -KILL $$", 137), ("exit 0", 0)], ids=["killed", "told to end by rabbitmqctl"]
)
def test_an_end_that_says_nothing_of_the_files_is_the_end(box: Box, body: str, code: int) -> None:
    assert (box(body).code, box.count()) == (code, 1)
    assert (box.home / "mnesia").is_dir()


def test_a_broker_that_was_well_is_not_begun_anew(box: Box) -> None:
    assert box(f"touch {box.run}/well; exit 1").code == 1
    assert box.count() == 1


def test_a_full_disk_is_not_the_files_fault(box: Box) -> None:
    box.free = 100
    assert box("exit 1").code == 1
    assert (box.home / "mnesia").is_dir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_the_broker_and_waits_for_its_end(box: Box, number: signal.Signals) -> None:
    body = f"""
trap 'sleep 0.3; touch {box.run}/ended; exit 1' TERM
touch {box.run}/up
while :; do sleep 0.05; done"""
    # A shell's background job ignores SIGINT, and what it starts does, too.
    argv = ["env", "--default-signal=INT", str(PROGRAM)]
    with run.spawn(argv, env=box.env(body)) as process:
        deadline = time.monotonic() + 10
        while not (box.run / "up").exists():
            assert time.monotonic() < deadline, "it was not started"
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(10) == 1
    assert (box.run / "ended").exists()
    assert box.count() == 1
