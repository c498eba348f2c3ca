"""What was last seen of a node on its way up: DHCP, TFTP, HTTP, heartbeat. The evidence when one does not boot."""

import re
from collections.abc import Sequence
from typing import Any

from osbox import docker, run
from osbox.engine import Engine
from osbox.model.site import Site

DHCP_LINES = 20_000  # of the DHCP log's end: some hours of many nodes
LEASE = re.compile(r"^(\w+ +\d+ [\d:]+) .*?(DHCP[A-Z]+)\(\S+\) (?:([\d.]+) )?([0-9a-f:]{17})(.*)$")
TFTP = re.compile(r"(?:sent|failed sending|file) (\S+) .*?(?:to|for) ([\d.]+)")
REQUEST = re.compile(r'^(\S+) ([\d.]+) "(\w+) (\S+) [^"]*" (\d+) (\d+)$')


def last_seen(engine: Engine, site: Site, macs: Sequence[str], node: Any = None) -> list[str]:
    """A line each for DHCP, TFTP, HTTP and the ramdisk's heartbeat: the last that was seen, or that nothing was."""
    dhcp, addresses = leases(_dhcp_log(engine, site), macs)
    lines = [f"DHCP: {dhcp or 'no request from ' + ', '.join(macs)}"]
    lines.append(f"TFTP: {transfers(_log(engine, site, 'pxe-tftp'), addresses) or 'nothing asked for (iPXE in the firmware needs none)'}")
    lines.append(f"HTTP: {requests(_log(engine, site, 'ipxe-httpd'), addresses) or 'nothing asked for'}")
    beat = (getattr(node, "driver_internal_info", None) or {}).get("agent_last_heartbeat")
    return [*lines, f"heartbeat of the ramdisk: {beat or 'none'}"]


def leases(text: str, macs: Sequence[str]) -> tuple[str, set[str]]:
    """The last DHCP message of these MAC addresses in dnsmasq's log, and the addresses they were given."""
    wanted, last, addresses = {mac.lower() for mac in macs}, "", set()
    for entry in text.splitlines():
        found = LEASE.match(entry)
        if found and found[4] in wanted:
            last = " ".join(word for word in (found[2], found[3] or "", found[4], found[5].strip(), "at", found[1]) if word)
            if found[2] == "DHCPACK" and found[3]:
                addresses.add(found[3])
    return last, addresses


def transfers(text: str, addresses: set[str]) -> str:
    """The last file that TFTP was asked for by these addresses."""
    found = [match for match in map(TFTP.search, text.splitlines()) if match and match[2] in addresses]
    return f"{found[-1][1]} to {found[-1][2]}" if found else ""


def requests(text: str, addresses: set[str]) -> str:
    """The last file that was asked for over HTTP by these addresses, and what became of it."""
    found = [match for match in map(REQUEST.match, text.splitlines()) if match and match[2] in addresses]
    if not found:
        return ""
    when, address, verb, path, status, size = found[-1].groups()
    return f"{verb} {path} by {address}: {status}, {int(size) >> 10} KiB, at {when}"


def _dhcp_log(engine: Engine, site: Site) -> str:
    words = ["docker", "exec", f"neutron-dhcp-agent.{site.name}", "sh", "-c", f"tail -q -n {DHCP_LINES} /var/lib/stack/dnsmasq/*/dhcp_dns_log"]
    return run.run(engine.argv(*words), check=False).out


def _log(engine: Engine, site: Site, service: str) -> str:
    result = docker.docker(engine, "logs", "--tail", "20000", f"{service}.{site.name}", check=False)
    return result.out + result.err
