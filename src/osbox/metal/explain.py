"""Explain a node: Ironic's record and history, Nova, the services' logs and the console, joined into one
timeline with its cause."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from osbox import answers, log
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.metal import causes, rack, records, sightings, timeline
from osbox.metal.causes import Cause, Story
from osbox.metal.timeline import Event
from osbox.site.site import Site

if TYPE_CHECKING:
    from openstack.connection import Connection
    from requests import Response

PLACEMENT = {"OpenStack-API-Version": "placement 1.20"}
# What a node cannot do without, on its way up.
NEEDED = (
    "ironic-api",
    "ironic-conductor",
    "neutron-server",
    "openvswitch",
    "ovn-controller",
    "ovn-central",
    "ipxe-httpd",
    "pxe-tftp",
    "swift-proxy",
    "swift-object",
)
CONDUCTOR, ON_THE_NETWORK, PLACED = "the conductor's log", "DHCP, TFTP and HTTP", "Placement"
MISSED = {"unheard-conductor": CONDUCTOR, "unheard-network": ON_THE_NETWORK, "unheard-placement": PLACED}
"""Sources whose silence would pass for a sign: that nothing was asked for, that nothing is in the way."""
DHCP_BY = frozenset({"inspect wait", "clean wait", "wait call-back"})


@dataclass(frozen=True)
class Report:
    """A node's state, the likely cause, and what was seen; `cut` says how many events of a source were left
    out, `unheard` which sources said nothing."""

    node: str
    state: str
    power: str
    cause: Cause
    events: list[Event]
    cut: dict[str, int]
    unheard: tuple[str, ...] = ()


@dataclass(frozen=True)
class Doors:
    """The ways to what knows of a node: Ironic and Nova by their APIs, logs by the engine; states: each
    service's, by name."""

    site: Site
    engine: Engine
    project: "Connection"
    system: "Connection"
    states: Mapping[str, str]


@dataclass(frozen=True)
class _Seen:
    """What was read for one node."""

    record: Mapping[str, Any]
    macs: tuple[str, ...]
    server: Mapping[str, Any]
    power: str
    """The virtual node's own word (running, off, …); "" for real hardware."""
    events: list[Event]
    unheard: list[str]


def explain(doors: Doors, name: str, *, since: datetime | None, tail: int) -> Report:
    """Everything that is known of a node, in order, and the likely cause.

    since leaves out what is older, tail what is before the last so many events of a source. Raises UserError
    when Ironic does not know the node, Error when Ironic says nothing of it; of what else says nothing, a
    warning tells.
    """
    seen = _look(doors, _record(doors.system, name))
    story = _story(doors, seen)
    events, cut = timeline.merge(seen.events, since=since, tail=tail)
    power = seen.power or str(seen.record.get("power_state") or "unknown")
    known = str(seen.record["name"] or name), story.state, power, causes.diagnose(story)
    return Report(*known, events, cut, tuple(seen.unheard))


def _record(system: "Connection", name: str) -> Mapping[str, Any]:
    answer = system.baremetal.get(f"/nodes/{name}", microversion=records.MICROVERSION)
    if answer.status_code != HTTPStatus.NOT_FOUND:
        return answers.read(answer, f"Ironic did not say what it knows of {name}")
    known = [str(node.name or node.id) for node in system.baremetal.nodes()]
    near = difflib.get_close_matches(name, known, 1)
    hint = (
        f"osbox explain {near[0]}"
        if near
        else "nodes: " + (", ".join(known) or "none; osbox node enroll nodes.yaml")
    )
    raise UserError(f"there is no node {name}" + (f"; did you mean {near[0]}?" if near else ""), hint=hint)


def _look(doors: Doors, record: Mapping[str, Any]) -> _Seen:
    uuid = str(record["uuid"])
    ports = list(doors.system.baremetal.ports(details=True))
    macs = tuple(str(port.address) for port in ports if port.node_id == uuid)
    name, told = str(record["name"] or uuid), list[Mapping[str, Any]]()
    unheard = list[str]()
    with _or_without("Ironic's history", unheard):
        told = _history(doors.system, uuid)
    events = timeline.ironic(record, told)
    with _or_without(CONDUCTOR, unheard):
        events += sightings.of_conductor(doors.engine, doors.site, uuid, name)
    with _or_without(ON_THE_NETWORK, unheard):
        known = [str(port.address) for port in ports]
        events += sightings.on_the_network(doors.engine, doors.site, macs, known)
    virtual = rack.behind(doors.engine, doors.site, record.get("driver_info"))
    if virtual:
        with _or_without("the console", unheard):
            events += sightings.of_console(doors.engine, doors.site, virtual.name)
    server: Mapping[str, Any] = {}
    with _or_without("Nova", unheard):
        server = _server(doors.project, record)
    if server:
        actions = list[Mapping[str, Any]]()
        with _or_without("Nova's actions", unheard):
            actions = _get(doors.project, f"/servers/{server['id']}/os-instance-actions").get(
                "instanceActions", []
            )
        events += timeline.nova(server, actions)
    return _Seen(record, macs, server, virtual.state if virtual else "", events, unheard)


@contextmanager
def _or_without(source: str, unheard: list[str]) -> Iterator[None]:
    """A source that is silent is told, and put among the unheard: the others may well say why the node is as
    it is, but what it did not say is no sign."""
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - slow to import
    from openstack.exceptions import SDKException  # noqa: PLC0415 - slow to import

    try:
        yield
    except (Error, ClientException, SDKException) as silent:
        said = " ".join(str(silent).split())[: answers.LONGEST]
        log.warn(f"what follows is without {source}: {said}")
        unheard.append(source)


