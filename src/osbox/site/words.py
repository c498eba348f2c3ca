"""What single words of site.toml may be. Pure."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

NAME = r"[a-z0-9](?:[a-z0-9-]{0,39}[a-z0-9])?"
"""Of a deployment: a part of a domain's name."""
EARLIER_NAME = r"[a-z0-9][a-z0-9-]{0,40}"
"""What one could be called before: one that is there has to go away, too."""
LINK = r"^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$"
NOT_OURS = ("all", "default", "docker0", "lo")
"""Names of links that the kernel or a machine's own Docker has."""


def option_value(value: object) -> object:
    """One complaint, without the value, which may be a password; not one for each type that it might be."""
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, (bool, int, float, str)):
            raise ValueError(  # noqa: TRY004 - pydantic wants ValueError
                "must be text, a number, true or false, or a list of such: put a date in quotes"
            )
    return value


def _link(value: str) -> str:
    if value in NOT_OURS:
        raise ValueError(f"'{value}' is the name of a link that is not ours")
    return value


def why_unreachable(address: ipaddress.IPv4Address) -> str:
    """Why clients elsewhere cannot be told an address; "" when they can."""
    if address.is_unspecified:
        return "clients are told this address, so it must be one"
    if address.is_loopback:
        return "clients elsewhere would look for it at themselves"
    if address.is_multicast or address.is_reserved or address in ipaddress.IPv4Network("0.0.0.0/8"):
        return "no machine has this address"
    return ""


Link = Annotated[str, Field(pattern=LINK), AfterValidator(_link)]
