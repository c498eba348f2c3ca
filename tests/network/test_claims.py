"""Whether our subnets are free: by what the kernel says, and what the engine, other deployments and VPNs
have."""

import json
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest

from osbox import run
from osbox.engine.info import NetworkInfo
from osbox.network import claims, netlink
from osbox.network.values import Link, NetState, PolicyRule, TableRoute
from osbox.site.site import LABEL, Site
from tests import namespaces

SITE = Site.model_validate(
    {
        "name": "nettest",
        "bridge": "nt-prov",
        "subnet": "10.29.78.0/24",
        "control_subnet": "10.29.79.0/24",
        "control_bridge": "nt-ctl",
        "engine_subnet": "10.29.77.0/24",
        "engine_bridge": "nt-eng",
    }
)
VPN = "vpn0"


def told(state: NetState, **more: Any) -> list[str]:
    return [("wide: " if one.wide else "") + one.what for one in claims.conflicts(state, **more)]


# --- against the kernel: where does it send packets once our bridge is there?
# --------------------------------------------------------------------------------

ROUTES: dict[str, tuple[list[str], list[str]]] = {
    "nothing": ([], []),
    "a default route": (["route add default dev vpn0"], []),
    "a default route in halves, as VPNs write it": (
        ["route add 0.0.0.0/1 dev vpn0", "route add 128.0.0.0/1 dev vpn0"],
        [],
    ),
    "a wider route": (["route add 10.0.0.0/8 dev vpn0"], ["wide: vpn0 has the route 10.0.0.0/8"]),
    "the same route": (["route add 10.29.78.0/24 dev vpn0"], ["vpn0 has the route 10.29.78.0/24"]),
    "a narrower route": (["route add 10.29.78.128/25 dev vpn0"], ["vpn0 has the route 10.29.78.128/25"]),
    "an address": (["address add 10.29.78.200/32 dev vpn0"], ["vpn0 has the address 10.29.78.200/32"]),
    "the other end of a tunnel": (
        ["address add 192.0.2.9 peer 10.29.78.200 dev vpn0"],
        ["vpn0 has the route 10.29.78.200/32"],
    ),
    "a route that leads nowhere": (
        ["route add blackhole 10.29.78.0/24"],
        ["a blackhole has the route 10.29.78.0/24"],
    ),
    "addresses that the machine takes for its own": (
        ["route add local 10.29.78.0/24 dev lo table local"],
        ["lo has the route 10.29.78.0/24 in table local, which rule 0 has asked before ours"],
    ),
    "a wider route in a table before main": (
        ["rule add pref 100 lookup 75", "route add 10.0.0.0/8 dev vpn0 table 75"],
        ["vpn0 has the route 10.0.0.0/8 in table 75, which rule 100 has asked before ours"],
    ),
    "a default route in a table before main": (
        ["rule add pref 100 lookup 75", "route add default dev vpn0 table 75"],
        ["vpn0 has the route 0.0.0.0/0 in table 75, which rule 100 has asked before ours"],
    ),
    "a table that no rule names": (["route add 10.29.78.0/24 dev vpn0 table 75"], []),
    "a table after main": (
        ["rule add pref 40000 lookup 75", "route add 10.29.78.0/24 dev vpn0 table 75"],
        [],
    ),
    "wg-quick": (
        [
            "rule add pref 100 not fwmark 0xca6c lookup 75",
            "rule add pref 99 lookup main suppress_prefixlength 0",
            "route add default dev vpn0 table 75",
        ],
        [],
    ),
    "wg-quick without its second rule": (
        ["rule add pref 100 not fwmark 0xca6c lookup 75", "route add default dev vpn0 table 75"],
        ["vpn0 has the route 0.0.0.0/0 in table 75, which rule 100 has asked before ours"],
    ),
    "for marked packets only": (
        ["rule add pref 100 fwmark 0x80000/0xff0000 lookup 75", "route add default dev vpn0 table 75"],
        [],
    ),
    "for packets from elsewhere": (
        ["rule add pref 100 from 192.0.2.7 lookup 75", "route add default dev vpn0 table 75"],
        [],
    ),
    "for some of our addresses": (
        ["rule add pref 100 to 10.29.78.128/25 lookup 75", "route add default dev vpn0 table 75"],
        ["vpn0 has the route 0.0.0.0/0 in table 75, which rule 100 has asked before ours"],
    ),
    "for all but private addresses": (
        ["rule add pref 100 not to 10.0.0.0/8 lookup 75", "route add default dev vpn0 table 75"],
        [],
    ),
    "for packets that come in elsewhere": (
        ["rule add pref 100 iif vpn0 lookup 75", "route add default dev vpn0 table 75"],
        [],
    ),
    "for some users": (
        ["rule add pref 100 uidrange 1000-2000 lookup 75", "route add default dev vpn0 table 75"],
        [],
    ),
    "for some ports": (
        ["rule add pref 100 ipproto tcp dport 443 lookup 75", "route add default dev vpn0 table 75"],
        [],
    ),
    "an exit with our network left out of it": (
        [
            "rule add pref 100 lookup 75",
            "route add default dev vpn0 table 75",
            "route add throw 10.29.0.0/16 table 75",
        ],
        [],
    ),
    "a short prefix that does not count": (
        ["rule add pref 100 lookup 75 suppress_prefixlength 8", "route add 10.0.0.0/8 dev vpn0 table 75"],
        [],
    ),
    "a rule that is jumped over": (
        ["rule add pref 50 goto 32766", "rule add pref 100 lookup 75", "route add default dev vpn0 table 75"],
        [],
    ),
}


