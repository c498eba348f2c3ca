"""An image to try things with: a disk with nothing in it, also as a download for Glance."""

import base64
import struct
import zlib

from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.site.site import Site

CLUSTER = 65536  # bytes: QEMU's default for qcow2
NAME = "osbox-judge.qcow2"
URL = f"http://ipxe-httpd/{NAME}"
"""Where it is for Glance, which downloads from ports 80 and 443 only."""
FOLDER = "/pxe-boot-data/httpboot"
"""Of the network boot's files, as the conductor sees it; ipxe-httpd shows it to all."""
WRITE = (
    "import base64, pathlib, sys, zlib;"
    " pathlib.Path(sys.argv[1]).write_bytes(zlib.decompress(base64.b64decode(sys.argv[2])))"
)


def empty() -> bytes:
    """A qcow2 of 1 MiB with nothing in it: header, table of counts, counts, table of clusters (QEMU's
    docs/interop/qcow2.rst)."""
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 1 << 20, 0, 1, 3 * CLUSTER, CLUSTER, 1, 0, 0
    )
    counts = struct.pack(">Q", 2 * CLUSTER).ljust(CLUSTER, b"\0")
    counted = (struct.pack(">H", 1) * 4).ljust(CLUSTER, b"\0")
    return header.ljust(CLUSTER, b"\0") + counts + counted + bytes(CLUSTER)


def serve(engine: Engine, site: Site) -> None:
    """Put it where Glance can download it."""
    packed = base64.b64encode(zlib.compress(empty())).decode()
    _inside(engine, site, "python", "-c", WRITE, f"{FOLDER}/{NAME}", packed)


def withdraw(engine: Engine, site: Site) -> None:
    _inside(engine, site, "rm", "-f", f"{FOLDER}/{NAME}")


def _inside(engine: Engine, site: Site, *words: str) -> None:
    docker.ask(engine, "exec", f"ironic-conductor.{site.name}", *words)
