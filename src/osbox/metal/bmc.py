"""A management controller as nodes.yaml names it, and the words for addresses. Pure."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

MAC = re.compile(
    r"[0-9a-f]{12}|[0-9a-f]{2}(?:[:. -][0-9a-f]{2}){5}"
    r"|[0-9a-f]{4}(?:[:.-][0-9a-f]{4}){2}|[0-9a-f]{6}[:-][0-9a-f]{6}"
)
"""As labels, switches and BMCs write it: 52:54:00:12:34:56, 5254.0012.3456, 525400-123456, …"""
OWN_HOST = "is ironic-conductor's own container, from where the controller is called"
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}$)(?:{LABEL}\.)*{LABEL}")
URL = re.compile(r"(https?)://(\[[^\[\]/?#]+\]|[^\[\]:/?#]+)(?::([0-9]{1,9}))?/*", re.IGNORECASE)
WITH_PORT = re.compile(r"(\[.+\]|[^:]+):[0-9]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
HIGHEST_PORT = 65535
DEFAULT_PORTS = {"http": 80, "https": 443}
SYSTEMS = "/redfish/v1/Systems/"
MOST_BYTES = {"user name": 16, "password": 20}
"""What IPMI 2.0 has room for; ipmitool refuses more."""


def _mac(value: str) -> str:
    written = value.strip().lower()
    if not MAC.fullmatch(written):
        raise ValueError(
            f"'{value}' is not a MAC address (six pairs of hexadecimal digits: 52:54:00:12:34:56)"
        )
    digits = re.sub("[^0-9a-f]", "", written)
    if digits == "0" * 12 or int(digits[:2], 16) & 1:
        raise ValueError(f"'{value}' is not the address of one network card")
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def _host(value: str) -> str:
    try:
        address = ip_address(value)
    except ValueError:
        _host_name(value)
        return value
    if address.is_loopback:
        raise ValueError(f"'{value}' {OWN_HOST}")
    if address.version == 6 and address.is_link_local:  # noqa: PLR2004 - with a zone or without: fe80::1%eth0
        raise ValueError(f"'{value}' ends at the next link, and ironic-conductor is not on it")
    if address.is_unspecified or address.is_multicast or (address.version == 4 and address.is_reserved):  # noqa: PLR2004
        raise ValueError(f"'{value}' is not the address of one machine")
    return value


def _host_name(value: str) -> None:
    if value.lower() == "localhost":
        raise ValueError(f"'{value}' {OWN_HOST}")
    if value.startswith("[") and value.endswith("]"):
        raise ValueError(f"'{value}': an IPv6 address has brackets in a URL only")
    if WITH_PORT.fullmatch(value):
        raise ValueError(f"'{value}': the port is a key of its own (port: 8443)")
    # Digits and dots alone were meant to be an IP address.
    if not HOST.fullmatch(value) or re.fullmatch(r"[\d.]+", value):
        raise ValueError(f"'{value}' is neither an IP address nor a host name")


def _text(value: object) -> object:
    """YAML reads 007 as 7: what was meant is not known any more."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError("YAML reads this as a number: put it in quotes")  # noqa: TRY004 - pydantic wants ValueError
    return value


def visible(value: object) -> object:
    """A name or a password; the value itself is never told."""
    if isinstance(value, str) and CONTROL.search(value):
        raise ValueError("has a line break or another control character in it")
    return value


def whole(value: object) -> object:
    """Digits in quotes are a number, too."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value) else value


def fits_ipmi(what: str, value: str) -> None:
    """Raises ValueError for a user name or a password that is too long for IPMI."""
    most, size = MOST_BYTES[what], len(value.encode())
    if size > most:
        raise ValueError(f"the {what} has {size} bytes, and IPMI has room for {most}")


def _address(value: str) -> str:
    """A host, or for Redfish also http(s)://HOST[:PORT]."""
    if "@" in value:  # the value is not told: a password may be in it
        raise ValueError("user and password do not belong into the address")
    if "://" not in value:
        return _host(value)
    found = URL.fullmatch(value)
    if not found:
        raise ValueError(f"'{value}' is not of the form https://HOST[:PORT]")
    scheme, host, port = found.groups()
    _host(_in_brackets(host) if host.startswith("[") else host)
    if port and not 1 <= int(port) <= HIGHEST_PORT:
        raise ValueError(f"'{value}': a port is from 1 to {HIGHEST_PORT}")
    return f"{scheme.lower()}://{host}" + (f":{port}" if port else "")


def _in_brackets(host: str) -> str:
    try:
        return str(IPv6Address(host[1:-1]))
    except ValueError:
        raise ValueError(f"'{host}' is no IPv6 address in brackets") from None


def _system(value: str) -> str:
    """The whole path of a system, however it was written."""
    path = value.rstrip("/")
    if not re.fullmatch(r"/\S+|[^/\s]+", path) or not path.isprintable() or path == SYSTEMS.rstrip("/"):
        raise ValueError(f"'{value}' is neither the name of a system (1) nor its path ({SYSTEMS}1)")
    return path if path.startswith("/") else SYSTEMS + path


def _verify_ca(value: object) -> object:
    if isinstance(value, bool | Path) or (isinstance(value, str) and value):
        return value
    raise ValueError("must be true, false, or the path of a file with the CA's certificate")


Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
Whole = Annotated[int, BeforeValidator(whole), Field(strict=True)]
Mac = Annotated[str, BeforeValidator(_text), AfterValidator(_mac)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Bmc(Model):
    """The node's management controller and how to log in to it."""

    address: Annotated[Text, AfterValidator(_address)]
    username: Annotated[Text, BeforeValidator(visible)]
    password: (
        Annotated[SecretStr, BeforeValidator(visible), BeforeValidator(_text), Field(min_length=1)] | None
    ) = None
    password_file: Path | None = None
    port: Annotated[Whole, Field(ge=1, le=HIGHEST_PORT)] | None = None
    # A path of this machine; Ironic is told another one (osbox.metal.authorities).
    verify_ca: Annotated[bool | Path, BeforeValidator(_verify_ca)] = True
    system_id: Annotated[Text, AfterValidator(_system)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("give one of password and password_file")
        if self.port is not None and "://" in self.address:
            raise ValueError("the port belongs into the address when that is a URL")
        return self

    @property
    def secret(self) -> str:
        """The password itself; load() has put password_file's content there."""
        assert self.password is not None  # noqa: S101 - load()'s promise
        return self.password.get_secret_value()

    @property
    def url(self) -> str:
        """Where Redfish answers: https unless the file says http."""
        if "://" in self.address:
            return self.address
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{host}" + (f":{self.port}" if self.port else "")

    @property
    def endpoint(self) -> tuple[str, int | None]:
        """Host and port in one spelling; None for the usual port, whose protocol may be any."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        try:
            address: IPv4Address | IPv6Address = ip_address(host)
        except ValueError:
            pass
        else:
            host = str(getattr(address, "ipv4_mapped", None) or address)
        return host, None if parts.port == DEFAULT_PORTS[parts.scheme] else parts.port
