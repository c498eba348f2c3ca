"""What the deploy ramdisk is told of its cloud: an archive behind it, which the kernel unpacks, too. Pure.

One build serves all clouds. ironic-python-agent takes its authority from its own configuration only, no
parameter of the kernel names it (config.py of 11.5.0); it then holds for the API, images and configuration
drives.
"""

from pathlib import PurePosixPath

AUTHORITY = "etc/osbox/ca.pem"
CONF = f"[DEFAULT]\ninsecure = false\ncafile = /{AUTHORITY}\n"
ALIGNED = 512
"""Bytes. The kernel looks for the next archive at a multiple of four (init/initramfs.c)."""
DIRECTORY, FILE = 0o040755, 0o100644
TRAILER = "TRAILER!!!"


def trusting(authority: bytes, size: int) -> bytes:
    """What is to stand behind a ramdisk of `size` bytes, so that its agent verifies by this authority
    (PEM)."""
    files = {AUTHORITY: authority, "etc/ironic-python-agent.d/zz-osbox-ca.conf": CONF.encode()}
    return b"\0" * (-size % ALIGNED) + archive(files)


def archive(files: dict[str, bytes]) -> bytes:
    """A cpio archive (newc) of files by their path without a slash before, their directories included."""
    made, number, out = set[str](), 0, b""
    for name, content in files.items():
        for parent in [str(one) for one in reversed(PurePosixPath(name).parents)][1:]:
            if parent not in made:
                made.add(parent)
                number += 1
                out += _entry(number, parent, DIRECTORY, b"")
        number += 1
        out += _entry(number, name, FILE, content)
    out += _entry(0, TRAILER, 0, b"")
    return out + b"\0" * (-len(out) % ALIGNED)


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    """The fields of Documentation/driver-api/early-userspace/buffer-format.rst in the kernel: ino, mode, uid,
    gid, nlink, mtime, filesize, four devices, namesize, check."""
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1 + (mode == DIRECTORY), 0, len(content), 0, 0, 0, 0, len(path), 0)
    return _padded(b"070701" + b"".join(b"%08X" % field for field in fields) + path) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + b"\0" * (-len(part) % 4)
