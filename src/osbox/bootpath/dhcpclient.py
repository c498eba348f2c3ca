"""A DHCP client without an address: it sends from a port of our own on the bridge and hears every answer."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from osbox.bootpath import dhcp, frames
from osbox.bootpath import port as bridgeport
from osbox.bootpath.dhcp import Kind, Message
from osbox.bootpath.port import Port
from osbox.metal.firmware import BootMode

REPEAT_SECONDS = 1.5  # a ROM waits 1, 2, 4, 8 s


@dataclass(frozen=True)
class Answer:
    """A server's answer: after how many seconds, and the sender as the frame names it."""

    message: Message
    seconds: float
    address: str
    mac: str


def discover(
    port: Port, mac: str, firmware: BootMode, *, ipxe: bool, seconds: float
) -> tuple[Message, list[Answer]]:
    """Ask as a node of that MAC address does; returns what was sent and the first offer, if any comes in that
    time."""
    asked = dhcp.discover(mac, firmware, int.from_bytes(os.urandom(4)), ipxe=ipxe)
    return asked, exchange(port, asked, {Kind.OFFER}, seconds, enough=bool)


def exchange(
    port: Port,
    message: Message,
    kinds: set[Kind],
    seconds: float,
    *,
    enough: Callable[[list[Answer]], bool] = lambda _: False,
) -> list[Answer]:
    """Send a message, again now and then, and return the answers of these kinds, until they are enough or the
    time is over.

    The frame comes from the MAC address that the message speaks for: OVN knows a port by the sender of its
    frames. The bridge learns it here, and sends that node's frames to us until it says something itself, or
    until our port is gone, with which the bridge forgets what it learned there.
    """
    frame = frames.udp(
        dhcp.encode(message), mac=message.mac, source_port=dhcp.CLIENT_PORT, target_port=dhcp.SERVER_PORT
    )
    found: list[Answer] = []
    with port.listen() as door:
        begin = time.monotonic()
        while (now := time.monotonic()) - begin < seconds:
            door.send(frame)
            until = min(REPEAT_SECONDS, begin + seconds - now)
            for answer in _answers(door, message.xid, begin, until):
                known = any(
                    (one.address, one.message.server) == (answer.address, answer.message.server)
                    for one in found
                )
                if answer.message.kind in kinds and not known:
                    found.append(answer)
                if enough(found):
                    return found
    return found


def _answers(door: socket.socket, xid: int, begin: float, seconds: float) -> Iterator[Answer]:
    for raw in bridgeport.incoming(door, seconds):
        seen = frames.read_udp(raw)
        if seen is None or seen.target_port != dhcp.CLIENT_PORT:
            continue
        try:
            message = dhcp.decode(seen.payload)
        except ValueError:
            continue
        if message.op == dhcp.REPLY_OP and message.xid == xid:
            yield Answer(message, time.monotonic() - begin, seen.source, seen.mac)
