"""DHCP as bytes and as values: what a network card's boot ROM sends, what a server answers. Pure.

RFC 2131 (the message), RFC 2132 (options), RFC 3396 (long options), RFC 4578 (options 93, 94 and 97 of PXE);
iPXE adds 175.
"""

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address

from osbox.bootpath.frames import NOBODY, mac_bytes, mac_text
from osbox.metal.firmware import BootMode

SERVER_PORT, CLIENT_PORT = 67, 68
REQUEST_OP, REPLY_OP = 1, 2
COOKIE = b"\x63\x82\x53\x63"  # RFC 2131, section 3
FIXED = struct.Struct(">BBBBIHH4s4s4s4s16s64s128s")
BROADCAST_FLAG = 0x8000
PAD, END = 0, 255
ARCHITECTURES: Mapping[BootMode, int] = {BootMode.BIOS: 0, BootMode.UEFI: 7}
"""Option 93 as firmware sends it: 0 is an x86 BIOS; 7 is x86-64 UEFI, which RFC 4578 called EFI BC."""
UNDI: Mapping[BootMode, bytes] = {BootMode.BIOS: b"\x01\x02\x01", BootMode.UEFI: b"\x01\x03\x01"}
# As they were seen on the wire: what OVMF asks for when it boots, and iPXE, with the features that it tells
# of (option 175).
ROM_WANTS = bytes.fromhex("0102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687")
IPXE_WANTS = bytes.fromhex("010306070c0f111a2a2b3c4243778081828384858687afcb")
IPXE_FEATURES = bytes.fromhex(
    "b105011af41000eb03010000260101170101270101220101130101140101110101190101290101100102210101150101120101180101"
)


