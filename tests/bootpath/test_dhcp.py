"""DHCP messages and frames as bytes: ours, and those that were seen on a wire."""

import struct

import pytest

from osbox.bootpath import dhcp, frames
from osbox.bootpath.dhcp import Code, Kind, Message
from osbox.metal.firmware import BootMode
from tests.conftest import PROJECT

MAC = "52:54:00:12:34:56"


@pytest.mark.parametrize(
    ("firmware", "arch", "vendor"),
    [
        (BootMode.BIOS, 0, b"PXEClient:Arch:00000:UNDI:002001"),
        (BootMode.UEFI, 7, b"PXEClient:Arch:00007:UNDI:003001"),
    ],
)
@pytest.mark.parametrize("ipxe", [False, True])
def test_what_firmware_sends(firmware: BootMode, arch: int, vendor: bytes, ipxe: bool) -> None:
    seen = dhcp.decode(dhcp.encode(dhcp.discover(MAC.upper(), firmware, 0x01020304, ipxe=ipxe)))
    assert (seen.kind, seen.mac, seen.xid, seen.flags) == (
        Kind.DISCOVER,
        MAC,
        0x01020304,
        dhcp.BROADCAST_FLAG,
    )
    assert seen.options[Code.ARCHITECTURE] == struct.pack(">H", arch)
    assert seen.options[Code.VENDOR_CLASS] == vendor
    assert len(seen.options[Code.MACHINE]) == 17
    assert (Code.USER_CLASS in seen.options, Code.IPXE in seen.options) == (ipxe, ipxe)
    assert {Code.SERVER_NAME, Code.BOOT_FILE} <= set(seen.options[Code.WANTED])


def seen(name: str) -> frames.Datagram:
    """A frame that was captured on the provisioning bridge of a cloud: rack nodes asking, Neutron's dnsmasq
    answering."""
    rows = dict(
        line.split()
        for line in (PROJECT / "tests" / "cases" / "dhcp-frames.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    found = frames.read_udp(bytes.fromhex(rows[name]))
    assert found
    return found


@pytest.mark.parametrize(
    ("name", "firmware", "ipxe"),
    [("ipxe-discover", BootMode.BIOS, True), ("ovmf-discover", BootMode.UEFI, False)],
)
def test_we_ask_as_real_firmware_asks(name: str, firmware: BootMode, ipxe: bool) -> None:
    real = dhcp.decode(seen(name).payload)
    ours = dhcp.discover(real.mac, firmware, real.xid, ipxe=ipxe)
    assert real.kind is Kind.DISCOVER
    for code in (
        Code.VENDOR_CLASS,
        Code.ARCHITECTURE,
        Code.INTERFACE,
        Code.WANTED,
        Code.USER_CLASS,
        Code.IPXE,
    ):
        assert ours.options.get(code) == real.options.get(code), code.name
    assert len(ours.options[Code.MACHINE]) == len(real.options[Code.MACHINE])


def test_what_neutron_offers_is_read() -> None:
    answer = seen("neutron-offer")
    offer = dhcp.decode(answer.payload)
    assert (offer.kind, offer.server, offer.boot_file, offer.boot_server) == (
        Kind.OFFER,
        answer.source,
        "undionly.kpxe",
        "10.29.52.1",
    )
    assert int.from_bytes(offer.options[Code.LEASE_SECONDS]) == 86400
    assert dhcp.decode(dhcp.encode(offer)).options == offer.options


def test_a_request_names_what_was_offered() -> None:
    asked = dhcp.discover(MAC, BootMode.BIOS, 7, ipxe=False)
    offer = Message(2, 7, MAC, {Code.KIND: b"\2", Code.SERVER: bytes((10, 0, 0, 2))}, address="10.0.0.30")
    taken = dhcp.decode(dhcp.encode(dhcp.request(asked, offer)))
    assert (taken.kind, taken.xid, taken.server) == (Kind.REQUEST, 7, "10.0.0.2")
    assert taken.options[Code.REQUESTED_ADDRESS] == bytes((10, 0, 0, 30))


def test_a_long_option_is_cut_and_put_together() -> None:
    long = bytes(range(256)) * 2
    assert dhcp.decode(dhcp.encode(Message(2, 1, MAC, {43: long, Code.KIND: b"\2"}))).options[43] == long


def test_fields_that_hold_options() -> None:
    raw = bytearray(
        dhcp.encode(Message(2, 1, MAC, {Code.KIND: b"\2", Code.OVERLOAD: b"\3"}, server_name="x", file="y"))
    )
    raw[44:108] = bytes((Code.SERVER_NAME, 3)) + b"abc" + b"\xff" + bytes(58)
    raw[108:236] = bytes((Code.BOOT_FILE, 4)) + b"file" + b"\xff" + bytes(121)
    seen = dhcp.decode(bytes(raw))
    assert (seen.boot_server, seen.boot_file, seen.server_name, seen.file) == ("abc", "file", "", "")


def test_where_the_boot_file_is() -> None:
    assert Message(2, 1, MAC, {}, next_server="10.0.0.1", server_name="other").boot_server == "10.0.0.1"
    assert (
        Message(2, 1, MAC, {Code.TFTP_SERVERS: bytes((10, 0, 0, 9)), Code.SERVER_NAME: b"n"}).boot_server
        == "10.0.0.9"
    )
    assert Message(2, 1, MAC, {Code.SERVER_NAME: b"name\0"}).boot_server == "name"
    assert Message(2, 1, MAC, {}, file="old").boot_file == "old"


@pytest.mark.parametrize(
    "raw", [b"", bytes(300), dhcp.encode(Message(2, 1, MAC, {Code.KIND: b"\2"}))[:240] + b"\x43\x09abc"]
)
def test_rubbish_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"DHCP|cut off"):
        dhcp.decode(raw)


def test_a_frame_comes_back_as_it_went() -> None:
    frame = frames.udp(
        b"hello", mac=MAC, source="10.0.0.1", target="10.0.0.2", source_port=67, target_port=68
    )
    assert frames.checksum(frame[14:34]) == 0, "a right checksum sums up to nothing"
    assert frames.read_udp(frame) == frames.Datagram(MAC, "10.0.0.1", "10.0.0.2", 67, 68, b"hello")
    assert frames.read_udp(frame[:-1]) is None
    fragment = bytearray(frame)
    fragment[20] = 0x20
    assert frames.read_udp(bytes(fragment)) is None
    assert frames.read_arp(frame) is None


def test_arp_comes_back_as_it_went() -> None:
    frame = frames.arp(
        operation=frames.ARP_REPLY,
        mac=MAC,
        address="10.0.0.1",
        target="10.0.0.2",
        target_mac="02:00:00:00:00:01",
    )
    assert frames.read_arp(frame) == frames.Arp(frames.ARP_REPLY, MAC, "10.0.0.1", "10.0.0.2")
    assert frames.read_udp(frame) is None
    with pytest.raises(ValueError, match="no MAC address"):
        frames.mac_bytes("52:54:00")
