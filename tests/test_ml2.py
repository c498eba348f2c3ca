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

REFUSAL = (
    "A bare-metal server cannot be in the network lab: its cable is not in it, and Neutron does not change"
    " cables. Use one of type flat or vlan, as the shared one (openstack network list --external); a router"
    " leads from there into networks of projects."
)


@pytest.mark.images
def test_bare_metal_is_bound_to_the_first_segment_that_is_wired() -> None:
    """And who wants one in a network that needs other wiring is told so (case E8)."""
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
        f"baremetal in geneve -> 409 {REFUSAL}",
        f"normal becomes baremetal in geneve -> 409 {REFUSAL}",
        "baremetal in vlan -> goes on",
        "baremetal in geneve flat -> goes on",
        "normal in geneve -> goes on",
    ]
