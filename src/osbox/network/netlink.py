"""The kernel's network interfaces, by netlink: read as values, changed one small act at a time.

Everything here happens in the network namespace of the calling thread; `within` runs a function in another
one. pyroute2 takes half a second to import, so it is imported where it is needed: most commands never are
there.
"""

import array
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Literal, TypeVar

from osbox.errors import Error
from osbox.network.values import MAIN, Before, Change, Link, PolicyRule, Route, TableRoute

T = TypeVar("T")
EVERYWHERE = IPv4Network((0, 0))
# linux/rtnetlink.h, linux/fib_rules.h
ROUTE_KINDS = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole"}
ROUTE_KINDS |= {7: "unreachable", 8: "prohibit", 9: "throw", 10: "nat"}
TO_TABLE, GOTO, INVERT, NO_SUPPRESS = 1, 2, 0x2, 0xFFFFFFFF
SOME = ("FRA_L3MDEV", "FRA_TUN_ID", "FRA_IP_PROTO", "FRA_SPORT_RANGE", "FRA_DPORT_RANGE")
"""Further conditions of a rule: it is for some packets only."""
SIOCETHTOOL, GET_TX_CHECKSUM, SET_TX_CHECKSUM = 0x8946, 0x16, 0x17
IFF_UP, IFF_LOOPBACK = 0x1, 0x8
IPV6_PERMANENT = 0x80
PROTO_KERNEL, SCOPE_LINK = 2, 253
RTNH_F_ONLINK = 4
NO_WAY = 1 | 16  # RTNH_F_DEAD, RTNH_F_LINKDOWN: no cable
ETHERNET = 1  # ARPHRD_ETHER of linux/if_arp.h


class GoneError(Error):
    """The container whose network namespace was meant has ended."""


def within(pid: int, function: Callable[[], T]) -> T:
    """Call a function in the network namespace of a process: in a thread of its own, for namespaces are a
    thread's.

    Raises GoneError when the process has ended, or its number has come to mean one of the host's.
    """
    from pyroute2 import netns  # noqa: PLC0415 - see above

    namespace = _namespace(pid)

    def enter() -> T:
        netns.setns(namespace)
        return function()

    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(enter).result()
    finally:
        os.close(namespace)


def _namespace(pid: int) -> int:
    """A descriptor of a process's network namespace, which is not ours."""
    try:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise _gone(pid) from error
    # /proc/self is the process: a thread of it may be elsewhere.
    if os.path.samestat(os.fstat(namespace), Path("/proc/thread-self/ns/net").stat()):
        os.close(namespace)
        raise _gone(pid)
    return namespace


def _gone(pid: int) -> GoneError:
    return GoneError(
        "the container that holds Neutron's network ended meanwhile",
        evidence=f"process {pid} is not there any more, or not in a network of its own",
        hint="osbox up",
    )


def links(ends: Collection[str]) -> tuple[Link, ...]:
    """All interfaces of this namespace; checksum offload is asked for `ends` only."""
    with _netlink() as ip:
        found, addresses = list(ip.get_links()), list(ip.get_addr())
        routes = list(ip.get_routes(family=socket.AF_INET))
        tunnels = {item["index"] for item in found if _medium(item) == "other"}
        routers = _routers(list(ip.get_routes(family=socket.AF_INET6)), tunnels)
    names = {item["index"]: str(item.get("ifname")) for item in found}
    return tuple(
        Link(
            name=names[item["index"]],
            index=item["index"],
            kind=_kind(item),
            up=bool(item["flags"] & IFF_UP),
            loopback=bool(item["flags"] & IFF_LOOPBACK),
            master=names.get(item.get("master"), ""),
            peer=(item.get("link") or 0) if _kind(item) == "veth" else 0,
            addresses=tuple(
                _address(one) for one in addresses if one["index"] == item["index"] and _stays(one)
            ),
            routes=tuple(
                _route(one, hop)
                for one in routes
                for hop in _hops(one)
                if hop.get("oif") == item["index"] and _is_set(one)
            ),
            default_ipv6=item["index"] in routers,
            medium=_medium(item),
            forward_delay=item.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_BR_FORWARD_DELAY"),
            tx_checksum=_tx_checksum(names[item["index"]]) if names[item["index"]] in ends else None,
            promiscuous=bool(item.get("promiscuity")),
        )
        for item in found
    )


def ways() -> tuple[tuple[TableRoute, ...], tuple[PolicyRule, ...]]:
    """The IPv4 routes of all tables of this namespace, and the rules by which tables are asked."""
    with _netlink() as ip:
        names = {item["index"]: str(item.get("ifname")) for item in ip.get_links()}
        routes = list(ip.get_routes(family=socket.AF_INET))
        found = list(ip.get_rules(family=socket.AF_INET))
    rules = [_rule(item) for item in found if item["action"] in (TO_TABLE, GOTO)]
    return tuple(_table_route(item, names) for item in routes), tuple(rules)


