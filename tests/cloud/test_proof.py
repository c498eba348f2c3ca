"""The proof: whoever interrupts it is heard while Keystone is silent."""

import signal
import sys
import time

from osbox import run

SILENT = r"""
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from osbox.cloud import keystone, proof, sessions
from osbox.engine.engine import Engine
from osbox.site.site import Paths, Site

def silent(*_):
    os.write(1, b"asked\n")  # both do so at once
    time.sleep(30)

sessions.session = lambda *_, **__: SimpleNamespace(get_token=silent)
keystone.ensure_catalogue = silent if sys.argv[1] == "both" else lambda *_: []
paths = Paths(Path("/nonexistent"), Path("/nonexistent"))
proof.prove(paths, Site(), Engine("host", "28"), {}, logged_in=True)
"""


BUSY_SECONDS = 10  # a quarter of one on an idle machine; without threads that end with us it is 30


def interrupted(what: str) -> float:
    """The seconds from Ctrl-C to the end."""
    with run.spawn([sys.executable, "-c", SILENT, what], stdout=-1, stderr=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == "asked\n"
        time.sleep(0.3)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(40) != 0
        return time.monotonic() - begin


def test_ctrl_c_is_heard_while_keystone_gives_no_token() -> None:
    assert interrupted("login") < BUSY_SECONDS


def test_ctrl_c_is_heard_while_keystone_does_not_tell_its_catalogue() -> None:
    assert interrupted("both") < BUSY_SECONDS
