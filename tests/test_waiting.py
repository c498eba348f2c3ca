"""Waiting has an end, and whoever interrupts is heard, also while others work in threads."""

import signal
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from osbox import run, waiting
from osbox.errors import Error


def test_the_answer_is_returned_as_soon_as_there_is_one() -> None:
    answers = iter(["", 0, "now"])
    assert waiting.wait("it", lambda: next(answers), 5, poll=0.01) == "now"


def test_the_last_answer_when_the_time_is_over() -> None:
    begin = time.monotonic()
    assert waiting.happens(lambda: "", 0.2, poll=0.05) == ""
    assert 0.2 <= time.monotonic() - begin < 2
    with pytest.raises(Error, match="the moon did not happen within 0 s") as caught:
        waiting.wait("the moon", lambda: None, 0.1, poll=0.05, hint="look up")
    assert caught.value.hint == "look up"


def test_jobs_run_side_by_side_and_the_first_error_is_raised() -> None:
    begin, ended = time.monotonic(), list[str]()

    def patient(stop: Event) -> None:
        stop.wait(20)
        ended.append("patient")

    def wrong(_: Event) -> None:
        raise Error("wrong")

    waiting.beside({"a": lambda _: time.sleep(0.3), "b": lambda _: time.sleep(0.3)})
    assert time.monotonic() - begin < 0.6
    with pytest.raises(Error, match="wrong"):
        waiting.beside({"patient": patient, "wrong": wrong})
    assert time.monotonic() - begin < 3
    assert waiting.happens(lambda: ended == ["patient"], 2, poll=0.05), "it was told to end"


SLEEPERS = {
    "waiting.py",
    "engine/lostports.py",  # a second look after a while, whatever the first one said
    "supply/bundle.py",  # a number of tries
}


def test_who_waits_waits_here() -> None:
    """A loop of its own had each its own deadline, pause and last words."""
    source = Path(waiting.__file__).parent
    sleepers = {
        str(path.relative_to(source)) for path in source.rglob("*.py") if "time.sleep(" in path.read_text()
    }
    assert sleepers == SLEEPERS


STUBBORN = """
import time
from osbox import waiting
def job(stop):
    print("begun", flush=True)
    time.sleep(60)
waiting.beside({"stubborn": job})
"""


def test_ctrl_c_is_heard_within_a_second() -> None:
    with run.spawn([sys.executable, "-c", STUBBORN], stdout=-1, stderr=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0
        assert time.monotonic() - begin < 1
