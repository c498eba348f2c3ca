"""What a file is by its first bytes: a disk that a node can be given, a packed one, or something else. Pure.

Names are those of file(1) and of `qemu-img convert -f`. Offsets and magic numbers: file(1)'s magic, QEMU's
block/*.c and docs/interop/qcow2.txt, UEFI 2.10 (GPT), ECMA-119 (ISO 9660), the kernel's
Documentation/arch/x86/boot.rst.
"""

import struct
from dataclasses import dataclass
from typing import Literal

HEAD = 1 << 20
"""So many first bytes are looked at: the farthest magic number, Btrfs's, is at 64 KiB."""
Use = Literal["disk", "bare", "packed", "convert", "unpack", "medium", "locked", "secret", "no"]
"""disk: a whole disk; bare: a file system and no partition table; packed: a compressed file; convert: a disk
of another hypervisor; unpack: an archive, or packed by what is not unpacked here; medium: a CD or DVD;
locked: encrypted as a whole; secret: a disk file that is encrypted; no: not for a disk.

A medium that boots as a disk, too, and a locked disk Glance refuses (HTTP 415) also as raw ones: oslo_utils
finds two formats in the one and no version that it knows in the other.
"""
KNOWN_FEATURES = 0b11111
"""Of a qcow2 disk: dirty, corrupt, data in another file, compression, extended L2 entries."""
SHOWN = 48  # bytes of what nobody knows


@dataclass(frozen=True)
class Kind:
    """name: Glance's word for a disk (raw, qcow2), else that of the format."""

    name: str
    use: Use
    words: str


@dataclass(frozen=True)
class _Magic:
    at: int
    magic: bytes
    kind: Kind


def _m(at: int, magic: bytes, name: str, use: Use, words: str) -> _Magic:
    return _Magic(at, magic, Kind(name, use, words))


