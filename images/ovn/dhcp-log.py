#!/usr/bin/python3
"""dhcp-log INTERFACE: a line for each DHCP message that passes there, for `osbox explain`.

    DHCPDISCOVER 52:54:00:00:00:01
    DHCPOFFER 52:54:00:00:00:01 10.29.29.147 from 10.29.29.1

OVN tells of its own offers alone: who asked in vain, and who else answers, is not in its log. The kernel
hands over what is UDP to the ports 67 and 68 and nothing else.
"""

import ctypes
import socket
import struct
import sys
import time

ETH_P_ALL, SO_ATTACH_FILTER = 0x0003, 26  # linux/if_ether.h; asm-generic/socket.h
# linux/filter.h: IPv4, UDP, no later fragment, to port 67 or 68.
FILTER = [
    (0x28, 0, 0, 12),
    (0x15, 0, 8, 0x0800),
    (0x30, 0, 0, 23),
    (0x15, 0, 6, socket.IPPROTO_UDP),
    (0x28, 0, 0, 20),
    (0x45, 4, 0, 0x1FFF),
    (0xB1, 0, 0, 14),
    (0x48, 0, 0, 16),
    (0x15, 2, 0, 67),
    (0x15, 1, 0, 68),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0x40000),
]
KINDS = ("", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM")  # RFC 2132, 9.6
BOOTP, COOKIE = (
    240,
    b"\x63\x82\x53\x63",
)  # octets before the options, the last four of them these: RFC 2131, 3
KIND, REQUESTED, SERVER = 53, 50, 54
AGAIN_SECONDS = 1


def main(interface: str) -> None:
    while True:
        try:
            with listen(interface) as door:
                while True:
                    found = told(door.recv(2048))
                    if found:
                        print(found, flush=True)
        except OSError:  # there is no such interface now: `osbox net connect` makes it
            time.sleep(AGAIN_SECONDS)


def listen(interface: str) -> socket.socket:
    door = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    program = b"".join(struct.pack("HBBI", *one) for one in FILTER)
    text = ctypes.create_string_buffer(program, len(program))
    door.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(FILTER), ctypes.addressof(text))
    )
    door.bind((interface, ETH_P_ALL))
    return door


def told(frame: bytes) -> str:
    """The line of a frame; "" for what is no DHCP message."""
    message = frame[14 + (frame[14] & 0xF) * 4 + 8 :]
    if len(message) < BOOTP or message[BOOTP - 4 : BOOTP] != COOKIE:
        return ""
    options = parsed(message[BOOTP:])
    kind = options.get(KIND, b"\0")[0]
    if not 0 < kind < len(KINDS):
        return ""
    mac = message[28:34].hex(":")
    own, your = message[12:16], message[16:20]
    address = your if any(your) else options.get(REQUESTED, own)
    server = options.get(SERVER, b"")
    words = [f"DHCP{KINDS[kind]}", mac]
    words += [socket.inet_ntoa(address)] if len(address) == 4 and any(address) else []  # noqa: PLR2004 - octets
    words += ["from" if message[0] == 2 else "to", socket.inet_ntoa(server)] if len(server) == 4 else []  # noqa: PLR2004
    return " ".join(words)


def parsed(data: bytes) -> dict[int, bytes]:
    """The options; what is cut off is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:  # noqa: PLR2004 - the end, RFC 2132, 3.2
        if data[at] == 0:
            at += 1
            continue
        length = data[at + 1]
        value = data[at + 2 : at + 2 + length]
        if len(value) == length and value:
            found.setdefault(data[at], value)
        at += 2 + length
    return found


if __name__ == "__main__":
    main(sys.argv[1])
