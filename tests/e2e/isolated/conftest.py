"""A cloud in a network namespace with nothing but lo: nothing that it needs comes from outside, and nothing
of it is seen on the host."""

import os
import time
from collections.abc import Iterator

import pytest

from tests import lanes, namespaces
from tests.e2e.conftest import Tool

SEED = int(os.environ.get("OSBOX_CHECK_SEED", time.time_ns() % 1_000_000))
"""Of what is random here; a failed run says it, and it may be given again."""


@pytest.fixture(scope="package")
def cloud(supplies: Tool) -> Iterator[Tool]:
    print(f"OSBOX_CHECK_SEED={SEED}")
    lanes.leave_the_host()
    with namespaces.alone():
        yield supplies
        supplies("down", "--purge", "--keep-images")


@pytest.fixture(scope="module")
def ready(cloud: Tool) -> Tool:
    """The cloud, up whatever the tests of another file left."""
    cloud("up")
    return cloud
