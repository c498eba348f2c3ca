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
    "A project cannot make a network of its own here: servers are bare metal, on cables that Neutron does"
    " not change. Use a shared one (openstack network list). An administrator makes one of what is wired,"
    " with --provider-network-type flat or vlan and --provider-physical-network."
)


@pytest.mark.images
def test_bare_metal_is_bound_to_the_first_segment_that_is_wired() -> None:
    """And who asks for a network that needs other wiring is told so (case E8), where Neutron said 503."""
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
        f"of a project -> 409 {REFUSAL}",
        f"external -> 409 {REFUSAL}",
        "of an administrator -> goes on",
        "of two segments -> goes on",
        "of a project, where a site has VLANs for them -> goes on",
    ]
