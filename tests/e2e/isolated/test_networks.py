"""Networks of projects: a router answers on the provisioning network, and OVN's databases are as Neutron's
again after they were lost."""

import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from openstack.connection import Connection

from osbox import waiting
from osbox.cloud import sessions
from osbox.contents import setup
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.e2e import crash
from tests.e2e.asking import engine
from tests.e2e.conftest import Tool
from tests.home import HOME, NAME

pytestmark = pytest.mark.e2e
LAB = "lab-of-a-test"
ECHO_REQUEST, ECHO_REPLY = 8, 0  # ICMP, RFC 792
BACK_SECONDS = 90
"""Until the network is as before: Neutron begins anew meanwhile, which takes 12 s on a quiet machine."""


@pytest.fixture(scope="module")
def project(ready: Tool) -> Iterator[Connection]:
    """The network of the provisioning bridge, as `osbox setup` makes it; what is a project's goes in the
    end."""
    ready("net", "connect")
    paths = Paths(PROJECT, HOME)
    cloud = sessions.connect(paths, load_site(HOME))
    setup.network(cloud, load_site(HOME))
    yield cloud
    for router in cloud.network.routers(name=LAB):
        for port in cloud.network.ports(device_id=router.id, device_owner="network:router_interface"):
            cloud.network.remove_interface_from_router(router, port=port.id)
        cloud.network.delete_router(router)
    for network in cloud.network.networks(name=LAB):
        cloud.network.delete_network(network)


@pytest.fixture(scope="module")
def router(project: Connection) -> str:
    """The address on the provisioning network of a router of a project's."""
    network = project.network.create_network(name=LAB)
    assert (network.provider_network_type, network.mtu) == ("geneve", 1442)
    subnet = project.network.create_subnet(network_id=network.id, name=LAB, ip_version=4, cidr="10.66.7.0/24")
    outside = project.network.find_network("external", ignore_missing=False)
    made = project.network.create_router(name=LAB, external_gateway_info={"network_id": outside.id})
    project.network.add_interface_to_router(made, subnet=subnet.id)
    [address] = made.external_gateway_info["external_fixed_ips"]
    return str(address["ip_address"])


def test_the_router_of_a_project_answers(router: str) -> None:
    begin = time.monotonic()
    assert waiting.happens(lambda: answers(router), 20)
    print(f"the router answered after {time.monotonic() - begin:.1f} s")


def test_a_lost_database_is_filled_again(router: str, ready: Tool) -> None:
    """Both of OVN's, with the volume that they were on: Neutron's is whole, and nobody has to do anything."""
    engine("docker", "exec", f"ovn-central.{NAME}", "sh", "-c", "rm -f /var/lib/ovn/*")
    engine("docker", "restart", f"ovn-central.{NAME}")
    begin = time.monotonic()
    # The controller keeps the flows of before until it has others: the router is looked for in the database.
    assert waiting.happens(lambda: f"{router}/" in routers(), BACK_SECONDS), routers()
    assert waiting.happens(lambda: answers(router), 20)
    print(f"OVN's databases were filled again after {time.monotonic() - begin:.1f} s")
    assert "Nothing to change" in ready("up")


def test_a_database_that_cannot_be_read_is_put_aside(router: str, ready: Tool) -> None:
    broken = "for one in nb sb; do echo broken >/var/lib/ovn/ovn${one}_db.db; done"
    engine("docker", "exec", f"ovn-central.{NAME}", "sh", "-c", broken)
    crash.kill_container("ovn-central")
    assert waiting.happens(lambda: f"{router}/" in routers(), BACK_SECONDS), routers()
    assert waiting.happens(lambda: answers(router), 20)
    assert "cannot be read; it is put aside" in engine("sh", "-c", f"docker logs ovn-central.{NAME} 2>&1")
    assert "Nothing to change" in ready("up")


def routers() -> str:
    """What OVN has of routers' ports; nothing while it does not answer."""
    words = ("ovn-nbctl", "--timeout=5", "--db=unix:/run/ovn/nb.sock", "--bare", "--columns=networks")
    ask = " ".join(["docker", "exec", f"ovn-central.{NAME}", *words, "list", "Logical_Router_Port"])
    return engine("sh", "-c", f"{ask} 2>&1 || true")


def answers(address: str) -> bool:
    """Whether an address answers an ICMP echo within a second."""
    number = os.getpid() & 0xFFFF
    head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, number, 1)
    total = sum(struct.unpack("!4H", head))  # RFC 1071, of words that do not overflow twice
    sent = head[:2] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + head[4:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as door:
        door.settimeout(0.2)
        end = time.monotonic() + 1
        door.sendto(sent, (address, 0))
        while time.monotonic() < end:
            try:
                raw, sender = door.recvfrom(1500)
            except TimeoutError:
                continue
            kind, _, _, whose, _ = struct.unpack("!BBHHH", raw[(raw[0] & 15) * 4 :][:8])
            if (sender[0], kind, whose) == (address, ECHO_REPLY, number):
                return True
    return False