def act(change: Change, pid: int) -> None:
    """Do one change in this namespace; pid is one of the neutron namespace.

    Raises Error with the kernel's word.
    """
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - see above

    try:
        with _netlink() as ip:
            ACTS[change.do](ip, change, pid)
    except (NetlinkError, OSError) as error:
        code = error.code if isinstance(error, NetlinkError) else error.errno
        evidence = f"{change}: {os.strerror(code or 0)}"
        raise Error(f"could not do this: {change.text}", evidence=evidence, hint="ip -d address") from error


def _netlink() -> Any:
    from pyroute2 import IPRoute  # noqa: PLC0415 - see above

    return IPRoute()


def _kind(item: Any) -> str:
    return str(item.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "")


def _stays(item: Any) -> bool:
    """An address that somebody gave: link-local and autoconfigured ones come by themselves."""
    given = item["family"] == socket.AF_INET or (item.get("flags") or item["flags"]) & IPV6_PERMANENT
    return bool(given) and item["scope"] != SCOPE_LINK


def _address(item: Any) -> str:
    # `local` is the interface's own on a point-to-point link, where `address` is the other side's.
    return f"{item.get('local') or item.get('address')}/{item['prefixlen']}"


def _is_set(item: Any) -> bool:
    """A route that somebody set: the kernel's own come and go with the address."""
    return bool((item.get("table") or item["table"]) == MAIN and item["proto"] != PROTO_KERNEL)


def _medium(item: Any) -> Literal["ethernet", "wireless", "other"]:
    if item["ifi_type"] != ETHERNET:
        return "other"
    return "wireless" if Path(f"/sys/class/net/{item.get('ifname')}/phy80211").exists() else "ethernet"


def _hops(item: Any) -> Sequence[Any]:
    """The ways of a route: itself, or each of several between which the kernel chooses."""
    return item.get("multipath") or [item]


def _is_default_ipv6(item: Any) -> bool:
    if item["family"] != socket.AF_INET6:  # all that a kernel without IPv6 tells when it is asked for that
        return False
    table = item.get("table") or item["table"]
    return bool(table == MAIN and item["dst_len"] <= 1 and ROUTE_KINDS.get(item["type"]) == "unicast")


def _routers(routes: Sequence[Any], tunnels: Collection[int]) -> set[int]:
    """Links that IPv6's default route leads through, but those without which another's would do as well.

    A router on a second link announces itself, too, with a metric that is no better. A tunnel's default is
    none that would do: its own packets may leave by the link.
    """
    ways = [
        ((one.get("dst"), one["dst_len"]), hop.get("oif"), (hop["flags"] & NO_WAY, one.get("priority") or 0))
        for one in routes
        if _is_default_ipv6(one)
        for hop in _hops(one)
    ]
    spare = [way for way in ways if way[1] not in tunnels]
    return {
        link
        for dst, link, rank in ways
        if not any(dst == to and link != other and better <= rank for to, other, better in spare)
    }


def _route(item: Any, hop: Any) -> Route:
    return Route(
        # The kernel names no address of 0.0.0.0/1, one half of all.
        dst=f"{item.get('dst') or EVERYWHERE.network_address}/{item['dst_len']}"
        if item["dst_len"]
        else "default",
        gateway=hop.get("gateway") or "",
        metric=item.get("priority") or 0,
        proto=item["proto"],
        via=(hop.get("via") or {}).get("addr", ""),
        source=item.get("prefsrc") or "",
        onlink=bool(hop["flags"] & RTNH_F_ONLINK),
    )


def _words(route: Route) -> dict[str, Any]:
    """A route as pyroute2 wants it to be said."""
    words: dict[str, Any] = {"dst": route.dst, "proto": route.proto}
    if route.via:
        words["via"] = {"family": socket.AF_INET6, "addr": route.via}
    elif route.gateway:
        words["gateway"] = route.gateway
    else:
        words["scope"] = SCOPE_LINK
    words |= {"priority": route.metric} if route.metric else {}
    words |= {"prefsrc": route.source} if route.source else {}
    return words | ({"flags": RTNH_F_ONLINK} if route.onlink else {})


def _table_route(item: Any, names: Mapping[int, str]) -> TableRoute:
    hops = [item, *(item.get("multipath") or ())]
    index = next((found for hop in hops if (found := hop.get("oif"))), 0)
    return TableRoute(
        dst=_network(item.get("dst"), item["dst_len"]) or EVERYWHERE,
        link=names.get(index, ""),
        table=item.get("table") or item["table"],
        kind=ROUTE_KINDS.get(item["type"], str(item["type"])),
        gateway=item.get("gateway") or "",
    )


