"""Whether the subnets of a deployment are free on this machine, which is seen in a NetState. Pure.

They are held against addresses of other interfaces, routes of all tables, and networks of the engine.

A route counts as the kernel counts it: rules by their priority, in each table the narrowest route. Ours is
the connected one in the table main. So in main a wider route loses to ours: services and nodes work, and only
hosts out there with addresses of ours are out of reach, which is told and not refused (a VPN that routes
10.0.0.0/8 is common). The same or a narrower one takes packets from us, and so does any route, a default one
included, in a table that a rule has asked before main.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import chain

from osbox.errors import UserError
from osbox.network.values import LOCAL, MAIN, NetState, PolicyRule, TableRoute
from osbox.site.site import LABEL, Site

KEYS = ("subnet", "control_subnet", "engine_subnet")
USES = {
    "subnet": "the provisioning network",
    "control_subnet": "the containers' network",
    "engine_subnet": "the private engine's network",
}
BRIDGES: Mapping[str, Callable[[Site], tuple[str, ...]]] = {
    "subnet": lambda site: (site.bridge,),
    "control_subnet": lambda site: site.control_bridges(),
    "engine_subnet": lambda site: (site.engine_bridge,),
}
"""The interfaces that have the subnet's own routes."""
NO_WAY = {"broadcast", "anycast", "multicast"}
"""Kinds of routes that the kernel makes beside an address, for single addresses."""
HALF = 1
"""A prefix this long is half of all addresses: how VPNs write a default route that beats the machine's."""
LOOKED_AT = ("10.29.0.0/16", "172.29.0.0/16", "192.168.0.0/16")
"""Where networks are looked for that are free."""
OURS = {3, 4, 5}
"""Remainders by 8 of the third byte in 10.29.x.0/24 that deployments get (osbox.site.deployments)."""


@dataclass(frozen=True)
class Conflict:
    """Something on this machine that has addresses of ours. wide: around them, which does no harm to us."""

    key: str
    """The key of site.toml."""
    subnet: IPv4Network
    what: str
    wide: bool = False

    @property
    def text(self) -> str:
        return f"{self.what}, and {USES[self.key]} is {self.subnet}"


def conflicts(state: NetState, keys: Collection[str] = KEYS, spared: Collection[str] = ()) -> list[Conflict]:
    """What is in the way of these subnets, for each interface the worst; spared: interfaces whose addresses
    will be gone."""
    found = []
    for key in keys:
        of_key = list(_conflicts(state, key, spared))
        found += refused(of_key) or of_key
    return found


def refused(found: Sequence[Conflict]) -> list[Conflict]:
    return [one for one in found if not one.wide]


def refusal(state: NetState, found: Sequence[Conflict]) -> UserError:
    """What a person is told of conflicts: each of them, and networks that are free."""
    keys = dict.fromkeys(one.key for one in found)
    return UserError(
        found[0].text,
        evidence="\n".join(one.text for one in found) if len(found) > 1 else "",
        hint=f"take it away there, or {way_out(state, keys)}",
    )


def way_out(state: NetState, keys: Collection[str]) -> str:
    """What to write into site.toml: for each key a network that is free; where there is none, how to find
    one."""
    words, lacking, site = list[str](), list[str](), state.site
    for key in keys:
        free = _free(state.model_copy(update={"site": site}), key)
        if free is None:
            lacking.append(key)
            continue
        words.append(f'{key} = "{free}"')
        site = site.model_copy(update={key: free})
    if not lacking:
        return f"choose another network: {' and '.join(words)} in {state.file}"
    return (
        f"find a network for {' and '.join(lacking)} in {state.file} that nothing here has: none of"
        f" {', '.join(LOOKED_AT[:-1])} and {LOOKED_AT[-1]} is free (ip rule; ip route show table all)"
        + (f"; for the rest: {' and '.join(words)}" if words else "")
    )


def _free(state: NetState, key: str) -> IPv4Network | None:
    """The first network that nothing is in the way of, or else nothing but a wider route."""
    others = [network for other, network in state.site.subnets().items() if other != key]
    deployments, *more = (IPv4Network(text).subnets(new_prefix=24) for text in LOOKED_AT)
    wide = None
    for network in (
        *(found for found in deployments if found.network_address.packed[2] % 8 not in OURS),
        *chain.from_iterable(more),
    ):
        if any(network.overlaps(other) for other in others):
            continue
        found = conflicts(
            state.model_copy(update={"site": state.site.model_copy(update={key: network})}), [key]
        )
        if not found:
            return network
        wide = wide or (None if refused(found) else network)
    return wide


