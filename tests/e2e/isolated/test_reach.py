"""What can be reached from where, by connections: docs/security.md has these tables."""

import json
import sys
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from osbox import run
from osbox.cloud.services import FRONT, PORTS, UDP_PORTS
from tests.conftest import PROJECT
from tests.e2e.asking import engine
from tests.e2e.conftest import Tool
from tests.home import ADDRESS, LOOPBACK, NAME, NET

pytestmark = pytest.mark.e2e

STACK = yaml.safe_load((PROJECT / "compose" / "stack.yaml").read_text())["services"]
SERVERS = {
    "mysql": 3306,
    "rabbitmq": 5672,
    "memcached": 11211,
    "swift-account": 6202,
    "swift-container": 6201,
    "swift-object": 6200,
}
"""Where state is kept, and the port of each."""
LINKS = ("reach0", "reach1")
SCAN = """
import errno, json, select, socket, sys
places = [(name, port) for name, first, last in json.loads(sys.argv[1]) for port in range(first, last + 1)]
found = []
for begin in range(0, len(places), 500):
    waiting, poll = {}, select.poll()
    for place in places[begin : begin + 500]:
        one = socket.socket()
        one.setblocking(False)
        code = one.connect_ex(place)
        if code == errno.EINPROGRESS:
            waiting[one.fileno()] = one, place
            poll.register(one, select.POLLOUT)
        elif code == 0:
            found.append(place)
    while waiting and (ready := poll.poll(1500)):  # what drops packets gives no answer
        for number, _ in ready:
            one, place = waiting.pop(number)
            poll.unregister(number)
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append(place)
            one.close()
    for one, _ in waiting.values():
        one.close()
print(json.dumps(found))
"""
"""Which TCP ports of [address, first, last] accept a connection."""


def scan(prefix: list[str], *ranges: tuple[str, int, int]) -> set[tuple[str, int]]:
    """Those that do, seen from where the prefix runs a program."""
    out = run.run([*prefix, sys.executable, "-c", SCAN, json.dumps(ranges)], timeout=120).out
    return {(address, port) for address, port in json.loads(out)}


@cache
def places() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Of each container that has a network: how to run a program in it, and its addresses there."""
    names = [f"{name}.{NAME}" for name in STACK]
    found = {}
    for item in json.loads(engine("docker", "inspect", *names)):
        networks = {
            name.removeprefix(f"{NAME}-"): one["IPAddress"]
            for name, one in item["NetworkSettings"]["Networks"].items()
            if one["IPAddress"]
        }
        if networks:
            prefix = ["nsenter", f"--net=/proc/{item['State']['Pid']}/ns/net"]
            found[item["Name"].strip("/").removesuffix(f".{NAME}")] = prefix, networks
    return found


def test_what_keeps_state_answers_those_who_need_it_and_nobody_else(ready: Tool) -> None:
    shared = {name: set(networks) for name, (_, networks) in places().items()}
    assert {"front", "keystone", "neutron-network", *SERVERS} <= set(shared)
    for name, (prefix, _) in places().items():
        there = {
            server: (address, port)
            for server, port in SERVERS.items()
            for address in places()[server][1].values()
        }
        reached = scan(prefix, *((address, port, port) for address, port in there.values()))
        needed = {there[server] for server in SERVERS if shared[server] & shared[name]}
        assert reached == needed, name


def listens(kind: str) -> set[str]:
    """ADDRESS:PORT of all sockets that do in this namespace."""
    lines = run.run(["ss", "--no-header", "--listening", "--numeric", kind]).out.splitlines()
    return {line.split()[3] for line in lines}


def test_from_the_host_and_the_nodes_network_nothing_else_is_reached(
    ready: Tool, nodes_side: list[str]
) -> None:
    """The namespace has nothing but the cloud, so that all that listens there is ours."""
    apis, rack = set(PORTS[FRONT]), {8000}
    other = {port for service, ports in PORTS.items() if service != FRONT for port in ports}
    listening, udp = listens("--tcp"), listens("--udp")
    assert {one for one in listening if one.startswith(f"{LOOPBACK}:")} == {
        f"{LOOPBACK}:{port}" for port in apis
    }
    wanted = {f"{ADDRESS}:{port}" for port in apis | other}
    assert listening - {f"{ADDRESS}:{port}" for port in rack} == wanted | {
        f"{LOOPBACK}:{port}" for port in apis
    }
    assert udp == {f"{ADDRESS}:{port}" for port in UDP_PORTS.values()}
    reached = scan(nodes_side, (ADDRESS, 1, 65535))
    assert {port for _, port in reached} - rack == apis | other
    inner = [one for _, networks in places().values() for one in networks.values()]
    assert not scan(
        nodes_side, *((address, port, port) for address in inner for port in (*SERVERS.values(), 15000, 5000))
    ), "a node sees none of the containers' networks"


@pytest.fixture
def nodes_side(ready: Tool) -> Iterator[list[str]]:
    """How to run a program on the provisioning network, where a node would be."""
    ready("net", "connect")  # before it no node is there
    space = f"reach-{NAME}"
    run.run(["ip", "netns", "add", space])
    try:
        run.run(["ip", "link", "add", LINKS[0], "type", "veth", "peer", "name", LINKS[1], "netns", space])
        run.run(["ip", "link", "set", LINKS[0], "master", f"prov-{NAME}", "up"])
        for words in (
            f"address add 10.29.{NET + 1}.250/24 dev {LINKS[1]}",
            f"link set {LINKS[1]} up",
            f"route add default via {ADDRESS}",
        ):
            run.run(["ip", "-netns", space, *words.split()])
        yield ["ip", "netns", "exec", space]
    finally:
        run.run(["ip", "netns", "delete", space], check=False)
        run.run(["ip", "link", "delete", LINKS[0]], check=False)


def test_a_container_sees_nothing_of_the_host_but_what_is_published(ready: Tool) -> None:
    prefix, networks = places()["autodns"]
    gateway = f"{networks['control'].rpartition('.')[0]}.129"
    assert scan(prefix, (gateway, 1, 65535)) == set()
