"""The provisioning network as values: what was seen on the machine, what is wanted, and the changes between
the two. Pure."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from osbox.engine.info import NetworkInfo
from osbox.site.site import Site

LOCAL, MAIN, DEFAULT = 255, 254, 253
"""Numbers of the routing tables that every machine has (rtnetlink(7))."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Route(_Value):
    """A route by way of one link, as a person or a DHCP client set it. `dst` may be "default"."""

    dst: str
    gateway: str = ""
    metric: int = 0
    proto: int = 0
    """Who set it (the kernel's number), so that a DHCP client's route is one again."""
    via: str = ""
    """A gateway of IPv6, which an IPv4 route may have as well (RFC 5549)."""
    source: str = ""
    """The address of ours that packets have which go this way."""
    onlink: bool = False
    """The gateway is reached though no route says so: an address of /32, as hosters give it."""

    @property
    def default(self) -> bool:
        """Whether it is for all addresses, or for one half of them: two such beat a default route, which
        stays (OpenVPN)."""
        return self.dst in ("default", "0.0.0.0/1", "128.0.0.0/1")


class TableRoute(_Value):
    """A route of any table. link is "" for one that leads nowhere."""

    dst: IPv4Network
    link: str = ""
    table: int = MAIN
    kind: str = "unicast"
    """The kernel's word: unicast, local, broadcast, throw, blackhole, …"""
    gateway: str = ""


class PolicyRule(_Value):
    """A rule that says which table is asked for which packets (ip-rule(8)); goto: not a table but a later
    rule."""

    priority: int
    table: int = MAIN
    goto: int = 0
    src: IPv4Network | None = None
    dst: IPv4Network | None = None
    iif: str = ""
    oif: str = ""
    marked: bool = False
    """Only for packets with a mark, which somebody's firewall gives."""
    some: bool = False
    """Only for some ports, protocols, users or the like."""
    inverted: bool = False
    """For all packets but those."""
    suppress: int = -1
    """What is found with no longer prefix than this does not count."""


class Link(_Value):
    """A network interface. `kind` is "" for hardware, else the kernel's word (bridge, veth, tun, …)."""

    name: str
    index: int = 0
    kind: str = ""
    up: bool = False
    loopback: bool = False
    master: str = ""
    peer: int = 0
    """Index of the other end of a veth pair, in whatever namespace that one is."""
    addresses: tuple[str, ...] = ()
    """Global and host addresses with their prefix lengths; link-local ones come and go by themselves."""
    routes: tuple[Route, ...] = ()
    default_ipv6: bool = False
    """Whether IPv6's default route leads through it, also one that a router announced."""
    medium: Literal["ethernet", "wireless", "other"] = "ethernet"
    """other: what has no Ethernet addresses, such as tunnels and point-to-point links."""
    forward_delay: int | None = None
    tx_checksum: bool | None = None
    promiscuous: bool = False

    @property
    def default_route(self) -> bool:
        return any(route.default for route in self.routes)

    @property
    def carries_the_machine(self) -> bool:
        """Whether the machine is cut off without it."""
        return self.default_route or self.default_ipv6


class Before(_Value):
    """How a physical interface was before it became a port of the bridge, so that it can be given back as it
    was."""

    boot: str = ""
    """The boot this was seen in: after another one the interface is the host's again and nothing is to be
    restored."""
    up: bool = False
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    default_ipv6: bool = False
    forced: bool = False

    @property
    def carried_the_machine(self) -> bool:
        return self.default_ipv6 or any(route.default for route in self.routes)

    @property
    def in_order(self) -> tuple[Route, ...]:
        """The routes as the kernel takes them one by one: first what leads to gateways."""
        return tuple(sorted(self.routes, key=lambda route: bool(route.gateway or route.via)))


