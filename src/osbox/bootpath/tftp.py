"""A TFTP client as boot ROMs are: octet mode with the options tsize and blksize (RFC 1350, 2347, 2348,
2349)."""

import socket
import struct
import time
from dataclasses import dataclass

READ, DATA, ACK, ERROR, OPTIONS = 1, 3, 4, 5, 6
PORT = 69
BLOCK_BYTES = 1432  # what iPXE asks for: the most that fits into an Ethernet frame
PLAIN_BYTES = 512  # a block where the server knows no options
TRIES, WAIT_SECONDS = 3, 1.0
LARGEST = 64 << 20  # bytes; a loader has one or two hundred thousand


class Refused(OSError):  # noqa: N818 - no error of ours: an answer
    """The server's own word: `code` 1 is "file not found", 2 "access violation" (RFC 1350)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Transfer:
    """A file, and what the server said of it first (None: the server knows no options)."""

    content: bytes
    announced: int | None
    block: int


def fetch(server: str, name: str, *, port: int = PORT) -> Transfer:
    """The whole file. Raises Refused, TimeoutError or another OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.settimeout(WAIT_SECONDS)
        ask = struct.pack(">H", READ) + b"\0".join(
            (name.encode(), b"octet", b"tsize", b"0", b"blksize", b"%d" % BLOCK_BYTES, b"")
        )
        packet, peer = _exchange(door, ask, (server, port), {OPTIONS: 0, DATA: 1})
        options = _options(packet) if _code(packet) == OPTIONS else {}
        announced = int(options["tsize"]) if options.get("tsize", "").isdigit() else None
        block = int(options.get("blksize", PLAIN_BYTES))
        parts = list[bytes]()
        if _code(packet) == OPTIONS:
            packet, peer = _exchange(door, _ack(0), peer, {DATA: 1})
        while True:
            parts.append(packet[4:])
            number = len(parts)
            if len(packet) - 4 < block:
                door.sendto(_ack(number), peer)
                return Transfer(b"".join(parts), announced, block)
            if number * block > LARGEST:
                raise OSError(f"more than {LARGEST >> 20} MiB came: no boot loader")
            packet, peer = _exchange(door, _ack(number), peer, {DATA: number + 1})


def _exchange(
    door: socket.socket, packet: bytes, peer: tuple[str, int], expected: dict[int, int]
) -> tuple[bytes, tuple[str, int]]:
    """Send, and again when nothing comes; returns the wanted packet (opcode, and of DATA the block) and who
    sent it.

    The first answer may come from another port than 69: the transfer goes on with that one.
    """
    for _ in range(TRIES):
        door.sendto(packet, peer)
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                answer, sender = door.recvfrom(65535)
            except TimeoutError:
                break
            if sender[0] != peer[0]:
                continue
            code = _code(answer)
            if code == ERROR:
                raise Refused(
                    struct.unpack(">H", answer[2:4])[0],
                    answer[4:].partition(b"\0")[0].decode(errors="replace"),
                )
            if code in expected and (
                code != DATA or struct.unpack(">H", answer[2:4])[0] == expected[code] & 0xFFFF
            ):
                return answer, sender
    raise TimeoutError(f"no answer to {TRIES} packets within {TRIES * WAIT_SECONDS:.0f} s")


def _code(packet: bytes) -> int:
    return int(struct.unpack(">H", packet[:2])[0]) if len(packet) >= 4 else 0  # noqa: PLR2004 - opcode and a word


def _ack(number: int) -> bytes:
    return struct.pack(">HH", ACK, number & 0xFFFF)


def _options(packet: bytes) -> dict[str, str]:
    words = packet[2:].decode(errors="replace").split("\0")
    return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=False)}
