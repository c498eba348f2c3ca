"""The provisioning network, tried: frames across the bridge, connections to the host, and who else answers
DHCP there."""

import socket
from collections.abc import Iterator
from contextlib import suppress

from osbox.bootpath import crossing, dhcp, dhcpclient
from osbox.bootpath import port as bridgeport
from osbox.bootpath.dhcp import Kind
from osbox.bootpath.port import Port
from osbox.cloud.services import FRONT
from osbox.doctor.finding import SILENT, Facts, Finding, error, ok, warning
from osbox.errors import Error
from osbox.metal.firmware import BootMode
from osbox.network import converge as net
from osbox.network.plan import left_out, plan
from osbox.network.values import AGAIN
from osbox.site.ledger import ledger

DHCP_SECONDS = 4.5  # some servers first ping an address for up to 3 s before they offer it


def check_bridge(facts: Facts) -> Iterator[Finding]:
    """Do frames cross the bridge, and do nodes reach the host?"""
    site = facts.site
    if not _has_bridge(site.bridge):
        yield ok(f"there is no bridge {site.bridge} yet, so no frame can be sent across it")
        return
    with bridgeport.plugged(site.bridge) as one, bridgeport.plugged(site.bridge) as other:
        seen = crossing.crossing(one, other, str(site.subnet.broadcast_address))
        if seen.arp and seen.udp:
            yield ok(
                f"frames cross the bridge {site.bridge}", "ARP and UDP, from one port of our own to another"
            )
        elif _connected(facts):
            what = "ARP passes, IP is dropped" if seen.arp else "neither ARP nor IP arrives"
            how = f"{what}: from one port of our own to another, within {crossing.SECONDS:.0f} s"
            found = (
                "osbox engine shell -- iptables -S FORWARD; nft list ruleset: a packet filter of this machine"
            )
            then = found
            with suppress(*SILENT):  # that is told where the network is looked at
                todo, again = _to_do(facts)
                then = again if todo else found
            yield error(f"frames do not cross the bridge {site.bridge}: no node gets an address", how, then)
        else:
            yield ok(
                f"frames do not cross the bridge {site.bridge} yet: it is not connected",
                "osbox net connect lets them",
            )
        yield from _reach(facts, one)


def _reach(facts: Facts, port: Port) -> Iterator[Finding]:
    site = facts.site
    wanted = {8090: "ipxe-httpd", 6385: FRONT, 8080: FRONT, site.redfish_port: "rack"}  # front: Ironic, Swift
    numbers = [number for number, service in wanted.items() if service in facts.running]
    if not numbers:
        return
    if not bridgeport.take_address(port, site):
        then = f"ip neighbour show dev {site.bridge}"
        yield warning(
            "no address is free for a try from the bridge",
            f"{bridgeport.own_addresses(site)[0]} and below are taken",
            then,
        )
        return
    reasons = crossing.connections(port, str(site.address), numbers)
    bad = {number: reason for number, reason in reasons.items() if reason}
    for number, reason in bad.items():
        then = "osbox status; a firewall of this machine (ufw, firewalld) must let the bridge's traffic in"
        yield error(f"nodes do not reach {wanted[number]} at {site.address}:{number}", reason, then)
    if not bad:
        yield ok(
            f"nodes reach the host at {site.address}",
            "TCP " + ", ".join(f"{number} {wanted[number]}" for number in numbers),
        )


def check_dhcp(facts: Facts) -> Iterator[Finding]:
    """Who answers a DHCP client that nobody knows? OVN's does not: it serves Neutron's ports only."""
    site = facts.site
    if not _has_bridge(site.bridge):
        return
    with bridgeport.plugged(site.bridge) as port:
        asked = dhcp.discover(
            port.mac, BootMode.UEFI, int.from_bytes(bytes.fromhex(port.mac.replace(":", ""))[2:]), ipxe=False
        )
        answers = dhcpclient.exchange(port, asked, {Kind.OFFER}, DHCP_SECONDS)
        strangers = [one for one in answers if (one.message.server or one.address) not in facts.servers]
        for one in strangers:
            behind = _behind(one.mac, site.bridge)
            offer = f"offers {one.message.address}" + (
                f" and the boot file {one.message.boot_file}" if one.message.boot_file else ""
            )
            evidence = (
                f"MAC address {one.mac}"
                + (f", behind {behind}" if behind else "")
                + f"; {offer}, after {one.seconds:.1f} s"
            )
            then = "switch it off, or give the nodes a switch or VLAN of their own"
            yield error(
                f"another DHCP server answers on {site.bridge}: {one.message.server or one.address}",
                evidence,
                then,
            )
    if not strangers:
        yield ok(
            f"no other DHCP server answers on {site.bridge}",
            f"a DISCOVER of an unknown MAC address, {DHCP_SECONDS} s",
        )


def check_connected(facts: Facts) -> Iterator[Finding]:
    """Is the network as `osbox net connect` would make it?"""
    if not _connected(facts) or "neutron-network" not in facts.running:
        return
    todo, then = _to_do(facts)
    if todo:
        yield error("the provisioning network is not as it should be", "\n".join(todo), then)
    else:
        yield ok("the provisioning network is connected as it should be")
    if ledger(facts.paths.home).entries("port"):
        for name, reason in left_out(net.observe(net.doors(facts.paths, facts.site, None))).items():
            what = f"{name} was connected to {facts.site.bridge} and is left out: {reason}"
            then = f"osbox net connect --interface {name} takes it, or says what that needs"
            yield warning(what, "real nodes behind it are not reached", then)


def _connected(facts: Facts) -> bool:
    """Whether `osbox net connect` was ever done."""
    return ledger(facts.paths.home).find("link", facts.site.veth[0]) is not None


def _to_do(facts: Facts) -> tuple[list[str], str]:
    """What is not as it should be, and the command that makes it so."""
    try:
        state = net.observe(net.doors(facts.paths, facts.site, facts.engine))
        return [change.text for change in plan(state, AGAIN)], "osbox net connect"
    except SILENT:
        raise
    except Error as wrong:
        return [wrong.message, *wrong.evidence.splitlines()], wrong.hint


def _has_bridge(name: str) -> bool:
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import

    with IPRoute() as ip:
        return bool(ip.link_lookup(ifname=name))


def _behind(mac: str, bridge: str) -> str:
    """The port of the bridge that frames of this MAC address come in by; "" when the bridge has not learned
    it."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import

    with IPRoute() as ip:
        master = ip.link_lookup(ifname=bridge)
        names = {item["index"]: item.get("ifname") for item in ip.get_links()}
        for entry in ip.get_neighbours(family=socket.AF_BRIDGE):
            if entry.get("lladdr") == mac and entry.get("master") in master:
                return str(names.get(entry["ifindex"], ""))
    return ""
