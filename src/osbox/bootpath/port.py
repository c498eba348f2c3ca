"""A port of our own on a bridge, in a network namespace of our own: what is seen there is what a node would
see.

The namespace has no name: it belongs to a thread of ours. Whatever ends us, the kernel takes thread,
namespace and both ends of the veth pair away, so nothing of this needs to stand in the ledger.
"""

import ctypes
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from osbox import waiting
from osbox.bootpath import frames
from osbox.errors import Error, UserError
from osbox.site.site import Site

T = TypeVar("T")
CLONE_NEWNET = 0x40000000  # linux/sched.h
ETH_P_ALL = 0x0003  # linux/if_ether.h
INSIDE = "node0"
"""The interface's name in our namespace."""
ARP_SECONDS = 0.4  # an answer on a bridge takes a millisecond, on a real switch a few
FRAME_BYTES = 65535
IFF_UP = 0x1  # linux/if.h
FORWARDING, FORWARDING_SECONDS = (
    3,
    3.0,
)  # BR_STATE_FORWARDING of linux/if_bridge.h; the kernel tells of carriers once a second


@dataclass(frozen=True)
class Port:
    """Our end on the bridge is called name; the other is in the namespace and has that MAC address."""

    name: str
    mac: str
    inside: ThreadPoolExecutor

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the namespace. A socket that it opens stays there, whoever uses it."""
        return self.inside.submit(function).result()

    def listen(self) -> socket.socket:
        """A raw socket that sees every frame that comes in and sends whole frames."""

        def opened() -> socket.socket:
            door = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            door.bind((INSIDE, 0))
            return door

        return self.call(opened)


def random_mac() -> str:
    """A locally administered MAC address that no card was made with."""
    return frames.mac_text(bytes((0x02, *os.urandom(5))))


@contextmanager
def namespace() -> Iterator[ThreadPoolExecutor]:
    """A thread in a network namespace of its own, which is gone after the block."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_leave).result()
        yield pool


@contextmanager
def plugged(bridge: str) -> Iterator[Port]:
    """A port on the bridge for the length of the block.

    Raises UserError when there is no such bridge, Error when the kernel refuses.
    """
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    name, mac = f"probe{os.urandom(4).hex()}", random_mac()
    with namespace() as inside, IPRoute() as ip:
        found = ip.link_lookup(ifname=bridge)
        if not found:
            raise UserError(f"there is no bridge {bridge}", hint="osbox up")
        descriptor = inside.submit(os.open, "/proc/thread-self/ns/net", os.O_RDONLY).result()
        try:
            # A port with a smaller MTU would make the bridge's smaller.
            above = ip.get_links(found[0])[0]
            mtu = above.get("mtu")
            far = {"ifname": INSIDE, "address": mac, "net_ns_fd": descriptor, "mtu": mtu}
            # A bridge without an address of its own takes its ports' lowest, and nodes lose the host when
            # that changes.
            ip.link(
                "add",
                ifname=name,
                kind="veth",
                mtu=mtu,
                address=frames.mac_text(b"\xfe" + os.urandom(5)),
                peer=far,
            )
            index = ip.link_lookup(ifname=name)[0]
            inside.submit(_up).result()
            ip.link("set", index=index, master=found[0], state="up")
            if above["flags"] & IFF_UP:
                _wait_until_forwarding(ip, index)
            yield Port(name, mac, inside)
        except NetlinkError as error:
            reason = os.strerror(error.code or 0)
            raise Error(
                f"could not plug a port of our own into {bridge}",
                evidence=f"{name}: {reason}",
                hint=f"ip -d link show {bridge}",
            ) from error
        finally:
            os.close(descriptor)
            for index in ip.link_lookup(ifname=name):
                with suppress(NetlinkError):
                    ip.link("del", index=index)


def own_addresses(site: Site) -> list[str]:
    """What a port of ours may have: the hosts of the subnet below Neutron's pool and above the host's, the
    highest first."""
    return [str(address) for address in reversed(site.fixed)]


def take_address(port: Port, site: Site) -> str:
    """Give the port an address that nobody answers for, with a default route; returns it, "" if all are
    taken."""
    wanted = own_addresses(site)
    with port.listen() as door:
        for address in wanted:
            door.send(frames.probe(port.mac, address))
        taken = {answer.address for raw in incoming(door, ARP_SECONDS) if (answer := frames.read_arp(raw))}
    free = next((address for address in wanted if address not in taken), "")
    if free:
        port.call(lambda: _set_address(free, site.subnet.prefixlen, str(site.address)))
    return free


def incoming(door: socket.socket, seconds: float) -> Iterator[bytes]:
    """The frames that come in until the time is over."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([door], [], [], left)[0]:
            raw, sender = door.recvfrom(FRAME_BYTES)
            if sender[2] != socket.PACKET_OUTGOING:
                yield raw


def _leave() -> None:
    """Leave the network namespace of the process, this thread only (os.unshare is Python 3.12's)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise Error(
            "could not make a network namespace",
            evidence=f"unshare: {os.strerror(code)}",
            hint="the same as root (sudo)",
        )


def _wait_until_forwarding(ip: Any, index: int) -> None:
    """The bridge takes frames of a port when it has heard of its carrier: a moment later, or after its
    forward delay, if it has one."""
    where = ("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_STATE")
    waiting.happens(
        lambda: ip.get_links(index)[0].get_nested(*where) == FORWARDING, FORWARDING_SECONDS, poll=0.01
    )


def _up() -> None:
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import

    with IPRoute() as ip:
        for name in ("lo", INSIDE):
            ip.link("set", index=ip.link_lookup(ifname=name)[0], state="up")


def _set_address(address: str, length: int, gateway: str) -> None:
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import

    with IPRoute() as ip:
        ip.addr("add", index=_index(ip), address=address, prefixlen=length)
        ip.route("add", dst="default", gateway=gateway)


def _index(ip: Any) -> int:
    return int(ip.link_lookup(ifname=INSIDE)[0])
