"""Does a frame cross the provisioning bridge, and do nodes reach the host? Tried with frames of our own,
between ports of our own."""

import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from osbox.bootpath import frames
from osbox.bootpath import port as bridgeport
from osbox.bootpath.port import Port

TRIAL_PORT = 9  # discard (RFC 863): whoever else gets the frame has no use for it
SECONDS = 1.0
CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class Crossing:
    """What came through from one port of the bridge to another, of a broadcast ARP packet and of a UDP
    datagram."""

    arp: bool
    udp: bool


def crossing(one: Port, other: Port, address: str) -> Crossing:
    """Send both kinds of frame from one port and see what the other hears.

    address names the probe; nobody answers for it.
    """
    token = os.urandom(8)
    with one.listen() as sender, other.listen() as hearer:
        sender.send(frames.probe(one.mac, address))
        sender.send(frames.udp(token, mac=one.mac, source_port=TRIAL_PORT, target_port=TRIAL_PORT))
        arp = udp = False
        for raw in bridgeport.incoming(hearer, SECONDS):
            heard, seen = frames.read_arp(raw), frames.read_udp(raw)
            arp = arp or bool(heard and heard.mac == one.mac)
            udp = udp or bool(seen and seen.payload == token)
            if arp and udp:
                break
    return Crossing(arp, udp)


def across(bridge: str, address: str) -> Crossing:
    """The same between two ports that are there for the moment."""
    with bridgeport.plugged(bridge) as one, bridgeport.plugged(bridge) as other:
        return crossing(one, other, address)


def connections(port: Port, address: str, numbers: Iterable[int]) -> dict[int, str]:
    """Connect from a port with an address to TCP ports of the host; by number the reason why not, "" when it
    was accepted."""
    return {number: port.call(lambda number=number: _connect(address, number)) for number in numbers}  # type: ignore[misc]


def _connect(address: str, number: int) -> str:
    begin = time.monotonic()
    try:
        with socket.create_connection((address, number), timeout=CONNECT_SECONDS):
            return ""
    except OSError as error:
        return error.strerror or f"no answer within {time.monotonic() - begin:.0f} s"
