"""The machine: engine, kernel, ports, memory, disk."""

import ctypes
import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

from osbox.bootpath import port as bridgeport
from osbox.cloud import ports
from osbox.doctor.finding import Facts, Finding, error, ok, warning
from osbox.engine import engine, host, rules
from osbox.errors import Error
from osbox.site import sources

GIB = 1 << 30
CLOUD_BYTES = int(3.6 * GIB)  # docs/figures.md: the cloud with one node deployed
NODE_BYTES = int(0.8 * GIB)  # and what that virtual node took
LOW_DISK_BYTES, FULL_DISK_BYTES = (
    2 * GIB,
    GIB // 2,
)  # a guest image of a GiB and its copy; what logs and databases grow by
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18  # linux/sched.h, linux/mount.h
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000  # linux/if_tun.h


def check_engine(facts: Facts) -> Iterator[Finding]:
    """Is there an engine, or can there be one?"""
    if facts.silence:
        yield error(facts.silence.message, facts.silence.evidence, facts.silence.hint)
        return
    if facts.engine:
        where = (
            f"data in {facts.base.engine / 'data'}"
            if facts.engine.kind == "private"
            else "the machine's own Docker"
        )
        yield ok(f"the {facts.engine.kind} engine runs: Docker {facts.engine.version}", where)
        if lost := rules.lost(facts.base, facts.engine):
            yield error(lost.message, lost.evidence, lost.hint)
        return
    try:
        host.refuse_beside_old()
    except Error as old:
        yield error(old.message, old.evidence, old.hint)
        return
    if (facts.base.engine / "data").is_dir():
        yield warning(
            "the private engine does not run", f"{facts.base.engine} is there", "osbox engine start"
        )
    elif facts.site.engine == "host":
        yield error(
            "no recent Docker answers, and site.toml or --engine asks for the machine's own",
            "engine = host",
            "start or upgrade Docker",
        )
    else:
        yield ok("no engine runs; osbox makes one of its own when a command needs it")


def check_kernel(facts: Facts) -> Iterator[Finding]:  # noqa: ARG001 - all checks are called alike
    """Each feature is proved by making one, in a namespace that is gone afterwards."""
    lacking = {}
    with bridgeport.namespace() as inside:
        for name, make in FEATURES.items():
            try:
                inside.submit(make).result()
            except OSError as wrong:
                lacking[name] = wrong.strerror or str(wrong)
            except Exception as wrong:  # noqa: BLE001 - pyroute2's errors are of its own kind
                lacking[name] = os.strerror(getattr(wrong, "code", 0) or errno.EIO)
    reason = _own_mounts(_overlay)
    lacking |= {"overlay": reason} if reason else {}
    for name, said in lacking.items():
        yield error(
            f"the kernel cannot make this: {name}",
            said,
            f"modprobe {name}; or another kernel: uname -r says {os.uname().release}",
        )
    if not lacking:
        yield ok(
            "the kernel has what is needed",
            "made and removed: network namespace, " + ", ".join([*FEATURES, "overlay"]),
        )


def check_ports(facts: Facts) -> Iterator[Finding]:
    """Every port that the cloud publishes and that is not its own already."""
    found = list(ports.taken(facts.site, facts.running))
    for what, by in found:
        yield error(what, by, ports.HINT)
    if not found:
        number = len(ports.published(facts.site))
        yield ok(f"all {number} ports are the cloud's own, or free")


def check_memory(facts: Facts) -> Iterator[Finding]:
    """Against what the cloud and a virtual node were measured to take (docs/figures.md)."""
    seen = sources.memory()
    free, total = seen["MemAvailable"], seen["MemTotal"]
    need = NODE_BYTES if facts.running else CLOUD_BYTES + NODE_BYTES
    told = f"{free / GIB:.1f} GiB available of {total / GIB:.1f}"
    what = "one more virtual node takes" if facts.running else "the cloud with one virtual node takes"
    if free >= need:
        yield ok(f"memory: {told}", f"{what} {need / GIB:.1f} GiB")
    elif facts.running or total < need:
        level = warning if facts.running else error
        yield level(f"memory is short: {told}", f"{what} {need / GIB:.1f} GiB", "free -m; osbox rack list")
    else:
        yield warning(
            f"memory is short now: {told}", f"{what} {need / GIB:.1f} GiB", "ps aux --sort=-rss | head"
        )


def check_disk(facts: Facts) -> Iterator[Finding]:
    """Where the state directory is, or will be."""
    place = next(path for path in (facts.paths.home, *facts.paths.home.parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    made = (facts.base.engine / "data").is_dir() or (facts.engine is not None and facts.engine.kind == "host")
    told = f"{free / GIB:.1f} GiB free under {place}"
    if not made and free < engine.MIN_FREE_BYTES:
        needs = f"engine and images need {engine.MIN_FREE_BYTES // GIB} GiB"
        yield error(
            f"disk: {told}", needs, "free some space, or set OSBOX_HOME to a directory on a larger disk"
        )
    elif free < FULL_DISK_BYTES:
        yield error(
            f"the disk is all but full: {told}",
            "databases and logs are about to stop",
            "osbox clean --all frees the build cache",
        )
    elif free < LOW_DISK_BYTES:
        yield warning(
            f"disk: {told}", "another guest image may not fit", "osbox clean --all frees the build cache"
        )
    else:
        yield ok(
            f"disk: {told}", f"engine and images need {engine.MIN_FREE_BYTES // GIB} GiB" if not made else ""
        )


# --- kernel features: each is made in the network namespace of the calling thread
# --------------------------------------


def _link(name: str, kind: str, **more: Any) -> None:
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import

    with IPRoute() as ip:
        ip.link("add", ifname=name, kind=kind, **more)


def _bridge() -> None:
    _link("try-bridge", "bridge")


def _veth() -> None:
    _link("try-veth0", "veth", peer={"ifname": "try-veth1"})


def _tun() -> None:
    door = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(door, TUNSETIFF, struct.pack("16sH22x", b"try-tap", IFF_TAP | IFF_NO_PI))
    finally:
        os.close(door)


def _nf_tables() -> None:
    from pyroute2.nftables.main import NFTables  # noqa: PLC0415 - slow to import

    with NFTables(nfgen_family=2) as nft:  # NFPROTO_IPV4
        nft.table("add", name="try")


FEATURES: dict[str, Callable[[], None]] = {
    "bridge": _bridge,
    "veth": _veth,
    "tun": _tun,
    "nf_tables": _nf_tables,
}


def _overlay() -> str:
    """Mount one over a file system in memory, in a mount namespace that ends with the thread; "" when it
    works."""
    libc = ctypes.CDLL(None, use_errno=True)

    def done(code: int) -> None:
        if code != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    try:
        done(libc.unshare(CLONE_NEWNS))
        done(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
        done(libc.mount(b"try", b"/mnt", b"tmpfs", 0, None))
        for name in ("lower", "upper", "work", "both"):
            Path("/mnt", name).mkdir()
        done(
            libc.mount(
                b"try",
                b"/mnt/both",
                b"overlay",
                0,
                b"lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work",
            )
        )
        Path("/mnt/both/file").touch()
        return "" if Path("/mnt/upper/file").exists() else "a file did not reach the upper layer"
    except OSError as wrong:
        return wrong.strerror or str(wrong)


def _own_mounts(look: Callable[[], str]) -> str:
    """Call in a thread of its own: a mount namespace is a thread's, too, and ends with it."""
    said: list[str] = []
    thread = Thread(target=lambda: said.append(look()))
    thread.start()
    thread.join()
    return said[0] if said else "it could not be tried"