@pytest.fixture
def vpn() -> Iterator[None]:
    with namespaces.alone():
        _ip("link add vpn0 type veth peer name far0")
        _ip("link set vpn0 up")
        _ip("link set far0 up")
        _ip("address add 198.51.100.1/24 dev vpn0")
        yield


def _ip(line: str) -> str:
    return run.run(["ip", *line.split()]).out


def _seen() -> NetState:
    routes, policy = netlink.ways()
    return NetState(site=SITE, links=netlink.links(()), routes=routes, policy=policy)


@pytest.mark.root
@pytest.mark.parametrize("scene", ROUTES)
def test_a_route_is_in_the_way_when_the_kernel_would_take_it(vpn: None, scene: str) -> None:
    lines, expected = ROUTES[scene]
    for line in lines:
        _ip(line)
    before = _seen()
    assert told(before, keys=["subnet"]) == expected
    _ip("link add nt-prov type bridge")
    _ip("address add 10.29.78.1/24 dev nt-prov")
    _ip("link set nt-prov up")
    asked = [run.run(["ip", "-json", "route", "get", f"10.29.78.{n}"], check=False) for n in (50, 200)]
    ways = [json.loads(one.out)[0]["dev"] if one.code == 0 else "nowhere" for one in asked]
    taken = any(not text.startswith("wide") for text in expected)
    assert (set(ways) != {"nt-prov"}) == taken, ways
    assert told(_seen(), keys=["subnet"]) == expected, "with our own bridge there, it is as before"


@pytest.mark.root
def test_the_same_of_packets_from_our_own_address(vpn: None) -> None:
    _ip("rule add pref 100 from 10.29.78.1 lookup 75")
    _ip("route add default dev vpn0 table 75")
    assert told(_seen(), keys=["subnet"]) == [
        "vpn0 has the route 0.0.0.0/0 in table 75, which rule 100 has asked before ours"
    ]


@pytest.mark.root
def test_what_every_machine_has(vpn: None) -> None:
    assert _seen().policy == NetState().policy


# --- the engine's networks, other interfaces, other deployments
# --------------------------------------------------------------------------------


def project(name: str, subnet: str, bridge: str = "br-0123456789ab", **more: Any) -> NetworkInfo:
    return NetworkInfo(name, (subnet,), bridge=bridge, **more)


def test_a_container_network_of_another_project_is_named() -> None:
    link = Link(name="br-0123456789ab", kind="bridge", addresses=("10.29.79.1/24",))
    route = TableRoute(dst=IPv4Network("10.29.79.0/24"), link=link.name)
    state = NetState(site=SITE, links=(link,), routes=(route,), file="/home/site.toml")
    assert told(state) == ["br-0123456789ab has the address 10.29.79.1/24"]
    state = state.model_copy(update={"networks": (project("shop_default", "10.29.79.0/24"),)})
    assert told(state) == ["the container network shop_default has 10.29.79.0/24"]
    error = claims.refusal(state, claims.conflicts(state))
    assert error.message == (
        "the container network shop_default has 10.29.79.0/24, and the containers' network is 10.29.79.0/24"
    )
    assert error.hint == (
        'take it away there, or choose another network: control_subnet = "10.29.0.0/24" in /home/site.toml'
    )


