"""The networks of a deployment's containers: parts of one subnet, and their bridges. Pure."""

from collections.abc import Mapping
from hashlib import sha256
from ipaddress import IPv4Network

NEEDED: Mapping[str, str] = {"database": "db", "bus": "mq", "cache": "mc", "objects": "sw"}
"""Those of what keeps state, with who needs it, beside `control`, which all APIs are in; and how the names of
their bridges end."""
LONGEST = 12
"""Of the 15 characters that a Linux interface name may have, those before -db and its kind."""


def networks(subnet: IPv4Network) -> dict[str, IPv4Network]:
    """The part of each: `control` has the upper half, so that the entrance is the last address but one as
    ever; the others share the lower one."""
    lower, upper = subnet.subnets()
    return {"control": upper, **dict(zip(NEEDED, lower.subnets(prefixlen_diff=2), strict=True))}


def bridges(control: str) -> tuple[str, ...]:
    """The bridge of each, when that is the one of `control`."""
    return (control, *(f"{prefix(control)}-{end}" for end in NEEDED.values()))


def prefix(control: str) -> str:
    """How the names of the others begin; two that differ only at their ends do so here, too."""
    return control if len(control) <= LONGEST else control[:6] + sha256(control.encode()).hexdigest()[:6]
