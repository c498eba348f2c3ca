"""A node as nodes.yaml names it, and what Ironic is told of it. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

from osbox.metal.bmc import Bmc, Mac, Model, Text
from osbox.metal.firmware import BootMode

REDFISH_PATH = "/redfish/v1/Systems/"
IPMI_PORT = 623


class Driver(StrEnum):
    """Ironic's hardware types that osbox knows to enrol."""

    REDFISH = "redfish"
    IPMI = "ipmi"


Word = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None
Count = Annotated[int, Field(ge=1, strict=True)] | None


def _some(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise ValueError("must not be empty")
    return items


class Port(Model):
    """A network card of the node.

    A plain MAC address in the file means a card that may boot from the network.
    """

    address: Mac
    pxe_enabled: StrictBool = True

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return value if isinstance(value, Mapping) else {"address": value}


class Capabilities(Model):
    """Words that Ironic schedules and boots by; those that are not listed are handed on as they are."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | int | bool]

    boot_mode: BootMode | None = None

    def __str__(self) -> str:
        """The one string that Ironic wants: boot_mode:uefi,…"""
        words = self.model_dump(mode="json", exclude_none=True)
        return ",".join(
            f"{key}:{str(word).lower() if isinstance(word, bool) else word}" for key, word in words.items()
        )


class Properties(Model):
    """What is known of the hardware. Inspection fills in and corrects it."""

    cpus: Count = None
    memory_mb: Count = None
    local_gb: Count = None
    cpu_arch: Literal["x86_64", "aarch64"] = "x86_64"
    capabilities: Capabilities = Field(default_factory=lambda: Capabilities.model_validate({}))
    root_device: dict[str, str | int | bool] | None = None


class Node(Model):
    """One machine."""

    name: Text = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._~-]{0,253}[A-Za-z0-9])?$")
    driver: Driver = Driver.REDFISH
    bmc: Bmc
    ports: Annotated[tuple[Port, ...], AfterValidator(_some)]
    resource_class: str = Field("baremetal", pattern=r"^[A-Za-z0-9_.-]{1,80}$")
    properties: Properties = Properties()
    description: str | None = None
    bios_interface: Word = None
    boot_interface: Word = None
    console_interface: Word = None
    deploy_interface: Word = None
    firmware_interface: Word = None
    inspect_interface: Word = None
    management_interface: Word = None
    network_interface: Word = None
    power_interface: Word = None
    raid_interface: Word = None
    vendor_interface: Word = None
    extra: dict[str, Any] = Field(default_factory=dict)

    @field_validator("bmc")
    @classmethod
    def _suits_driver(cls, bmc: Bmc, info: ValidationInfo) -> Bmc:
        if info.data.get("driver") is Driver.IPMI:
            if "://" in bmc.address:
                raise ValueError("the address of an ipmi node is a host, not a URL")
            if bmc.system_id is not None or "verify_ca" in bmc.model_fields_set:
                raise ValueError("system_id and verify_ca are for the redfish driver")
        return bmc

    @property
    def interfaces(self) -> dict[str, str]:
        """The interfaces that the file chooses: {"network_interface": "flat", …}."""
        chosen = {key: getattr(self, key) for key in INTERFACES}
        return {key: value for key, value in chosen.items() if value}

    def driver_info(self) -> dict[str, str | int | bool]:
        """Ironic's driver_info, the password in clear: for Ironic's eyes only."""
        bmc = self.bmc
        if self.driver is Driver.IPMI:
            return {
                "ipmi_address": bmc.address,
                "ipmi_username": bmc.username,
                "ipmi_password": bmc.secret,
                "ipmi_port": bmc.port or IPMI_PORT,
            }
        info: dict[str, str | int | bool] = {
            "redfish_address": bmc.url,
            "redfish_username": bmc.username,
            "redfish_password": bmc.secret,
            "redfish_verify_ca": bmc.verify_ca if isinstance(bmc.verify_ca, bool) else str(bmc.verify_ca),
        }
        if bmc.system_id:
            info["redfish_system_id"] = (
                bmc.system_id if bmc.system_id.startswith("/") else REDFISH_PATH + bmc.system_id
            )
        return info

    def ironic_properties(self) -> dict[str, Any]:
        """Ironic's properties."""
        found = self.properties.model_dump(mode="json", exclude_none=True, exclude={"capabilities"})
        capabilities = str(self.properties.capabilities)
        return {**found, "capabilities": capabilities} if capabilities else found


INTERFACES = tuple(key for key in Node.model_fields if key.endswith("_interface"))


class Inventory(Model):
    """The whole file."""

    nodes: Annotated[tuple[Node, ...], AfterValidator(_some)]
