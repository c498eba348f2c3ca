"""A cloud in a network namespace with nothing but lo: nothing that it needs comes from outside, and nothing
of it is seen on the host."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from osbox.engine import footprint
from osbox.errors import Error
from osbox.judges import environment
from osbox.releases.release import DEFAULT
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests import lanes, namespaces
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.e2e.conftest import Tool
from tests.home import HOME

SEED = int(os.environ.get("OSBOX_CHECK_SEED", time.time_ns() % 1_000_000))
"""Of what is random here; a failed run says it, and it may be given again."""


@pytest.fixture(scope="package")
def cloud(osbox: Tool) -> Iterator[Tool]:
    print(f"OSBOX_CHECK_SEED={SEED}")
    with waited("what the isolated cloud is made of", within=1800):
        # Of all lanes this package may be the first, or run alone; in there nothing can be fetched.
        for words in (["build"], ["ramdisk"], ["guest"], ["engine", "stop"]):
            osbox(*words)
        with suppress(Error):  # test_judges.py says it; nobody else needs them
            paths = Paths(PROJECT, HOME)
            environment.swift(paths, environment.ready(paths), DEFAULT)
    # Its bridge and rules on the host, too: what is recorded later is about the namespace.
    footprint.undo(Paths(PROJECT, HOME), load_site(HOME))
    lanes.leave_the_host()
    with namespaces.alone():
        yield osbox
        osbox("down", "--purge", "--keep-images")


@pytest.fixture(scope="module")
def ready(cloud: Tool) -> Tool:
    """The cloud, up whatever the tests of another file left."""
    cloud("up")
    return cloud
