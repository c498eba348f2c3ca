"""What is particular to one deployment: its directory, names, addresses. Everything has a default. Pure.

`$OSBOX_HOME/site.toml` may override any field of `Site`; nothing else is configured anywhere else.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, get_args, overload

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from osbox.errors import UserError
from osbox.site import containers
from osbox.site.words import NAME, Link, option_value, why_unreachable

HOME = "/var/lib/osbox"
LABEL = "io.osbox.deployment"
"""What Docker's containers, networks and volumes of a deployment carry, with its name."""
PHYSICAL_NETWORK = "physnet1"
"""Neutron's word for the provisioning network (images/neutron/etc): of networks, and of nodes' ports."""
Value = bool | int | float | str | list[bool | int | float | str]
"""A value of an OpenStack option, as TOML has it."""
SMALLEST: Mapping[str, tuple[int, str]] = {
    "subnet": (29, "the host, Neutron's DHCP server and two nodes"),
    "control_subnet": (25, "the containers' five networks"),
    "engine_subnet": (29, "the engine and a container or two"),
}
"""The longest prefix that each network of a deployment may have, and who needs addresses there."""
SPECIAL: Mapping[str, str] = {
    "0.0.0.0/8": "hosts without an address",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local addresses",
    "224.0.0.0/3": "multicast and other special uses",
}
"""Where no host of a network can be (RFC 6890)."""
POLICY, MOST_POLICIES = re.compile(r"[A-Za-z0-9-]{1,64}"), 8
FIRST_POLICY = "Policy-0"
"""What Swift calls its one storage policy where none has a name, and only the first may be called."""
POOL_FIRST, POOL_LAST = 20, 200
"""What Neutron hands out to nodes, counted from the subnet's beginning; the 2015 range."""


OptionValue = Annotated[Value, PlainValidator(option_value)]


