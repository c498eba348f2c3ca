"""Ironic's nodes and ports: read as values, and changed by what osbox.metal.difference says."""

import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from osbox.errors import Error
from osbox.metal.difference import Difference, NodeRecord, PortRecord
from osbox.metal.node import INTERFACES

if TYPE_CHECKING:
    from openstack.connection import Connection

MICROVERSION = "1.80"
ABORT_SECONDS = (
    150  # more than the 120 s after which Ironic's API gives up on its conductor: its rpc_response_timeout
)
STEP_SECONDS = 1800
"""How long one step of a node (verify, inspect, clean) may take by default: Ironic's own deploy and clean
callback time-outs."""
BOOTED = ("deploy_kernel", "deploy_ramdisk", "rescue_kernel", "rescue_ramdisk")
FIELDS = ("driver", "driver_info", "properties", "resource_class", "description", "extra", *INTERFACES)

IMAGE = re.compile(r"(?:glance://(?:\S+/)?)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
"""How a node names an image of Glance: its id, or an address of it (Ironic's common.glance_service)."""


def read(system: "Connection") -> list[NodeRecord]:
    """All nodes with their ports: two requests, however many there are."""
    ports: dict[str, list[PortRecord]] = {}
    for port in system.baremetal.ports(details=True):
        record = PortRecord(
            port.id, port.address.lower(), port.node_id, bool(port.is_pxe_enabled), port.extra or {}
        )
        ports.setdefault(port.node_id, []).append(record)
    return [
        NodeRecord(
            node.id,
            node.name or "",
            node.provision_state,
            {key: getattr(node, key, None) for key in FIELDS},
            tuple(ports.get(node.id, ())),
        )
        for node in system.baremetal.nodes(details=True)
    ]


def find(system: "Connection", name: str) -> Any:
    """Ironic's node; None when there is none of that name."""
    from openstack import exceptions  # noqa: PLC0415 - slow to import

    try:
        return system.baremetal.get_node(name)
    except exceptions.NotFoundException:
        return None


def images_named(system: "Connection") -> dict[str, list[str]]:
    """The names of the nodes that name an image, by its id: what they boot to be written (driver_info), and
    what was written to their disks (instance_info)."""
    found: dict[str, list[str]] = {}
    for node in system.baremetal.nodes(details=True):
        said = [*(node.driver_info or {}).values(), *(node.instance_info or {}).values()]
        ids = {match[1] for value in said if isinstance(value, str) and (match := IMAGE.fullmatch(value))}
        for image in ids:
            found.setdefault(image, []).append(node.name or node.id)
    return found


def take_ports(system: "Connection", change: Difference) -> None:
    """Delete the ports that go: before any are made, for they may move to another node."""
    for port in change.gone:
        system.baremetal.delete_port(port)


def send(system: "Connection", change: Difference) -> None:
    """Make the node, or change it, and make its ports."""
    if change.create is not None:
        node = system.baremetal.create_node(name=change.name, **change.create)
    else:
        node = system.baremetal.get_node(change.name)
        if change.patch:
            system.baremetal.patch_node(node, [dict(operation) for operation in change.patch])
    for body in change.new:
        system.baremetal.create_port(node_id=node.id, **body)


def abort(system: "Connection", uuid: str) -> None:
    """Ask Ironic to end the wait.

    It answers when the node is off, which may take a minute; whatever it says, the next look tells.
    """
    with contextlib.suppress(Exception):
        system.baremetal.put(
            f"/nodes/{uuid}/states/provision",
            json={"target": "abort"},
            microversion=MICROVERSION,
            timeout=ABORT_SECONDS,
        )


def boot_others(system: "Connection", others: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Have nodes that boot one of these images boot the other one from now on, by id; returns the names of
    those that do, and of those that Ironic does not let us change now."""
    from openstack import exceptions  # noqa: PLC0415 - slow to import

    changed, kept = list[str](), list[str]()
    for node in system.baremetal.nodes(details=True):
        named = {key: IMAGE.fullmatch(str((node.driver_info or {}).get(key, ""))) for key in BOOTED}
        patch = [
            {"op": "replace", "path": f"/driver_info/{key}", "value": others[match[1]]}
            for key, match in named.items()
            if match and match[1] in others
        ]
        if not patch:
            continue
        try:
            system.baremetal.patch_node(node, patch)
        except (exceptions.ConflictException, exceptions.BadRequestException):
            kept.append(node.name or node.id)
        except exceptions.NotFoundException:  # it went meanwhile
            continue
        else:
            changed.append(node.name or node.id)
    return changed, kept


def listing(system: "Connection") -> list[dict[str, Any]]:
    """What `baremetal node list` shows, and the server on each node."""
    rows = []
    for node in system.baremetal.nodes(details=True):
        rows.append(
            {
                "uuid": node.id,
                "name": node.name,
                "instance_uuid": node.instance_id,
                "power_state": node.power_state,
                "provision_state": node.provision_state,
                "maintenance": node.is_maintenance,
                "resource_class": node.resource_class,
                "driver": node.driver,
                "last_error": node.last_error,
            }
        )
    return rows


def show(system: "Connection", name: str) -> dict[str, Any]:
    """Everything Ironic knows of a node (passwords are masked by Ironic)."""
    node = find(system, name)
    if node is None:
        raise Error(f"there is no node {name}", hint="osbox node list")
    return {
        key: value
        for key, value in node.to_dict().items()
        if value not in (None, {}, []) and key not in ("links", "location")
    }
