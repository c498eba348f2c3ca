"""What the kernel tells of routes, and what it is told, as pyroute2 packs it; no kernel is asked."""

import socket
from collections.abc import Sequence
from typing import Any

import pytest
from pyroute2.iproute.linux import get_arguments_processor
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from osbox.network import netlink
from osbox.network.values import MAIN, Before, Link, Route


def message(ways: Sequence[tuple[int, str]] = (), **words: Any) -> Any:
    """A route as it goes over the wire, packed and unpacked; ways: interfaces and gateways, of several."""
    made = rtmsg()
    hops = [{"oif": index, "attrs": [["RTA_GATEWAY", gateway]]} for index, gateway in ways]
    if hops:
        made["attrs"].append(["RTA_MULTIPATH", hops])
    words = {"table": MAIN, "type": "unicast", **words}
    for key, value in get_arguments_processor("route", "add", words).items():
        if key in {field[0] for field in rtmsg.fields}:
            made[key] = value
        else:
            made["attrs"].append([rtmsg.name2nla(key), value])
    made.encode()
    seen = rtmsg(made.data)
    seen.decode()
    return seen


ROUTES = {
    "a gateway": Route(dst="default", gateway="192.0.2.1", metric=100, proto=16),
    "a network": Route(dst="203.0.113.0/24", proto=3),
    "a hoster's": Route(dst="default", gateway="172.31.1.1", onlink=True, proto=16),
    "an address of ours": Route(dst="198.51.100.0/24", gateway="192.0.2.1", source="192.0.2.7", proto=4),
    "by IPv6": Route(dst="default", via="fe80::1", proto=4),
    "a half": Route(dst="0.0.0.0/1", gateway="10.8.0.1", proto=3),
    "the other half": Route(dst="128.0.0.0/1", gateway="10.8.0.1", proto=3),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_a_route_is_given_back_as_it_was_seen(route: Route) -> None:
    """Of a hoster's the kernel refused to give it back; one by IPv6 came back as one without a gateway."""
    seen = message(oif=2, **netlink._words(route))
    assert [netlink._route(seen, hop) for hop in netlink._hops(seen)] == [route]
    assert seen["scope"] == (0 if route.gateway or route.via else netlink.SCOPE_LINK)


def test_a_route_of_several_ways_is_each_ones() -> None:
    """No interface had it: the machine could be cut off without being asked, and nodes had no way out."""
    seen = message(family=socket.AF_INET, ways=((2, "192.0.2.1"), (3, "192.0.3.1")), proto=3)
    found = {hop.get("oif"): netlink._route(seen, hop) for hop in netlink._hops(seen)}
    assert {n: (route.dst, route.gateway) for n, route in found.items()} == {
        2: ("default", "192.0.2.1"),
        3: ("default", "192.0.3.1"),
    }


def test_the_default_route_of_ipv6() -> None:
    ours = message(family=socket.AF_INET6, dst="default", gateway="fe80::1", oif=2)
    assert netlink._is_default_ipv6(ours)
    others: list[dict[str, Any]] = [
        {"family": socket.AF_INET6, "dst": "2001:db8::/32", "gateway": "fe80::1"},
        {"family": socket.AF_INET6, "dst": "default", "gateway": "fe80::1", "table": MAIN - 100},
        {"family": socket.AF_INET6, "dst": "default", "type": "unreachable"},
        {"family": socket.AF_INET, "dst": "default", "gateway": "192.0.2.1"},
    ]
    for words in others:
        assert not netlink._is_default_ipv6(message(oif=2, **words)), words


def announced(link: int, metric: int = 1024, dst: str = "default") -> Any:
    return message(family=socket.AF_INET6, dst=dst, gateway="fe80::1", oif=link, priority=metric)


def no_cable(route: Any) -> Any:
    route["flags"] |= 16
    return route


TUNNEL = 9


@pytest.mark.parametrize(
    ("routes", "links"),
    [
        ([], set()),
        ([announced(2)], {2}),
        ([announced(2, 100), announced(3)], {2}),
        ([announced(2), announced(3)], set()),
        ([announced(2), announced(2, 512)], {2}),
        ([announced(2), announced(TUNNEL, 50)], {2, TUNNEL}),
        ([announced(2, 100), no_cable(announced(3, 50))], {2}),
        ([announced(2), announced(3, 50, "::/1"), announced(3, 50, "8000::/1")], {2, 3}),
        ([message(((2, "fe80::1"), (3, "fe80::2")), family=socket.AF_INET6)], set()),
    ],
)
def test_a_second_best_way_of_ipv6_cuts_nothing_off(routes: list[Any], links: set[int]) -> None:
    """A provisioning interface where a router announces itself was refused, though another has the way."""
    assert netlink._routers(routes, {TUNNEL}) == links


def test_a_gateway_comes_after_the_way_to_it() -> None:
    """As DHCP sets it for an address of /32: "Nexthop has invalid gateway": the machine stayed cut off."""
    way, out = Route(dst="172.31.1.1/32"), Route(dst="default", gateway="172.31.1.1")
    assert Before(routes=(out, way)).in_order == (way, out)


def test_this_machines_own_interfaces() -> None:
    found = {link.name: link for link in netlink.links(())}
    assert found["lo"].medium == "other"
    assert not found["lo"].carries_the_machine
    assert Link(name="eth0", default_ipv6=True).carries_the_machine
