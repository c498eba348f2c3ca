"""What the files of a network boot look like from their first bytes. Pure."""

import struct
from collections.abc import Mapping

from osbox.metal.firmware import BootMode

LOADERS: Mapping[BootMode, str] = {BootMode.BIOS: "undionly.kpxe", BootMode.UEFI: "snponly.efi"}
"""As images/ironic's ironic.conf names them."""
PE = b"MZ"
HEADER = 512  # bytes; no loader is as small as its own head
LINUX_AT, LINUX = 0x202, b"HdrS"  # the kernel's Documentation/arch/x86/boot.rst
ARM64_AT, ARM64 = 0x38, b"ARM\x64"  # Documentation/arch/arm64/booting.rst
RAMDISKS: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x5d\0\0": "lzma",
    b"070701": "cpio",
    b"070702": "cpio",
}


def is_loader(content: bytes, firmware: BootMode) -> bool:
    """Whether a firmware can start it: UEFI takes PE files, a BIOS takes anything else."""
    return len(content) > HEADER and content.startswith(PE) == (firmware is BootMode.UEFI)


def kernel(head: bytes) -> str:
    """The kind of a kernel with its protocol's version; "" when it is none."""
    if head[LINUX_AT : LINUX_AT + 4] == LINUX:
        minor, major = struct.unpack_from("BB", head, LINUX_AT + 4)
        return f"Linux x86, boot protocol {major}.{minor:02}"
    return "Linux arm64" if head[ARM64_AT : ARM64_AT + 4] == ARM64 else ""


def ramdisk(head: bytes) -> str:
    """How a ramdisk is packed; "" when the kernel could not unpack it."""
    return next((f"ramdisk, {kind}" for magic, kind in RAMDISKS.items() if head.startswith(magic)), "")