def _conflicts(state: NetState, key: str, spared: Collection[str]) -> Iterator[Conflict]:
    mine: IPv4Network = getattr(state.site, key)
    told = {*BRIDGES[key](state.site), *spared}
    for name, what in (*_networks(state, key, mine, told), *_addresses(state, mine)):
        if name not in told:
            told |= {name} - {""}
            yield Conflict(key, mine, what)
    for route, how, wide in _routes(state, mine):
        if route.link not in told:
            told |= {route.link} - {""}
            who = route.link or f"a {route.kind}"
            yield Conflict(key, mine, f"{who} has the route {route.dst}{how}", wide)


def _networks(
    state: NetState, key: str, mine: IPv4Network, ours: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Networks of the engine: the interface and what it has.

    The engine hands out each address once, so that any overlap with its own networks is refused by it. The
    bridge for nodes is none of them; there counts only what gets a route on the host.
    """
    there = {link.name for link in state.links}
    for network in state.networks:
        own = network.labels.get(LABEL) == state.site.name or network.bridge in ours
        if own or network.scope != "local":
            continue
        for text in network.subnets:
            other = _ipv4(text)
            if other is None or not other.overlaps(mine):
                continue
            if key != "subnet" or (network.bridge in there and other.subnet_of(mine)):
                yield network.bridge, f"the container network {network.name} has {other}"


def _ipv4(text: str) -> IPv4Network | None:
    """A subnet as the engine writes it; None for IPv6, and for "invalid Prefix", which is none."""
    try:
        return IPv4Network(text, strict=False)
    except ValueError:
        return None


def _addresses(state: NetState, mine: IPv4Network) -> Iterator[tuple[str, str]]:
    """Addresses and gateways of interfaces that are ours."""
    for link in state.links:
        for text in link.addresses:
            if ":" not in text and IPv4Interface(text).ip in mine:
                yield link.name, f"{link.name} has the address {text}"
        gateways = [route.gateway for route in link.routes if route.gateway]
        gateways += [route.gateway for route in state.routes if route.gateway and route.link == link.name]
        for gateway in gateways:
            if IPv4Address(gateway) in mine:
                yield link.name, f"{link.name} has the gateway {gateway}"


def _routes(state: NetState, mine: IPv4Network) -> Iterator[tuple[TableRoute, str, bool]]:
    """Routes that packets for addresses of ours would take, where they stand, and whether they lose to
    ours."""
    near = [route for route in state.routes if route.dst.overlaps(mine) and route.kind not in NO_WAY]
    begin = -1
    for rule in sorted(state.policy, key=lambda rule: rule.priority):
        if rule.priority < begin or not _concerns(state, rule, mine):
            continue
        if rule.goto:
            begin = rule.goto
            continue
        to = None if rule.inverted else rule.dst
        table = [route for route in near if route.table == rule.table and (not to or route.dst.overlaps(to))]
        inner = [route for route in table if route.dst.subnet_of(mine) and route.kind != "throw"]
        around = sorted(
            (route for route in table if mine.subnet_of(route.dst)), key=lambda route: -route.dst.prefixlen
        )
        how = _how(rule)
        yield from ((route, how, False) for route in inner if route.dst.prefixlen > rule.suppress)
        if rule.table == MAIN:
            yield from ((route, how, True) for route in around if route.dst.prefixlen > HALF)
            if mine.prefixlen > rule.suppress:
                return  # ours is found here
        elif around and around[0].kind != "throw" and around[0].dst.prefixlen > rule.suppress:
            yield around[0], how, False
            return


def _how(rule: PolicyRule) -> str:
    if rule.table == MAIN:
        return ""
    name = "local" if rule.table == LOCAL else str(rule.table)
    return f" in table {name}, which rule {rule.priority} has asked before ours"


def _concerns(state: NetState, rule: PolicyRule, mine: IPv4Network) -> bool:
    """Whether a rule is for packets between the host, the containers and the nodes, which carry no mark."""
    site = state.site
    if rule.inverted:
        some = rule.marked or rule.some or rule.iif or rule.oif or rule.src
        return bool(some) or not (rule.dst is None or mine.subnet_of(rule.dst))
    if rule.marked or rule.some or rule.oif:
        return False
    return (
        rule.iif in ("", "lo", site.bridge, *site.control_bridges())
        and (rule.src is None or any(rule.src.overlaps(network) for network in site.subnets().values()))
        and (rule.dst is None or rule.dst.overlaps(mine))
    )
