"""A management controller as nodes.yaml names it, and the words for addresses. Pure."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def _mac(value: str) -> str:
    mac = value.strip().lower().replace("-", ":")
    if not MAC.fullmatch(mac):
        raise ValueError(
            f"'{value}' is not a MAC address (six pairs of hexadecimal digits: 52:54:00:12:34:56)"
        )
    if mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1:
        raise ValueError(f"'{value}' is not the address of one network card")
    return mac


def _host(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        # Digits and dots alone were meant to be an IP address.
        if not HOST.fullmatch(value) or re.fullmatch(r"[\d.]+", value):
            raise ValueError(f"'{value}' is neither an IP address nor a host name") from None
    return value


def _text(value: object) -> object:
    """YAML reads 007 as 7: what was meant is not known any more."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError("YAML reads this as a number: put it in quotes")  # noqa: TRY004 - pydantic wants ValueError
    return value


def _address(value: str) -> str:
    """A host, or for Redfish also http(s)://HOST[:PORT]."""
    if "://" not in value:
        return _host(value)
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError("user and password do not belong into the address")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"'{value}' is not of the form https://HOST[:PORT]")
    _host(parts.hostname)
    return value.rstrip("/")


def _verify_ca(value: object) -> object:
    if isinstance(value, bool | Path) or (isinstance(value, str) and value):
        return value
    raise ValueError("must be true, false, or the path of a file with the CA's certificate")


Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
Mac = Annotated[str, BeforeValidator(_text), AfterValidator(_mac)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Bmc(Model):
    """The node's management controller and how to log in to it."""

    address: Annotated[Text, AfterValidator(_address)]
    username: Text
    password: Annotated[SecretStr, BeforeValidator(_text), Field(min_length=1)] | None = None
    password_file: Path | None = None
    port: int | None = Field(None, ge=1, le=65535)
    # A path of this machine; Ironic is told another one (osbox.metal.authorities).
    verify_ca: Annotated[bool | Path, BeforeValidator(_verify_ca)] = True
    system_id: str | None = Field(None, pattern=r"^/\S+$|^[^/\s]+$")

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
