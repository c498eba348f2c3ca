"""What was seen of a node, from the lines of every log that mentions it, as events: text in, values out.

Pure.

Times are UTC, as containers have it. What an event says begins with the word that osbox.metal.causes looks
for.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from osbox import plain

STAMPED = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:]{8})(\.\d+)?Z (.*)$")
TIMED = re.compile(r"(-|\d{4}-\d\d-\d\dT[\d:]{8}(?:\.\d+)?Z) ")
OSLO = re.compile(r"^\S+ \S+ \d+ ([A-Z]+) \S+ (?:\[[^\]]*\] )?(.*)$")
LEASE = re.compile(r"^(DHCP[A-Z]+) ([0-9a-f:]{17})(?: (\d[\d.]+))?(?: (.*))?$")
TFTP = re.compile(r"(sent|failed sending|file) (\S+) (.*?)(?:to|for) ([\d.]+)")
REQUEST = re.compile(r'^(\S+) ([\d.]+) "(\w+) (\S+) [^"]*" (\d+) (\d+)$')
AGENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+ \d+ ([A-Z]+) (.*)$")
SECRET = re.compile(r"(agent_token=|[?&]temp_url_sig=)[^&\s\"']+")
STRANGER = "no port of any node"
WIDTH = 400  # characters of an event; Ironic's errors may hold whole answers of a BMC


@dataclass(frozen=True)
class Event:
    """Something that was seen: when (UTC), where (ironic, conductor, dhcp, tftp, http, console, nova), what,
    in one line."""

    time: datetime
    source: str
    what: str


@dataclass(frozen=True)
class Lease:
    """A DHCP message: its kind (DHCPDISCOVER, …), the client's MAC, the address it is about or "", from or
    to which server."""

    time: datetime
    kind: str
    mac: str
    address: str
    note: str


def parse_time(text: str | None) -> datetime | None:
    """An ISO time; one without a zone is UTC. None for None and for what is no time."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def line(text: str) -> str:
    """A text as one line: no secrets, no control characters, not longer than WIDTH."""
    flat = SECRET.sub(r"\1***", " ".join(plain.text(text, " ").split()))
    return flat if len(flat) <= WIDTH else flat[: WIDTH - 1] + "…"


# --- logs
# --------------------------------------------------------------------------------


def stamped(text: str) -> Iterator[tuple[datetime, str]]:
    """The lines of `docker logs --timestamps`."""
    for entry in text.splitlines():
        found = STAMPED.match(entry)
        if found:
            yield datetime.fromisoformat(found[1]).replace(tzinfo=UTC), found[3]


def conductor(text: str, uuid: str, name: str) -> list[Event]:
    """The lines about a node in ironic-conductor's log (with Docker's timestamps), by its name; warnings and
    errors say so."""
    events = []
    for time, entry in stamped(text):
        found = OSLO.match(entry) if uuid in entry else None
        if found and found[1] != "DEBUG":
            level = "" if found[1] == "INFO" else f"{found[1]} "
            events.append(Event(time, "conductor", line(level + found[2].replace(uuid, name))))
    return events


def leases(text: str) -> list[Lease]:
    """All DHCP messages in the log of openvswitch's container (with Docker's timestamps), where dhcp-log
    writes a line for each."""
    matches = [(time, LEASE.match(entry)) for time, entry in stamped(text)]
    return [Lease(time, one[1], one[2], one[3] or "", one[4] or "") for time, one in matches if one]


def dhcp(leases: Sequence[Lease], macs: Iterable[str], known: Iterable[str] = ()) -> list[Event]:
    """What these MACs said and were told; with `known` (all MACs that are some node's), strangers' requests,
    too."""
    wanted, others = {mac.lower() for mac in macs}, {mac.lower() for mac in known}
    events = []
    for one in leases:
        words = " ".join(filter(None, (one.kind, one.address, one.mac, one.note)))
        if one.mac in wanted:
            events.append(Event(one.time, "dhcp", line(words)))
        elif others and one.mac not in others and one.kind in ("DHCPDISCOVER", "DHCPREQUEST"):
            events.append(Event(one.time, "dhcp", line(f"{words}: {STRANGER}")))
    return events


def addresses(leases: Sequence[Lease], macs: Iterable[str]) -> set[str]:
    """The addresses that these MACs were given."""
    wanted = {mac.lower() for mac in macs}
    return {one.address for one in leases if one.mac in wanted and one.kind == "DHCPACK" and one.address}


