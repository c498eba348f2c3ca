"""Make a GPT disk image bootable by BIOS: what grub-install does, on a file, without mounting it.

GRUB's first stage (boot.img, one sector) goes into the MBR beside the partition table, and the rest
(core.img) into the BIOS boot partition. Both hold disk addresses that must be filled in. Offsets:
grub-core/boot/i386/pc/{boot,diskboot}.S.

    python3 bios.py DISK BOOT_IMG CORE_IMG FIRST_SECTOR SECTORS
"""

import struct
import sys
from pathlib import Path

SECTOR = 512
BOOT_CODE = 440  # then come the disk's signature and the protective partition table
CORE_ADDRESS = 0x5C  # boot.img: u64, the sector that core.img starts at
DRIVE_CHECK = 0x66  # boot.img: a jump for firmware that passes no drive number; no-ops make GRUB believe it
NO_OPS = b"\x90\x90"
BLOCK_LIST = SECTOR - 12  # core.img: u64, the sector that its second sector lies at


def boot_sector(mbr: bytes, boot: bytes, core_sector: int) -> bytes:
    """The disk's first sector with GRUB's code in it; the partition table stays."""
    if len(mbr) != SECTOR or len(boot) != SECTOR or boot[-2:] != b"\x55\xaa":
        raise ValueError("a boot sector has 512 bytes and ends in 55 aa")
    code = bytearray(boot[:BOOT_CODE])
    struct.pack_into("<Q", code, CORE_ADDRESS, core_sector)
    code[DRIVE_CHECK : DRIVE_CHECK + 2] = NO_OPS
    return bytes(code) + mbr[BOOT_CODE:-2] + b"\x55\xaa"


def core_image(core: bytes, sector: int, room: int) -> bytes:
    """core.img as it must lie at `sector`, in a partition of `room` sectors."""
    if len(core) > room * SECTOR:
        raise ValueError(f"core.img has {len(core)} bytes, its partition {room * SECTOR}")
    placed = bytearray(core)
    struct.pack_into("<Q", placed, BLOCK_LIST, sector + 1)
    return bytes(placed)


def embed(disk: Path, boot: bytes, core: bytes, sector: int, room: int) -> None:
    """Write both stages into the disk image."""
    with disk.open("r+b") as file:
        mbr = file.read(SECTOR)
        file.seek(0)
        file.write(boot_sector(mbr, boot, sector))
        file.seek(sector * SECTOR)
        file.write(core_image(core, sector, room))


if __name__ == "__main__":
    _, disk_name, boot_name, core_name, first, count = sys.argv
    embed(Path(disk_name), Path(boot_name).read_bytes(), Path(core_name).read_bytes(), int(first), int(count))
