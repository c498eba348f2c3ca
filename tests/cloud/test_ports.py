"""Ports that are taken, for real: sockets on loopback."""

import os
import socket
from ipaddress import IPv4Address, IPv4Network

import pytest

from osbox.cloud import ports
from osbox.cloud.services import FRONT
from osbox.errors import UserError
from osbox.site.site import Site

# Addresses that every machine has; no site.toml may have such a subnet.
SITE = Site.model_validate({"loopback": "127.0.77.1"}).model_copy(
    update={"subnet": IPv4Network("127.0.78.0/24")}
)
HOLDER = "python"


def test_free_ports_are_no_error() -> None:
    ports.require_free(SITE, running=set())


@pytest.mark.parametrize(
    ("kind", "address", "port", "service"),
    [
        (socket.SOCK_STREAM, "127.0.77.1", 8774, "front"),
        (socket.SOCK_STREAM, "127.0.78.1", 8090, "ipxe-httpd"),
        pytest.param(socket.SOCK_DGRAM, "127.0.78.1", 69, "pxe-tftp", marks=pytest.mark.root),
    ],
)
def test_a_taken_port_names_its_holder(
    kind: socket.SocketKind, address: str, port: int, service: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((address, port))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        with pytest.raises(UserError) as error:
            ports.require_free(SITE, running=set())
        assert f"port {port}/" in error.value.message
        assert service in error.value.message
        assert f"pid {os.getpid()}" in error.value.evidence
        ports.require_free(SITE, running={service})


def test_the_rack_has_a_port_of_its_own() -> None:
    with pytest.raises(UserError, match=r"redfish_port = 6385 in site\.toml is the port of front"):
        ports.require_free(SITE.model_copy(update={"redfish_port": 6385}), running={"front"})


def test_boot_services_are_not_on_loopback() -> None:
    found = {(service, address) for service, address, _, _ in ports.published(SITE)}
    assert ("ipxe-httpd", "127.0.77.1") not in found
    assert {("front", "127.0.77.1"), ("ipxe-httpd", "127.0.78.1"), ("autodns", "127.0.78.1")} <= found


def test_listening_address_is_checked_too() -> None:
    listening = SITE.model_copy(update={"listen": IPv4Address("127.0.79.1")})
    found = {address for service, address, _, _ in ports.published(listening) if service == FRONT}
    assert found == {"127.0.77.1", "127.0.78.1", "127.0.79.1"}
