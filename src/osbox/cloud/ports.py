"""Are the ports free that the cloud publishes? And if not, who holds them?"""

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from osbox.cloud.services import FRONT, PORTS, UDP_PORTS
from osbox.errors import UserError
from osbox.site.site import Site

HINT = "stop that program, or set another loopback address in site.toml"


def require_free(site: Site, running: set[str]) -> None:
    """Raise UserError for the first port that somebody else holds, and for the rack's when a service needs
    the same; services that run already hold their own."""
    here = (str(site.address), site.redfish_port, socket.SOCK_STREAM)
    same = next((service for service, *port in published(site) if tuple(port) == here), "")
    if same:
        raise UserError(
            f"redfish_port = {site.redfish_port} in site.toml is the port of {same}",
            hint="choose another: 8000",
        )
    for what, by in taken(site, running):
        raise UserError(what, evidence=by, hint=HINT)


def taken(site: Site, running: set[str]) -> Iterator[tuple[str, str]]:
    """Each port that somebody else holds, in words, and who holds it."""
    for service, address, port, kind in published(site):
        if service not in running and _taken(address, port, kind):
            what = (
                f"port {port}/{'tcp' if kind == socket.SOCK_STREAM else 'udp'} on {address}, which {service}"
                " needs, is in use"
            )
            yield what, f"held by {holder(address, port, kind)}"


def published(site: Site) -> list[tuple[str, str, int, socket.SocketKind]]:
    """Every port that is published: service, address, number, kind."""
    found = []
    for service, numbers in PORTS.items():
        for number in numbers:
            found.append((service, str(site.address), number, socket.SOCK_STREAM))
            more = [site.loopback, site.listen] if service == FRONT else []
            found += [(service, str(address), number, socket.SOCK_STREAM) for address in more if address]
    found += [
        (service, str(site.address), number, socket.SOCK_DGRAM) for service, number in UDP_PORTS.items()
    ]
    return found


def _taken(address: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind == socket.SOCK_STREAM else 0)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def holder(address: str, port: int, kind: socket.SocketKind, proc: Path = Path("/proc")) -> str:
    """The program that listens on a port of an address (or of all), as `name (pid N)`; read from /proc, so it
    needs root."""
    inodes = _inodes(address, port, kind, proc)
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.glob("[0-9]*"):
        if wanted & set(_links(process / "fd")):
            return f"{(process / 'comm').read_text(errors='replace').strip()} (pid {process.name})"
    return (
        "another network namespace or a firewall rule" if not inodes else "a process that /proc does not show"
    )


def _links(directory: Path) -> Iterator[str]:
    """What the open files of a process are; those that are closed meanwhile, and processes that end, are left
    out."""
    with contextlib.suppress(OSError):
        for entry in directory.iterdir():
            with contextlib.suppress(OSError):
                yield str(entry.readlink())


def _inodes(address: str, port: int, kind: socket.SocketKind, proc: Path) -> set[str]:
    found = set()
    # The kernel prints addresses in the machine's byte order; zeros mean every address.
    mine = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"
    listening = (
        "0A" if kind == socket.SOCK_STREAM else "07"
    )  # TCP_LISTEN; an unconnected UDP socket is in TCP_CLOSE
    for table in ("tcp", "tcp6") if kind == socket.SOCK_STREAM else ("udp", "udp6"):
        file = proc / "net" / table
        for entry in file.read_text().splitlines()[1:] if file.exists() else []:
            words = entry.split()
            where, _, number = words[1].rpartition(":")
            if words[3] == listening and int(number, 16) == port and (where == mine or not where.strip("0")):
                found.add(words[9])
    return found
