"""The mechanism driver for bare metal (images/neutron/ml2-baremetal), in its image."""

import pytest

from osbox import run
from osbox.build import images
from osbox.engine import engine
from osbox.images import catalogue
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.home import prepare


@pytest.mark.images
def test_bare_metal_is_bound_to_the_first_segment_that_is_wired() -> None:
    paths = Paths(PROJECT, prepare())
    running = engine.start(paths, load_site(paths.home))
    images.build(paths, running, [catalogue.BY_NAME["os-neutron-server"]])
    words = ("docker", "run", "--rm", "--interactive", "--network=none", "--entrypoint=python")
    program = (PROJECT / "tests/ml2driver.py").read_text()
    said = run.run(running.argv(*words, "os-neutron-server:latest", "-"), input=program, timeout=60).out
    assert said.splitlines() == [
        "l2",
        "baremetal flat -> 0 other {} ACTIVE",
        "baremetal vlan -> 0 other {} ACTIVE",
        "baremetal vxlan vlan flat -> 1 other {} ACTIVE",
        "baremetal vxlan ->",
        "baremetal ->",
        "normal flat ->",
    ]
