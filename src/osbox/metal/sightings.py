"""What was seen of a node on its way up, read from the services' logs: DHCP, TFTP, HTTP, the conductor, the
console."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.metal import rack, timeline
from osbox.metal.timeline import Event
from osbox.site.site import Site

LOG_LINES = 20_000
CONSOLE_LINES = 400  # the last boot's, mostly


def last_seen(engine: Engine, site: Site, macs: Sequence[str], node: Any = None) -> list[str]:
    """A line each for DHCP, TFTP, HTTP and the ramdisk's heartbeat: the last that was seen, or that nothing
    was."""
    events = on_the_network(engine, site, macs)
    beat = (getattr(node, "driver_internal_info", None) or {}).get("agent_last_heartbeat")
    return [
        f"DHCP: {_last(events, 'dhcp') or 'no request from ' + ', '.join(macs)}",
        f"TFTP: {_last(events, 'tftp') or 'nothing asked for (iPXE in the firmware needs none)'}",
        f"HTTP: {_last(events, 'http') or 'nothing asked for'}",
        f"heartbeat of the ramdisk: {beat or 'none'}",
    ]


def _last(events: Sequence[Event], source: str) -> str:
    found = [event for event in events if event.source == source]
    return f"{found[-1].what}, at {found[-1].time:%Y-%m-%d %H:%M:%S} UTC" if found else ""


def on_the_network(engine: Engine, site: Site, macs: Sequence[str], known: Sequence[str] = ()) -> list[Event]:
    """What these MACs asked DHCP, TFTP and HTTP for.

    With `known`, DHCP requests of MACs that are no node's, too.
    """
    found = timeline.leases(_log(engine, site, "openvswitch", "--timestamps"))
    clients = timeline.addresses(found, macs)
    return [
        *timeline.dhcp(found, macs, known),
        *timeline.tftp(_log(engine, site, "pxe-tftp", "--timestamps"), clients),
        *timeline.http(_log(engine, site, "ipxe-httpd"), clients),
    ]


def of_conductor(engine: Engine, site: Site, uuid: str, name: str) -> list[Event]:
    """What ironic-conductor's log says about a node."""
    return timeline.conductor(_log(engine, site, "ironic-conductor", "--timestamps"), uuid, name)


def of_console(engine: Engine, site: Site, name: str) -> list[Event]:
    """The end of what a virtual node wrote to its console; nothing if it has not."""
    written = rack.console_written(engine, site, name)
    if written is None:
        return []
    text = rack.console_log(engine, site, name, lines=CONSOLE_LINES, times=True)
    return timeline.console(text, datetime.fromtimestamp(written, UTC))


def _log(engine: Engine, site: Site, service: str, *words: str) -> str:
    result = docker.ask(
        engine, "logs", *words, "--tail", str(LOG_LINES), f"{service}.{site.name}", check=False
    )
    return result.out + result.err