class NetState(_Value):
    """Everything that decides what is to be done, and what the picture shows."""

    site: Site = Field(default_factory=lambda: Site.model_validate({}))
    links: tuple[Link, ...] = ()
    holder: str = ""
    """Name of the container that keeps the neutron namespace."""
    pid: int = 0
    """A process in the neutron namespace; 0 when its container does not run."""
    inside: tuple[Link, ...] = ()
    """Links of the neutron namespace."""
    chain: bool = True
    """Whether the engine's firewall has the chain DOCKER-USER, and FORWARD leads to it."""
    swept: Literal["", "private", "host"] = ""
    """Whose firewall it is, when Docker manages it and has no such chain: somebody flushed it."""
    rules: tuple[str, ...] | None = ()
    """Firewall rules that carry this deployment's mark: table, chain, and the rule's words.

    None: nobody could look.
    """
    made: frozenset[str] = frozenset()
    """What the ledger says was made for this network since the machine was booted, as kind:name."""
    stale: frozenset[str] = frozenset()
    """What the ledger remembers of earlier boots: none of it is there any more."""
    before: Mapping[str, Before] = Field(default_factory=dict)
    """Physical interfaces that were taken, by name."""
    boot: str = ""
    routes: tuple[TableRoute, ...] = Field((), exclude=True)
    """IPv4 routes of all tables. They and the two that follow say whether a subnet is free; no picture has
    them."""
    policy: tuple[PolicyRule, ...] = Field(
        (
            PolicyRule(priority=0, table=LOCAL),
            PolicyRule(priority=32766, table=MAIN),
            PolicyRule(priority=32767, table=DEFAULT),
        ),
        exclude=True,
    )
    """In the kernel's order; the default is what a machine has that nobody changed."""
    networks: tuple[NetworkInfo, ...] = Field((), exclude=True)
    """The engine's, of whomever; empty, too, when nobody asked."""
    file: str = Field("$OSBOX_HOME/site.toml", exclude=True)
    """What the site was read from, for messages."""
    programs: Mapping[str, int] = Field(default_factory=dict)
    """How many processes of the programs we care for run in the containers that share the neutron namespace.
    """

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)

    def inner(self, name: str) -> Link | None:
        return next((link for link in self.inside if link.name == name), None)

    @property
    def ports(self) -> tuple[Link, ...]:
        """What is plugged into the bridge."""
        return tuple(link for link in self.links if link.master == self.site.bridge)

    @property
    def address(self) -> str:
        """The host's address on the bridge with its prefix length."""
        return f"{self.site.address}/{self.site.subnet.prefixlen}"

    @property
    def mark(self) -> str:
        """The comment that tells our firewall rules from all others."""
        return mark(self.site)

    @property
    def paired(self) -> bool:
        """Whether the veth pair ends in the neutron namespace of now (not in that of a replaced
        container)."""
        outer, inner = self.link(self.site.veth[0]), self.inner(self.site.veth[1])
        return bool(
            outer
            and inner
            and outer.kind == inner.kind == "veth"
            and outer.peer == inner.index
            and inner.peer == outer.index
        )


class Wish(_Value):
    """What is wanted.

    bridge: the bridge with its address. connect: that, and all the rest.
    disconnect: the rest gone, and the bridge too when nothing uses it. remove: nothing left.
    """

    do: Literal["bridge", "connect", "disconnect", "remove"]
    interface: str = ""
    """The physical interface to take; "" keeps the one that is there."""
    force: bool = False
    """Take an interface although it has addresses or carries the default route."""


AGAIN = Wish(do="connect")
"""What `osbox up` wishes of a network that was connected once: no more than `osbox net connect` does of which
nobody said more. A --force of a person holds for what that person saw."""

TEXTS = {
    "add-bridge": "Make the bridge {name}",
    "no-delay": "Let ports of {name} forward at once",
    "add-address": "Give {name} the address {value}",
    "up": "Set {name} up",
    "add-veth": "Make the veth pair {name} – {value} into the neutron namespace",
    "set-master": "Plug {name} into {value}",
    "offload-off": "Turn transmit checksum offload off on {name}",
    "add-rule": "Add the firewall rule {name}",
    "take": "Move the interface {name} into {value}",
    "give-back": "Give the interface {name} back as it was",
    "delete-rule": "Remove the firewall rule {name}",
    "delete-address": "Take the address {value} from {name}",
    "delete-link": "Remove {name}",
    "forget": "Strike {name} from the ledger: it is gone already",
}


class Change(_Value):
    """One small act.

    `name` is the link, rule or ledger entry it is done to; `inside`: in the neutron namespace.
    """

    do: Literal[
        "add-bridge",
        "no-delay",
        "add-address",
        "up",
        "add-veth",
        "set-master",
        "offload-off",
        "add-rule",
        "take",
        "give-back",
        "delete-rule",
        "delete-address",
        "delete-link",
        "forget",
    ]
    name: str
    value: str = ""
    inside: bool = False
    before: Before | None = None

    @property
    def text(self) -> str:
        """The change as a line for people."""
        name = re.sub(r" -m comment --comment \S+", "", self.name)  # the mark of our rules is no news
        return TEXTS[self.do].format(name=name, value=self.value) + " in the neutron namespace" * self.inside

    def __str__(self) -> str:
        """The change as a line for golden cases."""
        return " ".join(filter(None, (self.do, self.name, self.value, "@neutron" if self.inside else "")))


def mark(site: Site) -> str:
    return f"osbox-{site.name}"
