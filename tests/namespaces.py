"""Network namespaces of a test's own."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from osbox import run

CLONE_NEWNET = 0x40000000


@contextmanager
def alone() -> Iterator[None]:
    """A network namespace with nothing but lo, for the block and all that is started in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"unshare(CLONE_NEWNET): {os.strerror(ctypes.get_errno())}")
        try:
            run.run(["ip", "link", "set", "lo", "up"])
            yield
        finally:
            assert libc.setns(home.fileno(), CLONE_NEWNET) == 0