def _history(system: "Connection", uuid: str) -> list[Mapping[str, Any]]:
    answer = system.baremetal.get(
        f"/nodes/{uuid}/history", params={"detail": "true"}, microversion=records.MICROVERSION
    )
    return list(_known(answer, "Ironic did not tell the node's history").get("history", []))


def _server(project: "Connection", record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The server on the node, or else the last one that found no host; {} for none."""
    found: Mapping[str, Any] = {}
    if record.get("instance_uuid"):
        found = _get(project, f"/servers/{record['instance_uuid']}").get("server", {})
    elif record.get("provision_state") == "available":
        broken = _get(project, "/servers/detail?status=ERROR&sort_key=created_at&sort_dir=desc&limit=1").get(
            "servers", []
        )
        found = broken[0] if broken and "No valid host" in str(broken[0].get("fault")) else {}
    return found


def _get(project: "Connection", path: str) -> dict[str, Any]:
    return _known(project.compute.get(path), "Nova did not say what it knows of the server")


def _known(answer: "Response", asked: str) -> dict[str, Any]:
    """What a service answered; nothing when it knows of no such thing."""
    return {} if answer.status_code == HTTPStatus.NOT_FOUND else answers.read(answer, asked)


# --- facts
# --------------------------------------------------------------------------------


def _story(doors: Doors, seen: _Seen) -> Story:
    record, state = seen.record, str(seen.record["provision_state"])
    info = record.get("driver_info") or {}
    bmc = str(info.get("redfish_address") or info.get("ipmi_address") or "")
    server = str(seen.server.get("name", ""))
    in_use = server and record.get("instance_uuid")
    words = {
        "macs": ", ".join(seen.macs) or "a MAC that was never written down",
        "bmc": bmc,
        "address": str(doors.site.address),
        "error": str(record.get("last_error") or "no reason was given"),
        "server": server,
        "server-words": f" and holds the server {server}" if in_use else "",
        "bmc-try": (
            f"curl -ski {bmc}/redfish/v1/"
            if "redfish_address" in info
            else f"ipmitool -I lanplus -H {bmc} -U USER -a power status"
        ),
        "retry": (
            f"osbox openstack server delete {server}, which cleans the node, and create it again"
            if in_use
            else "osbox node enroll nodes.yaml"
        ),
        "resume": (
            f"osbox openstack server delete {server}, which cleans the node"
            if in_use
            else "osbox node enroll nodes.yaml, which begins anew"
        ),
    }
    return Story(
        str(record["name"]), state, datetime.now(UTC), seen.events, words, _facts(doors, seen, state)
    )


def _facts(doors: Doors, seen: _Seen, state: str) -> dict[str, str]:
    """Signs that no event shows: services that are down, a node that is off, what Neutron and Placement
    hold."""
    record = seen.record
    down = [
        f"{name} ({doors.states.get(name, 'no container')})"
        for name in NEEDED
        if doors.states.get(name) != "running"
    ]
    facts = {
        "service-down": ", ".join(down),
        "off": "the rack: the node is off" if seen.power in rack.OFF else "",
        "maintenance": (
            str(record.get("maintenance_reason") or "no reason given") if record.get("maintenance") else ""
        ),
        "error": str(record.get("last_error") or ""),
    }
    unknown = ""
    if state in DHCP_BY:
        with _or_without("Neutron", seen.unheard):
            unknown = _without_port(doors.project, seen)
    if unknown:
        facts |= {"no-port": f"neutron: no port has the MAC {unknown}", "asker": unknown}
    if state == "available":
        with _or_without(PLACED, seen.unheard):
            facts |= _placed(doors, record)
    facts |= {fact: source for fact, source in MISSED.items() if source in seen.unheard}
    return {name: value for name, value in facts.items() if value}


def _without_port(project: "Connection", seen: _Seen) -> str:
    """The MACs of the node that asked for an address and that no port of Neutron has: DHCP does not answer
    them."""
    told = " ".join(event.what for event in seen.events if event.source == "dhcp")
    return ", ".join(
        mac
        for mac in seen.macs
        if mac in told and not any(True for _ in project.network.ports(mac_address=mac))
    )


def _placed(doors: Doors, record: Mapping[str, Any]) -> dict[str, str]:
    """What Placement has of the node, where that keeps Nova from it."""

    def ask(path: str) -> dict[str, Any]:
        address = f"{doors.site.api(8778)}{path}"
        answer = doors.project.session.get(address, headers=PLACEMENT, raise_exc=False)
        return answers.read(answer, "Placement did not say what it has of the node")

    found = ask(f"/resource_providers?name={record['uuid']}")["resource_providers"]
    if not found:
        return {"not-placed": f"placement: no resource provider {record['uuid']}"}
    inventories = ask(f"/resource_providers/{found[0]['uuid']}/inventories")["inventories"]
    wanted = (
        "CUSTOM_" + "".join(char if char.isalnum() else "_" for char in str(record["resource_class"])).upper()
    )
    whole = inventories.get(wanted, {"total": 0, "reserved": 0})
    if not whole["total"]:
        return {"not-placed": f"placement: the node's provider has no {wanted}"}
    facts = {"reserved": f"placement: {wanted} is reserved"} if whole["reserved"] >= whole["total"] else {}
    offered = ask(f"/allocation_candidates?resources={wanted}:1")["allocation_requests"]
    return facts or ({"class": wanted} if offered else {})