def _rule(item: Any) -> PolicyRule:
    mark, mask = item.get("FRA_FWMARK") or 0, item.get("FRA_FWMASK")
    users = item.get("FRA_UID_RANGE")
    suppress = item.get("FRA_SUPPRESS_PREFIXLEN")
    return PolicyRule(
        priority=item.get("FRA_PRIORITY") or 0,
        table=item.get("FRA_TABLE") or item["table"],
        goto=item.get("FRA_GOTO") or 0,
        src=_network(item.get("FRA_SRC"), item["src_len"]),
        dst=_network(item.get("FRA_DST"), item["dst_len"]),
        iif=item.get("FRA_IIFNAME") or "",
        oif=item.get("FRA_OIFNAME") or "",
        marked=bool(mark & (NO_SUPPRESS if mask is None else mask)),
        # What the kernel forwards counts as the root user's.
        some=bool(item["tos"] or (users and not str(users).startswith("0:")))
        or any(item.get(name) for name in SOME),
        inverted=bool(item["flags"] & INVERT),
        suppress=-1 if suppress in (None, NO_SUPPRESS) else suppress,
    )


def _network(address: str | None, length: int) -> IPv4Network | None:
    # The kernel keeps what was written, `from 192.168.1.10/24` for one, and looks at the first bits alone.
    return IPv4Network(f"{address}/{length}", strict=False) if address else None


def _index(ip: Any, name: str) -> int:
    found = ip.link_lookup(ifname=name)
    if not found:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return int(found[0])


def _add_bridge(ip: Any, change: Change, _pid: int) -> None:
    # Without a forward delay a port works at once; with the kernel's 15 s a node's first DHCP requests are
    # lost.
    ip.link(
        "add", ifname=change.name, kind="bridge", address=change.value, br_forward_delay=0, br_stp_state=0
    )


def _no_delay(ip: Any, change: Change, _pid: int) -> None:
    ip.link("set", index=_index(ip, change.name), kind="bridge", br_forward_delay=0)


def _add_address(ip: Any, change: Change, _pid: int) -> None:
    _addr(ip, "add", _index(ip, change.name), change.value)


def _delete_address(ip: Any, change: Change, _pid: int) -> None:
    _addr(ip, "del", _index(ip, change.name), change.value, known=errno.EADDRNOTAVAIL)


def _up(ip: Any, change: Change, _pid: int) -> None:
    ip.link("set", index=_index(ip, change.name), state="up")


def _add_veth(ip: Any, change: Change, pid: int) -> None:
    # Both ends where they belong in one act: there is no moment with a half of it.
    ip.link("add", ifname=change.name, kind="veth", peer={"ifname": change.value, "net_ns_pid": pid})


def _set_master(ip: Any, change: Change, _pid: int) -> None:
    ip.link("set", index=_index(ip, change.name), master=_index(ip, change.value))


def _delete_link(ip: Any, change: Change, _pid: int) -> None:
    found = ip.link_lookup(ifname=change.name)
    if found:
        _quietly(errno.ENODEV, ip.link, "del", index=found[0])


def _offload_off(_ip: Any, change: Change, _pid: int) -> None:
    _tx_checksum(change.name, 0)


def _take(ip: Any, change: Change, _pid: int) -> None:
    index = _index(ip, change.name)
    for address in (change.before or Before()).addresses:
        _addr(ip, "del", index, address, known=errno.EADDRNOTAVAIL)
    ip.link("set", index=index, master=_index(ip, change.value), state="up")


def _give_back(ip: Any, change: Change, _pid: int) -> None:
    index, before = _index(ip, change.name), change.before or Before()
    ip.link("set", index=index, master=0, state="up" if before.up else "down")
    for address in before.addresses:
        _addr(ip, "add", index, address, known=errno.EEXIST)
    for route in before.in_order:
        _quietly(errno.EEXIST, ip.route, "add", oif=index, **_words(route))


def _addr(ip: Any, verb: str, index: int, address: str, known: int = 0) -> None:
    host, _, length = address.partition("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    _quietly(known, ip.addr, verb, index=index, address=host, prefixlen=int(length), family=family)


def _quietly(known: int, function: Callable[..., Any], *words: Any, **options: Any) -> None:
    """Call and let one error pass: the one that says that what is wanted is so already."""
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - see above

    try:
        function(*words, **options)
    except NetlinkError as error:
        if error.code != known:
            raise


def _tx_checksum(name: str, value: int | None = None) -> bool | None:
    """Transmit checksum offload of an interface (`ethtool -K NAME tx`): read it or set it; None where there
    is none."""
    words = array.array("I", [GET_TX_CHECKSUM if value is None else SET_TX_CHECKSUM, value or 0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        try:
            fcntl.ioctl(door, SIOCETHTOOL, struct.pack("16sP", name.encode(), words.buffer_info()[0]))
        except OSError:
            if value is not None:
                raise
            return None
    return bool(words[1])


ACTS: dict[str, Callable[[Any, Change, int], None]] = {
    "add-bridge": _add_bridge,
    "no-delay": _no_delay,
    "add-address": _add_address,
    "up": _up,
    "add-veth": _add_veth,
    "offload-off": _offload_off,
    "set-master": _set_master,
    "take": _take,
    "give-back": _give_back,
    "delete-address": _delete_address,
    "delete-link": _delete_link,
}