class Site(BaseModel):
    """One deployment. Two of them live side by side when name, bridges, subnets and loopback all differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("os-in-a-box", pattern=f"^{NAME}$")
    """Deployment name: the containers' domain (`keystone.os-in-a-box`) and the Compose project."""
    bridge: Link = "provisioning"
    """The host's bridge for bare metal (a Linux interface name has at most 15 characters)."""
    veth: tuple[Link, Link] = ("ext0", "ext1")
    """The veth pair between the bridge and br-ex: its end on the host, its end in the neutron namespace."""
    subnet: ipaddress.IPv4Network = ipaddress.IPv4Network("10.29.29.0/24")
    """The provisioning network; its first address is the host's."""
    control_subnet: ipaddress.IPv4Network = ipaddress.IPv4Network("10.29.28.0/24")
    """What the containers' own networks are parts of."""
    control_bridge: Link = "osbox"
    """That of the network that all APIs are in; osbox.site.containers names the others by it."""
    engine_bridge: Link = "osbox-engine"
    """The private engine's default bridge: its own, so that a stranger's docker0 is never touched."""
    engine_subnet: ipaddress.IPv4Network = ipaddress.IPv4Network("10.29.27.0/24")
    loopback: ipaddress.IPv4Address = ipaddress.IPv4Address("127.0.0.1")
    """The loopback address that API ports are published on."""
    listen: ipaddress.IPv4Address | None = None
    """One more address of the host that the APIs are published on, for clients elsewhere."""
    tls: bool = True
    """Whether the APIs speak TLS."""
    redfish_port: int = Field(8000, ge=1, le=65535, strict=True)
    """Where the rack answers Redfish, on the provisioning address."""
    engine: Literal["auto", "private", "host"] = "auto"
    workers: int = Field(1, ge=1, le=64, strict=True)
    """Processes of each OpenStack API; each has 16 threads."""
    generations: int = Field(8, ge=1, le=1000, strict=True)
    """How many osbox keeps of those that it makes by itself."""
    generation_days: int = Field(90, ge=1, le=36500, strict=True)
    """And how old they may become."""
    swift_policies: tuple[str, ...] = Field((FIRST_POLICY,), min_length=1, max_length=MOST_POLICIES)
    """Swift's storage policies; the first is the default one. Objects keep a policy's place, not its name."""
    options: dict[str, dict[str, dict[str, OptionValue]]] = {}
    """OpenStack options by project or service, group and name: `options.nova.DEFAULT.debug`."""

    @field_validator("subnet", "control_subnet", "engine_subnet", mode="before")
    @classmethod
    def _network(cls, value: object) -> object:
        """TOML has no addresses, and Python takes a number for one."""
        if isinstance(value, ipaddress.IPv4Network):
            return value
        shown = f"'{value}'" if isinstance(value, str) else "this"
        wrong = ValueError(f'{shown} is no IPv4 network with its length ("10.29.29.0/24")')
        if not isinstance(value, str) or "/" not in value:
            raise wrong
        try:
            wide = ipaddress.IPv4Network(value, strict=False)
        except ValueError:
            raise wrong from None
        if ipaddress.IPv4Address(value.partition("/")[0]) != wide.network_address:
            raise ValueError(f"{value} has host bits set: the network is {wide}")
        return wide

    @field_validator("loopback", "listen", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        if isinstance(value, int):
            raise ValueError('is no IPv4 address ("127.0.0.1")')  # noqa: TRY004 - pydantic wants ValueError
        return value

    @field_validator("loopback")
    @classmethod
    def _is_loopback(cls, value: ipaddress.IPv4Address) -> ipaddress.IPv4Address:
        if not value.is_loopback or value.packed[1:] in (b"\0\0\0", b"\xff\xff\xff"):
            raise ValueError(f"{value} is no loopback address of a host (127.0.0.1 to 127.255.255.254)")
        return value

    @field_validator("listen")
    @classmethod
    def _can_be_told(cls, value: ipaddress.IPv4Address | None) -> ipaddress.IPv4Address | None:
        why = why_unreachable(value) if value else ""
        if why:
            raise ValueError(f"{value}: {why}")
        return value

    @field_validator("options")
    @classmethod
    def _once(cls, value: dict[str, dict[str, dict[str, Value]]]) -> dict[str, dict[str, dict[str, Value]]]:
        """A hyphen and an underscore are the same to whoever looks an option up."""
        for word, groups in value.items():
            for group, names in groups.items():
                plain = [name.replace("-", "_") for name in names]
                twice = next((name for name in plain if plain.count(name) > 1), "")
                if twice:
                    raise ValueError(f"{word}.{group}.{twice} is there twice, with - and with _")
        return value

    @field_validator(*SMALLEST)
    @classmethod
    def _can_be_used(cls, value: ipaddress.IPv4Network, info: ValidationInfo) -> ipaddress.IPv4Network:
        longest, who = SMALLEST[str(info.field_name)]
        if value.prefixlen > longest:
            raise ValueError(f"{value} is too small: {who} need a /{longest} at least")
        for other, kind in SPECIAL.items():
            if value.overlaps(ipaddress.IPv4Network(other)):
                raise ValueError(f"{value} cannot be used: {other} is for {kind}")
        return value

    @field_validator("swift_policies")
    @classmethod
    def _policies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        seen = set[str]()
        for place, name in enumerate(value):
            if not POLICY.fullmatch(name):
                raise ValueError(f"{name!r} is no name: letters, digits and hyphens, 64 at most")
            if name.lower() in seen:
                raise ValueError(f"{name} is there twice: Swift takes A and a for the same")
            if place and name.lower() == FIRST_POLICY.lower():
                raise ValueError(f"only the first policy may be called {FIRST_POLICY}")
            seen.add(name.lower())
        return value

    @model_validator(mode="after")
    def _apart(self) -> "Site":
        """Packets for an address go one way: no two networks of one machine may share any."""
        for (one, mine), (other, theirs) in combinations(self.subnets().items(), 2):
            if mine.overlaps(theirs):
                raise ValueError(f"{one} {mine} overlaps {other} {theirs}")
        for (one, link), (other, same) in combinations(self._links(), 2):
            if link == same:
                both = f"both of {one}" if one == other else f"{one} and {other}"
                raise ValueError(f"{both} have the same name, {link}")
        if self.listen == self.address:
            raise ValueError(f"listen {self.listen} is the first of subnet: the APIs are there anyway")
        return self

    def _links(self) -> list[tuple[str, str]]:
        mine = [("bridge", self.bridge), *(("control_bridge", link) for link in self.control_bridges())]
        mine += [("veth", end) for end in self.veth]
        return mine if self.engine == "host" else [*mine, ("engine_bridge", self.engine_bridge)]

    def subnets(self) -> dict[str, ipaddress.IPv4Network]:
        """The networks that there are or may be, by key: with the machine's own Docker there is none of a
        private engine."""
        keys = [key for key in SMALLEST if key != "engine_subnet" or self.engine != "host"]
        return {key: getattr(self, key) for key in keys}

    def container_networks(self) -> dict[str, ipaddress.IPv4Network]:
        return containers.networks(self.control_subnet)

    def control_bridges(self) -> tuple[str, ...]:
        return containers.bridges(self.control_bridge)

    def listening_on(self, address: str) -> "Site":
        """The same site with its APIs on one more address; raises UserError when it is no IPv4 address."""
        try:
            found = ipaddress.IPv4Address(address)
        except ValueError as error:
            raise UserError(
                f"--listen {address}: {error}", hint="name an IPv4 address of this host"
            ) from error
        why = why_unreachable(found)
        if not why and found == self.address:
            why = "the APIs are there anyway, for it is the first of the provisioning network"
        if why:
            raise UserError(f"--listen {address}: {why}", hint="name an IPv4 address of this host")
        return self.model_copy(update={"listen": found})

    @property
    def scheme(self) -> str:
        """What clients of the APIs speak; containers among themselves speak HTTP."""
        return "https" if self.tls else "http"

    def api(self, port: int, host: object = None) -> str:
        """Where an API is published: at the loopback address, or at another one of ours."""
        return f"{self.scheme}://{host or self.loopback}:{port}"

    def verify(self, paths: "Paths") -> str | bool:
        """What an HTTP session verifies with, as requests wants it."""
        return str(paths.trusted) if self.tls else True

    @property
    def address(self) -> ipaddress.IPv4Address:
        """The host's address on the provisioning network (10.29.29.1)."""
        return self.subnet[1]

    @property
    def pool(self) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
        """First and last address that Neutron hands out: .20 to .200, in a small subnet its upper half."""
        size = self.subnet.num_addresses
        first = POOL_FIRST if size > POOL_FIRST + 1 else size // 2
        return self.subnet[first], self.subnet[min(POOL_LAST, size - 2)]

    @property
    def fixed(self) -> tuple[ipaddress.IPv4Address, ...]:
        """The addresses between the host's and the pool: for machines with fixed ones, and our own tries."""
        return tuple(self.address + n for n in range(1, int(self.pool[0]) - int(self.address)))


class Lifetime(Enum):
    """Until when a thing in the state directory stays there."""

    THEIRS = auto()
    """Put there by the operator and only read: no purge removes it."""
    KEPT = auto()
    """Dear to make again, or written by hand: `down --purge --keep-images` leaves it, a whole purge does
    not."""
    REMADE = auto()
    """Of this cloud, or of one run; the same commands make it again: every purge removes it."""


@dataclass(frozen=True)
class StateFile:
    """A file or directory of the state directory; as an attribute of Paths, where it is.

    secret: for root alone, so a file of it is written with mode 0600, a directory with 0700. shown: also the
    private engine reads it, which sees the state directory and nothing that a link leads to elsewhere.
    """

    name: str
    lifetime: Lifetime
    secret: bool = False
    shown: bool = False

    @overload
    def __get__(self, paths: None, owner: type["Paths"]) -> "StateFile": ...
    @overload
    def __get__(self, paths: "Paths", owner: type["Paths"]) -> Path: ...
    def __get__(self, paths: "Paths | None", owner: type["Paths"]) -> "StateFile | Path":
        return self if paths is None else self.at(paths.home)

    def at(self, home: Path) -> Path:
        """Where it is, for whoever knows no more than the state directory."""
        return home / self.name


Lock = Literal["build", "clouds", "contents", "debian", "guest", "judge", "machine", "nodes", "ramdisk"]
"""What one command at a time may change; a file each, which stays when the lock is given back."""


@dataclass(frozen=True)
class Paths:
    """Where things are. `project` is the checkout, or what an installed wheel carries of it; `home` the
    one directory osbox writes to.

    All that osbox puts into `home` is declared here, and a purge removes what is declared, no more:
    OSBOX_HOME may have been set to a directory with other things in it.
    """

    project: Path
    home: Path

    site_toml = StateFile("site.toml", Lifetime.KEPT)
    secrets = StateFile("secrets", Lifetime.REMADE, secret=True, shown=True)
    clouds_yaml = StateFile("clouds.yaml", Lifetime.REMADE, secret=True)
    openrc = StateFile("openrc", Lifetime.REMADE, secret=True)
    private_key = StateFile("id_ed25519", Lifetime.REMADE, secret=True)
    public_key = StateFile("id_ed25519.pub", Lifetime.REMADE)
    """What ssh-keygen makes beside the private one; osbox itself needs no file of it."""
    tls = StateFile("tls", Lifetime.REMADE, secret=True, shown=True)
    """The deployment's own authority, and what the entrance shows (osbox.tls.store)."""
    bmc_ca = StateFile("bmc-ca", Lifetime.REMADE, shown=True)
    """Certificates of authorities, as the conductor sees them (osbox.metal.authorities)."""
    stack_env = StateFile("stack.env", Lifetime.REMADE, shown=True)
    options = StateFile("options", Lifetime.REMADE, secret=True, shown=True)
    """The site's own options for Compose; one of them may be a password."""
    applied = StateFile("applied.json", Lifetime.REMADE, secret=True)
    generations = StateFile("generations", Lifetime.REMADE, secret=True, shown=True)
    """The cloud as it was at moments, a directory each (osbox.generations); objects lie with Swift."""
    rack_yaml = StateFile("rack.yaml", Lifetime.REMADE)
    ledger = StateFile("ledger.json", Lifetime.REMADE)
    deployments = StateFile("clouds", Lifetime.REMADE, shown=True)
    """A directory like this one for each deployment with a name."""
    engine = StateFile("engine", Lifetime.KEPT, shown=True)
    engine_gone = StateFile("engine.gone", Lifetime.REMADE)
    """The engine while it is removed: half of one must not pass for a whole one."""
    artifacts = StateFile("artifacts", Lifetime.KEPT, shown=True)
    """The deploy ramdisk and the guest images that were built."""
    downloads = StateFile("downloads", Lifetime.KEPT)
    provenance = StateFile("provenance", Lifetime.KEPT)
    """Where each image was built from, a statement a tag."""
    inventory = StateFile("inventory", Lifetime.KEPT)
    """What was read of images once, by image id."""
    vulnerabilities = StateFile("vulnerabilities", Lifetime.THEIRS)
    """Databases of vulnerabilities that the operator puts here; osbox only reads it."""
    tools = StateFile("tools", Lifetime.KEPT)
    """Programs that the host does not have: mmdebstrap, uv, upstream's test suites."""
    build_secrets = StateFile("build-secrets", Lifetime.KEPT, secret=True, shown=True)
    debian_tar = StateFile("debian.tar", Lifetime.REMADE, shown=True)
    judges = StateFile("judges", Lifetime.REMADE, secret=True)
    """Of each of upstream's test suites: configuration, log and results of its last run."""
    picture = StateFile("demo.svg", Lifetime.REMADE)
    logs = StateFile("logs", Lifetime.REMADE)
    recipes = StateFile("recipes", Lifetime.REMADE, shown=True)
    """Copies of the recipes, which builds and Compose read (osbox.site.recipes)."""
    tests = StateFile("tests", Lifetime.REMADE, shown=True)
    """What the tests of images work in."""
    tmp = StateFile("tmp", Lifetime.REMADE, shown=True)
    """Of one run each; on this disk, for the private engine sees it and it may be large."""
    checks = StateFile("checks.jsonl", Lifetime.KEPT)
    """Which of the project's own tests passed with what (docs/testing.md)."""

    def lock(self, what: Lock) -> Path:
        return self.home / f"{what}.lock"

    @property
    def trusted(self) -> Path:
        """The authority that clients of the entrance have to trust, in a directory that containers see."""
        return self.tls / "trusted" / "ca.pem"

    @property
    def build_logs(self) -> Path:
        """A file for each image's last build."""
        return self.logs / "build"

    @property
    def wheels(self) -> Path:
        """The tool's own libraries, as a bundle has them."""
        return self.downloads / "wheels"

    @property
    def releases(self) -> Path:
        return self.project / "releases"

    @property
    def images(self) -> Path:
        return self.project / "images"

    @property
    def compose(self) -> Path:
        return self.project / "compose"


STATE: Mapping[str, StateFile] = {
    **{item.name: item for item in vars(Paths).values() if isinstance(item, StateFile)},
    **{f"{what}.lock": StateFile(f"{what}.lock", Lifetime.REMADE) for what in get_args(Lock)},
}
"""All that is declared, by name."""


def declared(name: str) -> StateFile | None:
    """What an entry of the state directory is; NAME.new, which a killed run may leave, is as NAME. None: of
    somebody else."""
    return STATE.get(name) or STATE.get(name.removesuffix(".new"))
