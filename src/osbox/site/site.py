"""What is particular to one deployment: its directory, names, addresses. Everything has a default. Pure.

`$OSBOX_HOME/site.toml` may override any field of `Site`; nothing else is configured anywhere else.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from osbox.errors import UserError

HOME = "/var/lib/osbox"
LABEL = "io.osbox.deployment"
"""What Docker's containers, networks and volumes of a deployment carry, with its name."""
Value = bool | int | float | str | list[bool | int | float | str]
"""A value of an OpenStack option, as TOML has it."""


class Site(BaseModel):
    """One deployment. Two of them live side by side when name, bridges, subnets and loopback all differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("os-in-a-box", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    """Deployment name: the containers' domain (`keystone.os-in-a-box`) and the Compose project."""
    bridge: str = Field("provisioning", pattern=r"^[a-zA-Z][a-zA-Z0-9-]{0,14}$")
    """The host's bridge for bare metal (a Linux interface name has at most 15 characters)."""
    veth: tuple[str, str] = ("ext0", "ext1")
    """The veth pair between the bridge and br-ex: its end on the host, its end in the neutron namespace."""
    subnet: ipaddress.IPv4Network = ipaddress.IPv4Network("10.29.29.0/24")
    """The provisioning network; its first address is the host's."""
    control_subnet: ipaddress.IPv4Network = ipaddress.IPv4Network("10.29.28.0/24")
    """The containers' own network."""
    control_bridge: str = "osbox"
    engine_bridge: str = "osbox-engine"
    """The private engine's default bridge: its own, so that a stranger's docker0 is never touched."""
    engine_subnet: ipaddress.IPv4Network = ipaddress.IPv4Network("10.29.27.0/24")
    loopback: ipaddress.IPv4Address = ipaddress.IPv4Address("127.0.0.1")
    """The loopback address that API ports are published on."""
    listen: ipaddress.IPv4Address | None = None
    """One more address of the host that the APIs are published on, for clients elsewhere."""
    redfish_port: int = 8000
    """Where the rack answers Redfish, on the provisioning address."""
    engine: str = Field("auto", pattern="^(auto|private|host)$")
    workers: int = Field(1, ge=1, le=64)
    """Processes of each OpenStack API; each has 16 threads."""
    options: dict[str, dict[str, dict[str, Value]]] = {}
    """OpenStack options by project or service, group and name: `options.nova.DEFAULT.debug`."""

    @field_validator("subnet", "control_subnet", "engine_subnet", mode="before")
    @classmethod
    def _network(cls, value: object) -> object:
        return ipaddress.IPv4Network(value) if isinstance(value, str) else value

    def listening_on(self, address: str) -> "Site":
        """The same site with its APIs on one more address; raises UserError when it is no IPv4 address."""
        try:
            found = ipaddress.IPv4Address(address)
        except ValueError as error:
            raise UserError(
                f"--listen {address}: {error}", hint="name an IPv4 address of this host"
            ) from error
        if found.is_unspecified:
            raise UserError(
                f"--listen {address}: clients are told this address, so it must be one",
                hint="name an IPv4 address of this host",
            )
        return self.model_copy(update={"listen": found})

    @property
    def address(self) -> ipaddress.IPv4Address:
        """The host's address on the provisioning network (10.29.29.1)."""
        return self.subnet[1]

    @property
    def pool(self) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
        """First and last address that Neutron hands out (.20 to .200 in a /24; the 2015 range)."""
        return self.subnet[20], self.subnet[min(200, self.subnet.num_addresses - 2)]


@dataclass(frozen=True)
class Paths:
    """Where things are. `project` is the checkout, or what an installed wheel carries of it; `home` the one
    directory osbox writes to."""

    project: Path
    home: Path

    @property
    def engine(self) -> Path:
        return self.home / "engine"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def artifacts(self) -> Path:
        """The deploy ramdisk and the guest images that were built."""
        return self.home / "artifacts"

    @property
    def provenance(self) -> Path:
        """Where each image was built from, a statement a tag."""
        return self.home / "provenance"

    @property
    def inventory(self) -> Path:
        """What was read of images once, by image id."""
        return self.home / "inventory"

    @property
    def recipes(self) -> Path:
        """Copies of the recipes, which builds and Compose read (osbox.site.recipes)."""
        return self.home / "recipes"

    @property
    def vulnerabilities(self) -> Path:
        """Databases of vulnerabilities that the operator puts here; osbox only reads it."""
        return self.home / "vulnerabilities"

    @property
    def releases(self) -> Path:
        return self.project / "releases"

    @property
    def images(self) -> Path:
        return self.project / "images"

    @property
    def compose(self) -> Path:
        return self.project / "compose"