def tftp(text: str, clients: set[str]) -> list[Event]:
    """What these addresses asked TFTP for (dnsmasq's log with Docker's timestamps)."""
    events = []
    for time, entry in stamped(text):
        found = TFTP.search(entry)
        if found and found[4] in clients:
            how = "not found: " if "not found" in found[3] else "" if found[1] == "sent" else "failed: "
            events.append(Event(time, "tftp", line(f"{how}{found[2]} to {found[4]}")))
    return events


def http(text: str, clients: set[str]) -> list[Event]:
    """What these addresses asked the boot server for (nginx's access log), and what became of it."""
    events = []
    for found in filter(None, map(REQUEST.match, text.splitlines())):
        time = parse_time(found[1])
        if time and found[2] in clients:
            _, address, verb, path, status, size = found.groups()
            events.append(
                Event(
                    time.astimezone(UTC),
                    "http",
                    line(f"{verb} {path} by {address}: {status}, {int(size) >> 10} KiB"),
                )
            )
    return events


def console(text: str, written: datetime) -> list[Event]:
    """The lines of a serial console, in their order, which is never turned round.

    Each has the time at which the rack saw it written. Of a rack that did not look, the agent's own lines
    have a time; the others are no later than the next line that has one, and than the last write.
    """
    told = list[tuple[datetime | None, str]]()
    for entry in text.split("\n"):
        found = TIMED.match(entry)
        seen = parse_time(found[1][:19]) if found and found[1] != "-" else None
        for piece in (entry[found.end() :] if found else entry).splitlines():
            what = line(piece)
            agent = AGENT.search(what)
            own = parse_time(agent[1]) if agent else None
            what = f"{agent[2]} {agent[3]}" if agent and own else what
            told += [(seen or own, what)] if what else []
    events, latest = list[Event](), written
    for time, what in reversed(told):
        latest = min(time or latest, latest)
        events.append(Event(latest, "console", what))
    return events[::-1]


# --- records
# --------------------------------------------------------------------------------


def ironic(node: Mapping[str, Any], history: Iterable[Mapping[str, Any]]) -> list[Event]:
    """What Ironic's record of a node and its history tell; the record's last error counts from when the
    record was changed."""
    internal = node.get("driver_internal_info") or {}
    told = [
        (node.get("inspection_started_at"), "inspection started"),
        (node.get("inspection_finished_at"), "inspection finished"),
        (
            internal.get("agent_last_heartbeat"),
            f"heartbeat of the ramdisk at {internal.get('agent_url', '')}",
        ),
        (node.get("provision_updated_at"), f"state {node.get('provision_state')}"),
        (node.get("updated_at"), f"last error: {node['last_error']}" if node.get("last_error") else ""),
        (
            node.get("updated_at"),
            (
                f"maintenance: {node.get('maintenance_reason') or 'no reason given'}"
                if node.get("maintenance")
                else ""
            ),
        ),
    ]
    told += [
        (item.get("created_at"), f"{item.get('event_type') or item.get('severity')}: {item.get('event')}")
        for item in history
    ]
    return [Event(time, "ironic", line(what)) for text, what in told if what and (time := parse_time(text))]


def nova(server: Mapping[str, Any], actions: Iterable[Mapping[str, Any]]) -> list[Event]:
    """A server's actions and fault, as Nova's API gives them."""
    name, fault = server.get("name"), server.get("fault") or {}
    told = [
        (
            item.get("start_time"),
            f"{item.get('action')} {name}{': ' + item['message'] if item.get('message') else ''}",
        )
        for item in actions
    ]
    told += [(fault.get("created"), f"fault of {name}: {fault.get('message')}")] if fault else []
    told += [(server.get("updated") or server.get("updated_at"), f"{name} is {server.get('status')}")]
    return [Event(time, "nova", line(what)) for text, what in told if (time := parse_time(text))]


# --- the timeline
# --------------------------------------------------------------------------------


def merge(
    events: Iterable[Event], *, since: datetime | None = None, tail: int
) -> tuple[list[Event], dict[str, int]]:
    """The last `tail` events of each source, in order of time, and how many of which source were left out.

    The same thing again and again, with nothing else of its source between, is one event: the last, with how
    often.
    """
    kept, cut = list[Event](), dict[str, int]()
    ordered = sorted(events, key=lambda event: event.time)
    for source in dict.fromkeys(event.source for event in ordered):
        own = [
            event for event in ordered if event.source == source and (since is None or event.time >= since)
        ]
        folded = [_fold(list(group)) for _, group in groupby(own, key=lambda event: event.what)]
        kept += folded[-tail:]
        if len(folded) > tail:
            cut[source] = len(folded) - tail
    return sorted(kept, key=lambda event: event.time), cut


def _fold(same: list[Event]) -> Event:
    last = same[-1]
    return last if len(same) == 1 else Event(last.time, last.source, f"{last.what} ({len(same)} times)")
