"""Ways to break the boot path of a running cloud, one for each hop, and to mend it again."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from osbox.site.load import load_site
from osbox.site.site import Site
from tests.home import HOME, NAME

Engine = Callable[..., str]
"""Runs a command where the engine's docker is."""
BOOT = "/pxe-boot-data"
MAC = "52:54:00:00:00:02"
"""Of no machine: the node that is enrolled with it waits for ever, with everything made ready for it."""


@dataclass(frozen=True)
class Fault:
    """Which hop the probe must name, a part of the cause that it must tell, and the cause that `osbox
    explain` must tell of a node.

    explained is empty where a virtual node does not come by: it has iPXE in its firmware, and asks nothing of
    TFTP.
    """

    name: str
    hop: str
    cause: str
    do: Callable[[Engine], object]
    undo: Callable[[Engine], object]
    explained: str = ""


def site() -> Site:
    return load_site(HOME)


def stopped(service: str, hop: str) -> Fault:
    container = f"{service}.{NAME}"
    return Fault(
        f"{service}-stopped",
        hop,
        f"the container {container} does not run (exited)",
        lambda engine: engine("docker", "kill", container),
        lambda engine: started(engine, container),
        "service-down",
    )


def started(engine: Engine, container: str) -> None:
    engine("docker", "start", container)


def moved(file: str, hop: str, explained: str = "http-refused") -> Fault:
    """A file of the volume pxe-boot-data is gone; `*` may stand for a node's directory."""
    conductor = ("docker", "exec", f"ironic-conductor.{NAME}", "sh", "-ec")
    name = file.rpartition("/")[2]
    return Fault(
        f"no-{name}",
        hop,
        f"{name} ",
        lambda engine: engine(*conductor, f"for file in {BOOT}/{file}; do mv $file $file.away; done"),
        lambda engine: engine(
            *conductor, f"for file in {BOOT}/{file}.away; do mv $file ${{file%.away}}; done"
        ),
        explained,
    )


def rule(verb: str, *words: str) -> Callable[[Engine], object]:
    """One of the bridge's own; which bridge is read when it is done, for site.toml may not be there when
    tests are collected."""
    return lambda engine: engine(
        "iptables", "--wait", verb, "DOCKER-USER", "-i", site().bridge, "-o", site().bridge, *words
    )


def faults(mac: str = MAC) -> list[Fault]:
    """On the way of the node with this MAC address, in an order that suits mending: what answers DHCP is the
    last."""
    ours = ("-m", "comment", "--comment", f"osbox-{NAME}", "-j", "ACCEPT")
    return [
        Fault(
            "rule-removed",
            "DHCP offer",
            "Add the firewall rule",
            rule("-D", *ours),
            rule("-I", *ours),
            "no-request",
        ),
        Fault(
            "frames-dropped",
            "DHCP offer",
            "ARP passes and IP is dropped",
            rule("-I", "-j", "DROP"),
            rule("-D", "-j", "DROP"),
            "no-request",
        ),
        stopped("pxe-tftp", "TFTP loader"),
        moved("tftpboot/undionly.kpxe", "TFTP loader", ""),
        stopped("ipxe-httpd", "iPXE script"),
        moved("httpboot/boot.ipxe", "iPXE script"),
        moved(f"httpboot/pxelinux.cfg/{mac.replace(':', '-')}", "node's script"),
        moved("httpboot/*/deploy_kernel", "kernel"),
        moved("httpboot/*/deploy_ramdisk", "ramdisk"),
        stopped("ovn-controller", "DHCP offer"),
    ]


@contextmanager
def broken(fault: Fault, engine: Engine) -> Iterator[None]:
    begin = time.monotonic()
    fault.do(engine)
    print(f"{fault.name}: broken in {time.monotonic() - begin:.1f} s")
    try:
        yield
    finally:
        begin = time.monotonic()
        fault.undo(engine)
        print(f"{fault.name}: mended in {time.monotonic() - begin:.1f} s")