MAGIC = (
    _m(0, b"\xfd7zXZ\0", "xz", "packed", "an xz file"),
    _m(0, b"\x1f\x8b\x08", "gzip", "packed", "a gzip file"),
    _m(0, b"\x28\xb5\x2f\xfd", "zstd", "packed", "a zstd file"),
    # A frame that is skipped comes first in what pzstd packed.
    *(_m(0, bytes([n]) + b"\x2a\x4d\x18", "zstd", "packed", "a zstd file") for n in range(0x50, 0x60)),
    _m(0, b"BZh", "bzip2", "packed", "a bzip2 file"),
    _m(0, b"QFI\xfb", "qcow2", "disk", "a qcow2 disk"),
    _m(0, b"KDMV", "vmdk", "convert", "a VMware disk (vmdk)"),
    _m(0, b"COWD", "vmdk", "convert", "a VMware disk (vmdk)"),
    _m(0, b"# Disk DescriptorFile", "vmdk", "convert", "the description of a VMware disk (vmdk)"),
    _m(0x40, b"\x7f\x10\xda\xbe", "vdi", "convert", "a VirtualBox disk (vdi)"),
    _m(0, b"vhdxfile", "vhdx", "convert", "a Hyper-V disk (vhdx)"),
    _m(0, b"conectix", "vpc", "convert", "a Virtual PC disk (vhd)"),
    _m(0, b"QED\0", "qed", "convert", "a QEMU disk (qed)"),
    _m(0, b"WithoutFreeSpace", "parallels", "convert", "a Parallels disk"),
    _m(0, b"WithouFreSpacExt", "parallels", "convert", "a Parallels disk"),
    _m(0, b"PK\x03\x04", "zip", "unpack", "a zip archive"),
    _m(0, b"7z\xbc\xaf\x27\x1c", "7z", "unpack", "a 7z archive"),
    _m(0, b"Rar!\x1a\x07", "rar", "unpack", "a rar archive"),
    _m(257, b"ustar", "tar", "unpack", "a tar archive"),
    _m(0, b"\x04\x22\x4d\x18", "lz4", "unpack", "an lz4 file"),
    _m(0, b"LZIP\x01", "lzip", "unpack", "an lzip file"),
    _m(0, b"\x89LZO\0\r\n\x1a\n", "lzop", "unpack", "an lzop file"),
    _m(0, b"\x1f\x9d\x90", "compress", "unpack", "a file of compress (.Z)"),
    _m(0, b"070701", "cpio", "no", "a cpio archive, as an initramfs is"),
    _m(0, b"070702", "cpio", "no", "a cpio archive, as an initramfs is"),
    _m(0, b"MSWIM\0\0\0", "wim", "no", "an archive that Windows is installed from (WIM)"),
    _m(0, b"\x7fELF", "elf", "no", "a program (ELF)"),
    # Installers for USB sticks have a partition table, too.
    _m(0x8001, b"CD001", "iso", "medium", "a CD or DVD (ISO 9660)"),
    _m(0x202, b"HdrS", "kernel", "no", "a Linux kernel"),  # its first sector ends as a disk's does
    _m(512, b"EFI PART", "raw", "disk", "a disk with a GPT"),
    _m(4096, b"EFI PART", "raw", "disk", "a disk with a GPT, of sectors of 4096 bytes"),
    # Their first sector ends as one with an MBR does.
    _m(3, b"NTFS    ", "raw", "bare", "an NTFS file system"),
    _m(3, b"EXFAT   ", "raw", "bare", "an exFAT file system"),
    _m(54, b"FAT1", "raw", "bare", "a FAT file system"),
    _m(82, b"FAT32   ", "raw", "bare", "a FAT file system"),
    _m(510, b"\x55\xaa", "raw", "disk", "a disk with an MBR"),
    # Its first entry. "ER" at 0 is of the driver descriptor, and of many a text ("ERROR: no such file").
    _m(512, b"PM\0\0", "raw", "disk", "a disk with an Apple partition map"),
    _m(512, b"\x57\x45\x56\x82", "raw", "disk", "a disk with a BSD disklabel"),
    _m(1080, b"\x53\xef", "raw", "bare", "an ext file system"),
    _m(0, b"XFSB", "raw", "bare", "an XFS file system"),
    _m(0x10040, b"_BHRfS_M", "raw", "bare", "a Btrfs file system"),
    _m(1024, b"\x10\x20\xf5\xf2", "raw", "bare", "an F2FS file system"),
    _m(1024, b"\xe2\xe1\xf5\xe0", "raw", "bare", "an EROFS file system"),
    _m(0x8000, b"JFS1", "raw", "bare", "a JFS file system"),
    _m(0x10034, b"ReIsEr", "raw", "bare", "a ReiserFS file system"),
    _m(0, b"hsqs", "raw", "bare", "a SquashFS file system"),
    _m(512, b"LABELONE", "raw", "bare", "a physical volume of LVM"),
    _m(4086, b"SWAPSPACE2", "swap", "no", "swap space"),
    _m(0, b"LUKS\xba\xbe", "luks", "locked", "a LUKS volume"),
)
"""The first that fits counts: containers before what may be in their first sectors."""
PAGE = (b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")
UNKNOWN = Kind("", "no", "no partition table, no file system and no format that is known")


def look(head: bytes) -> Kind:
    """What a file is whose first HEAD bytes, or all that there are, these are."""
    if not head:
        return Kind("", "no", "empty")
    for one in MAGIC:
        if head.startswith(one.magic, one.at):
            return _qcow2(head, one.kind) if one.kind.name == "qcow2" else one.kind
    if head.lstrip()[:16].lower().startswith(PAGE):
        return Kind("html", "no", "a web page")
    if not head.strip(b"\0"):
        return Kind("", "no", "nothing but zeros where a partition table would be")
    return UNKNOWN


def shown(head: bytes) -> str:
    """The first bytes as a person reads them: as text when they are some, else in hexadecimal."""
    some = head[:SHOWN]
    text = some.decode("ascii", errors="replace")
    if all(char.isprintable() or char in "\r\n\t" for char in text) and "\ufffd" not in text:
        return " ".join(text.split())
    return some[:16].hex(" ")


def _qcow2(head: bytes, kind: Kind) -> Kind:
    """A qcow2 disk that is whole in itself; what needs another file is no image for others."""
    if len(head) < 72:  # noqa: PLR2004 - the header of version 2
        return Kind("qcow2", "no", "the beginning of a qcow2 disk")
    version, backing = struct.unpack_from(">IQ", head, 4)
    if version not in (2, 3):
        return Kind("qcow", "convert", f"a qcow disk of version {version}")
    size, encrypted = struct.unpack_from(">QI", head, 24)
    features = struct.unpack_from(">Q", head, 72)[0] if version == 3 and len(head) >= 80 else 0  # noqa: PLR2004
    wrong: tuple[tuple[int, Use, str], ...] = (
        (backing, "convert", "that holds only what differs from another file"),
        (encrypted, "secret", "that is encrypted"),
        (features & 4, "convert", "whose data are in another file"),
        (features & ~KNOWN_FEATURES, "convert", "with features that Glance does not know"),
        (not size, "no", "of no size"),
    )
    return next((Kind("qcow2", use, f"a qcow2 disk {words}") for is_so, use, words in wrong if is_so), kind)
