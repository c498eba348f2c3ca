"""A node as nodes.yaml names it, and what Ironic is told of it. Pure."""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

from osbox.metal.bmc import Bmc, Mac, Model, Text, Whole, fits_ipmi
from osbox.metal.firmware import BootMode

IPMI_PORT = 623
OWN = "osbox"
"""The key in `extra` of a node and of a port under which our marks are: {"password": …}, {"port": true}."""
RESERVED = ("detail", "maintenance", "management", "states", "validate", "vendor_passthru")
"""Parts of Ironic's addresses where a node's name would stand."""
CAPABILITIES = ("boot_mode", "boot_option", "disk_label", "iscsi_boot", "secure_boot", "trusted_boot")
"""Those that Ironic itself acts on: of another spelling, it would just not."""
HINTS = (
    *("size", "model", "wwn", "wwn_with_extension", "wwn_vendor_extension", "serial", "vendor", "name"),
    *("rotational", "hctl", "by_path", "tran"),
)
"""What Ironic can tell a disk by."""
SIZE = re.compile(r"(?:(?:=|==|!=|>=|<=|>|<)\s*)?[1-9][0-9]*|<(?:or|range-in)>.+")
SWITCHES = ("true", "t", "on", "y", "yes", "1", "false", "f", "off", "n", "no", "0")
LARGEST = 2**31 - 1
MOST_EXTRA, MOST_VALUES, DEEPEST = 60_000, 10_000, 50
"""Ironic's database has 64 KiB for the one; what is more than the others is a mistake of aliases."""


class Driver(StrEnum):
    """Ironic's hardware types that osbox knows to enrol."""

    REDFISH = "redfish"
    IPMI = "ipmi"


Word = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None
Count = Annotated[Whole, Field(ge=1, le=LARGEST)] | None


def _scalar(value: object) -> object:
    """One complaint, not one for each type that it might be."""
    if isinstance(value, (str, int)):
        return value
    raise ValueError("has no value" if value is None else "must be a word, a whole number, true or false")


Scalar = Annotated[str | int | bool, PlainValidator(_scalar)]


def _some(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise ValueError("must not be empty")
    return items


def _name(value: str) -> str:
    if re.fullmatch(r"[0-9A-Fa-f]{32}", value.replace("-", "")):
        raise ValueError(f"'{value}' looks like a UUID, and Ironic takes no such name")
    if value in RESERVED:
        raise ValueError(f"'{value}' is a word of Ironic's own, which takes no such name")
    return value


def _resource_class(value: str) -> str:
    if value.upper().startswith("CUSTOM_"):
        raise ValueError(f"'{value}' without CUSTOM_: Nova puts it there itself")
    return value


def _hints(value: dict[str, Scalar]) -> dict[str, Scalar]:
    for key, hint in value.items():
        if key not in HINTS:
            raise ValueError(f"there is no hint '{key}' (known: {', '.join(HINTS)})")
        if key == "size" and (isinstance(hint, bool) or not SIZE.fullmatch(str(hint).strip())):
            raise ValueError(f"size: '{hint}' is not a number of GiB (400, or \">= 400\")")
        if key == "rotational" and str(hint).lower() not in SWITCHES:
            raise ValueError(f"rotational: '{hint}' is neither true nor false")
    return value


def _extra(value: dict[str, Any]) -> dict[str, Any]:
    """What can be sent as JSON, and kept."""
    if OWN in value:
        raise ValueError(f"the key '{OWN}' is for marks of osbox's own")
    left, seen = [(item, 1) for item in value.values()], 0
    while left:
        item, depth = left.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise ValueError(f"has more than {MOST_VALUES} values, or {DEEPEST} in one another")
        if isinstance(item, float) and item - item != 0:  # infinity, or no number at all
            raise ValueError(f"JSON has no {item}: put it in quotes")
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        left += [(one, depth + 1) for one in inner]
    if len(json.dumps(value)) > MOST_EXTRA:
        raise ValueError(f"has more than {MOST_EXTRA} bytes, and Ironic has no room for them")
    return value


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
    __pydantic_extra__: dict[str, Scalar]

    boot_mode: BootMode | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_string(cls, value: object) -> object:
        """Commas part the words and a colon each of them."""
        for key, word in value.items() if isinstance(value, Mapping) else ():
            near = next((known for known in CAPABILITIES if _squeezed(known) == _squeezed(str(key))), key)
            if near != key:
                raise ValueError(f"Ironic does not know '{key}', did you mean '{near}'?")
            for part in (str(key), word):
                if isinstance(part, str) and not re.fullmatch(r"[^\s,:]+", part):
                    raise ValueError(
                        f"'{key}: {word}' cannot be one: no part of it is empty or has space , :"
                    )
        return value

    def __str__(self) -> str:
        """The one string that Ironic wants: boot_mode:uefi,…"""
        words = self.model_dump(mode="json", exclude_none=True)
        return ",".join(
            f"{key}:{str(word).lower() if isinstance(word, bool) else word}" for key, word in words.items()
        )


def _squeezed(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")


class Properties(Model):
    """What is known of the hardware. Inspection fills in and corrects it."""

    cpus: Count = None
    memory_mb: Count = None
    local_gb: Count = None
    cpu_arch: Literal["x86_64", "aarch64"] = "x86_64"
    capabilities: Capabilities = Field(default_factory=lambda: Capabilities.model_validate({}))
    root_device: Annotated[dict[str, Scalar], AfterValidator(_hints)] | None = None


class Node(Model):
    """One machine."""

    name: Annotated[Text, AfterValidator(_name)] = Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._~-]*[A-Za-z0-9])?$", max_length=255
    )
    driver: Driver = Driver.REDFISH
    bmc: Bmc
    ports: Annotated[tuple[Port, ...], AfterValidator(_some)]
    resource_class: Annotated[str, AfterValidator(_resource_class)] = Field(
        "baremetal", pattern=r"^[A-Za-z0-9_.-]+$", max_length=80
    )
    properties: Properties = Properties()
    description: str | None = Field(None, max_length=4096)
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
    extra: Annotated[dict[str, Any], AfterValidator(_extra)] = Field(default_factory=dict)

    @field_validator("bmc")
    @classmethod
    def _suits_driver(cls, bmc: Bmc, info: ValidationInfo) -> Bmc:
        if info.data.get("driver") is Driver.IPMI:
            if "://" in bmc.address:
                raise ValueError("the address of an ipmi node is a host, not a URL")
            if bmc.system_id is not None or "verify_ca" in bmc.model_fields_set:
                raise ValueError("system_id and verify_ca are for the redfish driver")
            fits_ipmi("user name", bmc.username)
            if bmc.password is not None:
                fits_ipmi("password", bmc.secret)
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
            info["redfish_system_id"] = bmc.system_id
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