NETWORKS = {
    "wider than ours: the engine refuses any overlap": (project("shop", "10.29.0.0/16"), True),
    "narrower than ours": (project("shop", "10.29.79.64/26"), True),
    "with the bits of a host, as Docker takes it": (project("shop", "10.29.79.5/24"), True),
    "without an interface here": (project("shop", "10.29.79.0/24", bridge=""), True),
    "elsewhere": (project("shop", "10.30.0.0/16"), False),
    "of IPv6": (project("shop", "fd00::/64"), False),
    "our own": (project("nettest-control", "10.29.79.0/24", labels={LABEL: "nettest"}), False),
    "another deployment's": (project("lab-control", "10.29.79.0/24", labels={LABEL: "lab"}), True),
    "a swarm's, which are counted apart": (project("shop", "10.29.79.0/24", bridge="", scope="swarm"), False),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_container_networks(case: str) -> None:
    network, taken = NETWORKS[case]
    state = NetState(site=SITE, networks=(network,))
    assert bool(told(state, keys=["control_subnet"])) == taken


def test_a_network_that_the_engine_gives_no_subnet() -> None:
    """It was a defect: "Expected 4 octets"."""
    odd = NetworkInfo(
        name="odd", bridge="br-odd", subnets=("invalid Prefix", "", "fd00::/64", "10.29.28.0/24")
    )
    found = claims.conflicts(NetState(networks=(odd,)))
    assert [one.what for one in found] == ["the container network odd has 10.29.28.0/24"]


def test_what_is_attached_to_our_own_bridge_is_nobody_elses() -> None:
    """Containers that somebody puts among the nodes, by macvlan on the provisioning bridge."""
    state = NetState(site=SITE, networks=(project("nodes", "10.29.78.0/24", bridge=""),))
    assert told(state) == []
    wide = NetState(
        site=SITE, networks=(project("shop", "10.29.0.0/16"),), links=(Link(name="br-0123456789ab"),)
    )
    assert told(wide, keys=["subnet"]) == []


def test_our_own_interfaces_are_not_in_the_way() -> None:
    names = {"nt-prov": "10.29.78", "nt-ctl": "10.29.79", "nt-eng": "10.29.77", "provisioning": "10.29.29"}
    links = tuple(Link(name=name, addresses=(f"{net}.1/24",)) for name, net in names.items())
    routes = tuple(TableRoute(dst=IPv4Network(f"{net}.0/24"), link=name) for name, net in names.items())
    engines = project("bridge", "10.29.77.0/24", bridge="nt-eng")
    assert told(NetState(site=SITE, links=links, routes=routes, networks=(engines,))) == []


def test_a_deployment_with_our_subnet_is_in_the_way() -> None:
    state = NetState(site=SITE, links=(Link(name="provisioning7", addresses=("10.29.78.1/24",)),))
    assert told(state) == ["provisioning7 has the address 10.29.78.1/24"]


def test_all_keys_are_told_at_once_each_with_a_free_network() -> None:
    links = (Link(name="eth0", addresses=("10.29.78.7/24", "10.29.79.7/24")), Link(name="eth1"))
    state = NetState(site=SITE, links=links, file="FILE")
    error = claims.refusal(state, claims.conflicts(state))
    assert error.evidence.splitlines() == [
        "eth0 has the address 10.29.78.7/24, and the provisioning network is 10.29.78.0/24",
        "eth0 has the address 10.29.79.7/24, and the containers' network is 10.29.79.0/24",
    ]
    assert error.hint.endswith('subnet = "10.29.0.0/24" and control_subnet = "10.29.1.0/24" in FILE')


def test_what_is_proposed_is_free_of_wider_routes_where_there_is_such() -> None:
    ten = TableRoute(dst=IPv4Network("10.0.0.0/8"), link=VPN)
    link = Link(name="eth0", addresses=("10.29.78.7/24",))
    state = NetState(site=SITE, links=(link,), routes=(ten,), file="FILE")
    assert claims.way_out(state, ["subnet"]) == 'choose another network: subnet = "172.29.0.0/24" in FILE'
    every = [
        TableRoute(dst=IPv4Network(net), link=VPN)
        for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    ]
    state = state.model_copy(update={"routes": tuple(every)})
    assert claims.way_out(state, ["subnet"]) == 'choose another network: subnet = "10.29.0.0/24" in FILE'
    rule = PolicyRule(priority=1, table=75)
    nowhere = [route.model_copy(update={"table": 75}) for route in every]
    state = state.model_copy(update={"routes": tuple(nowhere), "policy": (rule,)})
    assert claims.way_out(state, ["subnet"]) == (
        "find a network for subnet in FILE that nothing here has: none of 10.29.0.0/16, 172.29.0.0/16 and"
        " 192.168.0.0/16 is free (ip rule; ip route show table all)"
    )
    error = claims.refusal(state, claims.conflicts(state, ["subnet"]))
    assert error.hint.startswith("take it away there, or find a network for subnet in FILE")


def test_an_interface_that_is_taken_loses_its_addresses() -> None:
    link = Link(name="eth1", addresses=("10.29.78.7/24",))
    assert told(NetState(site=SITE, links=(link,)), spared=["eth1"]) == []


def test_with_the_machines_own_docker_the_private_engines_network_is_free_to_take() -> None:
    """Of a network that is not made, a proposal kept away."""
    link = Link(name="eth0", addresses=("10.29.78.7/24",))
    near = SITE.model_copy(update={"engine_subnet": IPv4Network("10.29.0.0/24")})
    for engine, free in (("auto", "10.29.1.0/24"), ("host", "10.29.0.0/24")):
        state = NetState(site=near.model_copy(update={"engine": engine}), links=(link,), file="FILE")
        assert claims.way_out(state, ["subnet"]) == f'choose another network: subnet = "{free}" in FILE'
