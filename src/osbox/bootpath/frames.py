"""Ethernet frames as bytes: UDP over IPv4, and ARP. Pure.

They are made here because a node that has no address yet cannot use the kernel's sockets, and neither can who
plays one.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

ETHER_IP, ETHER_ARP = 0x0800, 0x0806
BROADCAST = "ff:ff:ff:ff:ff:ff"
UDP = 17
TTL = 64
ARP_REQUEST, ARP_REPLY = 1, 2
NOBODY = "0.0.0.0"  # noqa: S104 - no address yet
ETHERNET_BYTES, IP_BYTES, UDP_BYTES, ARP_BYTES = 14, 20, 8, 28


@dataclass(frozen=True)
class Datagram:
    """A UDP datagram as it was seen on the wire."""

    mac: str
    """Of the sender."""
    source: str
    target: str
    source_port: int
    target_port: int
    payload: bytes


@dataclass(frozen=True)
class Arp:
    """An ARP packet: who says (or asks) what of which address."""

    operation: int
    mac: str
    address: str
    target: str


def mac_bytes(text: str) -> bytes:
    """Raises ValueError when it is no MAC address, with `:` or `-` between its parts."""
    raw = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if len(raw) != 6:  # noqa: PLR2004 - octets of a MAC address
        raise ValueError(f"{text} is no MAC address")
    return raw


def mac_text(raw: bytes) -> str:
    return raw.hex(":")


def udp(
    payload: bytes,
    *,
    mac: str,
    target_mac: str = BROADCAST,
    source: str = NOBODY,
    target: str = "255.255.255.255",
    source_port: int,
    target_port: int,
) -> bytes:
    """A whole frame. Its UDP checksum is 0, which RFC 768 lets mean: none."""
    length = UDP_BYTES + len(payload)
    addresses = IPv4Address(source).packed + IPv4Address(target).packed
    head = struct.pack(">BBHHHBBH", 0x45, 0, IP_BYTES + length, 0, 0, TTL, UDP, 0) + addresses
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return (
        mac_bytes(target_mac)
        + mac_bytes(mac)
        + struct.pack(">H", ETHER_IP)
        + head
        + struct.pack(">HHHH", source_port, target_port, length, 0)
        + payload
    )


def read_udp(frame: bytes) -> Datagram | None:
    """The datagram in a frame; None when there is another thing, a fragment or half of one in it."""
    kind, packet = frame[12:14], frame[ETHERNET_BYTES:]
    if kind != struct.pack(">H", ETHER_IP) or len(packet) < IP_BYTES or packet[9] != UDP:
        return None
    start = (packet[0] & 0x0F) * 4
    fragment = struct.unpack_from(">H", packet, 6)[0] & 0x3FFF
    if fragment or len(packet) < start + UDP_BYTES:
        return None
    source_port, target_port, length = struct.unpack_from(">HHH", packet, start)
    payload = packet[start + UDP_BYTES : start + length]
    if len(payload) != length - UDP_BYTES:
        return None
    source, target = str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
    return Datagram(mac_text(frame[6:12]), source, target, source_port, target_port, payload)


def probe(mac: str, address: str) -> bytes:
    """The question who has an address, of somebody without one: it disturbs nobody's tables (RFC 5227)."""
    return arp(operation=ARP_REQUEST, mac=mac, address=NOBODY, target=address)


def arp(*, operation: int, mac: str, address: str, target: str, target_mac: str = BROADCAST) -> bytes:
    """A whole frame."""
    known = bytes(6) if target_mac == BROADCAST else mac_bytes(target_mac)
    body = struct.pack(">HHBBH", 1, ETHER_IP, 6, 4, operation) + mac_bytes(mac) + IPv4Address(address).packed
    return (
        mac_bytes(target_mac)
        + mac_bytes(mac)
        + struct.pack(">H", ETHER_ARP)
        + body
        + known
        + IPv4Address(target).packed
    )


def read_arp(frame: bytes) -> Arp | None:
    body = frame[ETHERNET_BYTES : ETHERNET_BYTES + ARP_BYTES]
    if frame[12:14] != struct.pack(">H", ETHER_ARP) or len(body) < ARP_BYTES:
        return None
    operation = struct.unpack_from(">H", body, 6)[0]
    return Arp(operation, mac_text(body[8:14]), str(IPv4Address(body[14:18])), str(IPv4Address(body[24:28])))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