class Kind(IntEnum):
    """Option 53, the message's type."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7


class Code(IntEnum):
    """The options that matter to a boot."""

    REQUESTED_ADDRESS = 50
    LEASE_SECONDS = 51
    OVERLOAD = 52
    KIND = 53
    SERVER = 54
    WANTED = 55
    LARGEST = 57
    VENDOR_CLASS = 60
    SERVER_NAME = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    ARCHITECTURE = 93
    INTERFACE = 94
    MACHINE = 97
    TFTP_SERVERS = 150
    IPXE = 175


@dataclass(frozen=True)
class Message:
    """A DHCP message; addresses as text, options by number."""

    op: int
    xid: int
    mac: str
    options: Mapping[int, bytes] = field(default_factory=dict)
    flags: int = 0
    address: str = NOBODY
    """yiaddr: the address that is offered."""
    next_server: str = NOBODY
    """siaddr: where the boot file is."""
    server_name: str = ""
    file: str = ""

    @property
    def kind(self) -> Kind | None:
        value = self.options.get(Code.KIND, b"")
        return Kind(value[0]) if len(value) == 1 and value[0] in set(Kind) else None

    @property
    def server(self) -> str:
        """Who sent it, by its own word (option 54); "" when it does not say."""
        value = self.options.get(Code.SERVER, b"")
        return str(IPv4Address(value)) if len(value) == 4 else ""  # noqa: PLR2004 - an IPv4 address

    @property
    def boot_file(self) -> str:
        """Option 67, else the field `file`, which is as good."""
        return _text(self.options.get(Code.BOOT_FILE, b"")) or self.file

    @property
    def boot_server(self) -> str:
        """Where the boot file is: siaddr, as ROMs and iPXE read it; else what options 150 and 66 say."""
        if self.next_server != NOBODY:
            return self.next_server
        servers = self.options.get(Code.TFTP_SERVERS, b"")
        if len(servers) >= 4:  # noqa: PLR2004 - an IPv4 address
            return str(IPv4Address(servers[:4]))
        return _text(self.options.get(Code.SERVER_NAME, b"")) or self.server_name


def encode(message: Message) -> bytes:
    """The message as it goes over the wire. An option of more than 255 bytes is cut in parts."""
    options = b"".join(
        bytes((code, len(value[at : at + 255]))) + value[at : at + 255]
        for code, value in message.options.items()
        for at in range(0, max(len(value), 1), 255)
    )
    empty = IPv4Address(NOBODY).packed
    head = FIXED.pack(
        message.op,
        1,
        6,
        0,
        message.xid,
        0,
        message.flags,
        empty,
        IPv4Address(message.address).packed,
        IPv4Address(message.next_server).packed,
        empty,
        mac_bytes(message.mac),
        message.server_name.encode(),
        message.file.encode(),
    )
    return (head + COOKIE + options + bytes((END,))).ljust(300, b"\0")  # BOOTP relays want 300 bytes


def decode(raw: bytes) -> Message:
    """The message in a datagram; raises ValueError when there is none."""
    if len(raw) < FIXED.size + len(COOKIE) or raw[FIXED.size : FIXED.size + 4] != COOKIE:
        raise ValueError("no DHCP message")
    op, _, length, _, xid, _, flags, _, yours, server, _, hardware, name, file = FIXED.unpack_from(raw)
    options = _options(raw[FIXED.size + len(COOKIE) :])
    overload = options.get(Code.OVERLOAD, b"\0")[:1]
    if overload in (b"\1", b"\3"):
        options |= _options(file)
    if overload in (b"\2", b"\3"):
        options |= _options(name)
    return Message(
        op=op,
        xid=xid,
        mac=mac_text(hardware[: min(length, 6)]),
        options=options,
        flags=flags,
        address=str(IPv4Address(yours)),
        next_server=str(IPv4Address(server)),
        server_name="" if overload in (b"\2", b"\3") else _text(name),
        file="" if overload in (b"\1", b"\3") else _text(file),
    )


def _options(raw: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(raw) and raw[at] != END:
        if raw[at] == PAD:
            at += 1
            continue
        if at + 1 >= len(raw) or at + 2 + raw[at + 1] > len(raw):
            raise ValueError(f"option {raw[at]} is cut off")
        found[raw[at]] = found.get(raw[at], b"") + raw[at + 2 : at + 2 + raw[at + 1]]
        at += 2 + raw[at + 1]
    return found


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="replace")


def discover(mac: str, firmware: BootMode, xid: int, *, ipxe: bool) -> Message:
    """What a network card's ROM sends first, or iPXE when it is already that.

    The answer is asked for as a broadcast.
    """
    arch = ARCHITECTURES[firmware]
    # An identity that is the same each time for a MAC address, as a machine's is.
    machine = b"\0" + uuid.uuid5(uuid.NAMESPACE_OID, mac.lower()).bytes
    options = {
        Code.KIND: bytes((Kind.DISCOVER,)),
        Code.LARGEST: struct.pack(">H", 1472),
        Code.WANTED: IPXE_WANTS if ipxe else ROM_WANTS,
        Code.VENDOR_CLASS: (
            f"PXEClient:Arch:{arch:05}:UNDI:00{UNDI[firmware][1]}{UNDI[firmware][2]:03}".encode()
        ),
        Code.ARCHITECTURE: struct.pack(">H", arch),
        Code.INTERFACE: UNDI[firmware],
        Code.MACHINE: machine,
    }
    if ipxe:
        options |= {Code.USER_CLASS: b"iPXE", Code.IPXE: IPXE_FEATURES}
    return Message(
        REQUEST_OP,
        xid,
        mac.lower(),
        {int(code): value for code, value in options.items()},
        flags=BROADCAST_FLAG,
    )


def request(asked: Message, offer: Message) -> Message:
    """What a client sends to take an offer."""
    options = {
        **asked.options,
        int(Code.KIND): bytes((Kind.REQUEST,)),
        int(Code.SERVER): offer.options[Code.SERVER],
        int(Code.REQUESTED_ADDRESS): IPv4Address(offer.address).packed,
    }
    return Message(REQUEST_OP, asked.xid, asked.mac, options, flags=asked.flags)
