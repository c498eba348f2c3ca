"""Bare-metal nodes: enrol what nodes.yaml says, bring them to `available`, show them.

Nothing here knows virtual from real.
"""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from osbox import log, waiting
from osbox.errors import Error, UserError
from osbox.metal.nodesfile import Inventory, Node

if TYPE_CHECKING:
    from openstack.connection import Connection

POLL_SECONDS = 1
MICROVERSION = "1.80"
ABORT_SECONDS = (
    150  # more than the 120 s after which Ironic's API gives up on its conductor: its rpc_response_timeout
)
HEARTBEAT_SECONDS = 25  # more than the ramdisk's longest interval: 0.6 of [api]ramdisk_heartbeat_timeout
STEP_SECONDS = 1800
"""How long one step (verify, inspect, clean) may take by default: Ironic's own deploy and clean callback
time-outs."""
INTERFACES = (
    "bios_interface",
    "boot_interface",
    "console_interface",
    "deploy_interface",
    "firmware_interface",
    "inspect_interface",
    "management_interface",
    "network_interface",
    "power_interface",
    "raid_interface",
    "vendor_interface",
)
FAILED = frozenset({"inspect failed", "clean failed", "error", "adopt failed", "deploy failed"})
SETTLED = frozenset({"available", "active"})
DELETABLE = frozenset(
    {"available", "enroll", "manageable", "inspect failed", "clean failed", "error", "adopt failed"}
)
Report = Callable[[str, str], None]
"""Called with a node's name and its new state."""
LastSeen = Callable[[Sequence[str], Any], Sequence[str]]
"""What was seen of a node's MAC addresses on the network: the evidence when it does not boot."""


@dataclass
class _Work:
    """Where one node stands on its way to available."""

    node: Node
    since: float = field(default_factory=time.monotonic)
    state: str = ""
    asked: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Options:
    """How nodes are brought to `available`: inspect boots each once; a step that takes longer than deadline
    (s) is given up."""

    report: Report
    last_seen: LastSeen
    inspect: bool = True
    deadline: float = STEP_SECONDS
    is_off: Callable[[Any], bool] = lambda _: False
    """Whether a node, as Ironic has it, is known to be off; Ironic itself does not look while it waits for
    the ramdisk."""


def enroll(
    system: "Connection", inventory: Inventory, *, owner: str, deploy: dict[str, str], options: Options
) -> list[str]:
    """Create or update the nodes and bring each to `available`; returns what was changed.

    system is a system-scoped connection, owner the project that sees the nodes, deploy the driver_info of the
    deploy images. Raises Error for the first node that Ironic gives up on, after all others have settled.
    """
    changed = []
    for node in inventory.nodes:
        changed += _ensure(system, node, owner, deploy)
    problems = _settle(system, [_Work(node) for node in inventory.nodes], options, changed)
    if problems:
        raise problems[0]
    return changed


def _ensure(system: "Connection", node: Node, owner: str, deploy: dict[str, str]) -> list[str]:
    """The node's record and its ports as the file says."""
    wish = _wish(node, owner, deploy)
    have = _find(system, node.name)
    changed = []
    if have is None:
        have = system.baremetal.create_node(name=node.name, **wish)
        changed.append(f"node {node.name}")
    elif have.provision_state not in ("active", "deploying", "wait call-back"):
        differing = {key: value for key, value in wish.items() if _differs(key, getattr(have, key), value)}
        if differing:
            have = system.baremetal.update_node(have, **differing)
            changed.append(f"node {node.name} ({', '.join(sorted(differing))})")
    known = {port.address for port in system.baremetal.ports(node=have.id)}
    for port in node.ports:
        if port.address.lower() not in known:
            system.baremetal.create_port(
                node_id=have.id,
                address=port.address.lower(),
                is_pxe_enabled=port.pxe_enabled,
                physical_network="physnet1",
            )
            changed.append(f"port {port.address} of {node.name}")
    return changed


def _wish(node: Node, owner: str, deploy: dict[str, str]) -> dict[str, Any]:
    properties = node.properties.model_dump(mode="json", exclude_none=True)
    capabilities = ",".join(f"{key}:{value}" for key, value in properties.pop("capabilities", {}).items())
    if capabilities:
        properties["capabilities"] = capabilities
    wish: dict[str, Any] = {
        "driver": str(node.driver),
        "driver_info": {**node.driver_info(), **deploy},
        "properties": properties,
        "resource_class": node.resource_class,
        "owner": owner,
        "extra": node.extra,
    }
    if node.description:
        wish["description"] = node.description
    return wish | {name: getattr(node, name) for name in INTERFACES if getattr(node, name)}


def _differs(key: str, have: Any, wish: Any) -> bool:
    if key in ("driver_info", "properties"):
        # Ironic masks passwords in its answers, and inspection adds properties of its own.
        return any(
            have.get(name) != value
            for name, value in wish.items()
            if "password" not in name and str(value) != str(have.get(name))
        )
    return bool(have != wish)


def _find(system: "Connection", name: str) -> Any:
    from openstack import exceptions  # noqa: PLC0415 - slow to import

    try:
        return system.baremetal.get_node(name)
    except exceptions.NotFoundException:
        return None


def _settle(
    system: "Connection", works: Sequence[_Work], options: Options, changed: list[str]
) -> list[Error]:
    """Push every node on, all at the same time, until each is available, in use, or given up."""
    under_way, problems = list(works), list[Error]()

    def settled() -> bool:
        for work in list(under_way):
            current = system.baremetal.get_node(work.node.name)
            if current.provision_state != work.state:
                work.state, work.since = current.provision_state, time.monotonic()
                options.report(work.node.name, work.state)
            problem = _problem(current, work, options)
            if problem:
                problems.append(problem)
            if problem or work.state in SETTLED:
                under_way.remove(work)
                continue
            _push(system, current, work, options, changed)
        return not under_way

    waiting.happens(settled, math.inf, poll=POLL_SECONDS)  # each step of a node has a deadline of its own
    return problems


def _push(system: "Connection", current: Any, work: _Work, options: Options, changed: list[str]) -> None:
    """Ask Ironic for the node's next step, once per state."""
    verb = None
    if work.state == "enroll" and "manage" not in work.asked:
        verb = "manage"
    elif work.state == "manageable":
        verb = _from_manageable(system, current, work, options.inspect)
    elif work.state in ("inspect failed", "clean failed") and not work.asked:
        verb = "manage"  # a failure of an earlier run: try again
    elif work.state in ("inspect wait", "clean wait") and not work.asked and options.is_off(current):
        # An earlier run switched it on, and it lost its power since: its ramdisk will not call, so begin
        # anew.
        _abort(system, current.id)
        changed.append(f"{work.node.name}: abort")
    if verb and verb not in work.asked:
        work.asked.add(verb)
        if current.is_maintenance and work.state == "clean failed":
            system.baremetal.unset_node_maintenance(current)
        system.baremetal.set_node_provision_state(current, verb)
        changed.append(f"{work.node.name}: {verb}")


def _from_manageable(system: "Connection", current: Any, work: _Work, inspect: bool) -> str | None:
    """Inspect first, then provide: as soon as the ramdisk that inspected has sent a heartbeat, so that
    cleaning goes on in it."""
    if inspect and work.node.inspect_interface != "no-inspect" and not _inspected(system, current.id):
        return "inspect"
    waited = time.monotonic() - work.since
    heard = "agent_last_heartbeat" in (current.driver_internal_info or {})
    if "inspect" in work.asked and not heard and waited < HEARTBEAT_SECONDS:
        return None
    return "provide"


def _inspected(system: "Connection", uuid: str) -> bool:
    """Whether Ironic has ever finished an inspection of the node (the SDK's Node has no such field)."""
    answer = system.baremetal.get(
        f"/nodes/{uuid}", params={"fields": "inspection_finished_at"}, microversion=MICROVERSION
    )
    return bool(answer.json()["inspection_finished_at"])


def _problem(current: Any, work: _Work, options: Options) -> Error | None:
    """Why this node will not get on by itself; None while it may."""
    name = work.node.name
    if (
        work.state == "enroll"
        and "manage" in work.asked
        and current.last_error
        and time.monotonic() - work.since > 1
    ):
        return Error(
            f"{name}: Ironic cannot reach or log in to its BMC at {work.node.bmc.address}",
            evidence=current.last_error,
            hint="check address, user name and password in nodes.yaml, then osbox node enroll again",
        )
    if work.state in FAILED and work.asked:
        return Error(
            f"{name} is in the state `{work.state}`",
            evidence=current.last_error or "",
            hint=f"osbox explain {name}; osbox node enroll again",
        )
    if time.monotonic() - work.since > options.deadline and work.state not in SETTLED:
        seen = options.last_seen([port.address for port in work.node.ports], current)
        return Error(
            f"{name} has been in the state `{work.state}` for {log.seconds(options.deadline)}",
            evidence="\n".join([f"Ironic: {current.last_error or 'no error'}", *seen]),
            hint=f"osbox explain {name}",
        )
    return None


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
    node = _find(system, name)
    if node is None:
        raise Error(f"there is no node {name}", hint="osbox node list")
    return {
        key: value
        for key, value in node.to_dict().items()
        if value not in (None, {}, []) and key not in ("links", "location")
    }


def forget(
    system: "Connection",
    names: Sequence[str],
    *,
    uncleaned: bool = False,
    seconds: float = STEP_SECONDS,
    switch_off: Callable[[Any], object] = lambda _: None,
) -> list[str]:
    """Delete nodes from Ironic and return those that were there.

    An inspection is ended; a cleaning is waited for, unless uncleaned. switch_off is called with a node, as
    Ironic has it, before Ironic is asked to end what it does: it powers off softly, and waits
    [conductor]power_state_change_timeout, 60 s, for a node in its firmware, which heeds none.

    Raises UserError for a node that holds a server.
    """
    deadline = time.monotonic() + seconds
    gone = []
    for name in names:
        left = deadline - time.monotonic()
        if _forgotten(system, name, left, uncleaned=uncleaned, switch_off=switch_off):
            gone.append(name)
    return gone


def _forgotten(
    system: "Connection", name: str, seconds: float, *, uncleaned: bool, switch_off: Callable[[Any], object]
) -> bool:
    """Delete a node as soon as its state allows it; False when there is none of that name."""
    current: Any = None

    def gone() -> Literal["deleted", "never was"] | None:
        nonlocal current
        current = _find(system, name)
        if current is None:
            return "never was"
        state = current.provision_state
        if state in DELETABLE and not current.instance_id and _deleted(system, current.id):
            return "deleted"
        if state == "active":
            raise UserError(
                f"{name} holds the server {current.instance_id}",
                hint=f"osbox openstack server delete {current.instance_id}",
            )
        if state == "inspect wait" or (state == "clean wait" and uncleaned):
            switch_off(current)
            _abort(system, current.id)
        return None

    answer = waiting.happens(gone, seconds, poll=POLL_SECONDS)
    if answer is None:
        raise Error(
            f"{name} is still in the state `{current.provision_state}`",
            evidence=current.last_error or "",
            hint="osbox node list",
        )
    return answer == "deleted"


def _deleted(system: "Connection", uuid: str) -> bool:
    """Delete a node; False while Ironic, which locks a node that it works on, is not done with it."""
    # A node that failed at something may be deleted in maintenance only.
    system.baremetal.put(
        f"/nodes/{uuid}/maintenance",
        json={"reason": "osbox forgets it"},
        microversion=MICROVERSION,
        raise_exc=False,
    )
    answer = system.baremetal.delete(
        f"/nodes/{uuid}", microversion=MICROVERSION, raise_exc=False, retriable_status_codes=[]
    )
    return answer.status_code in (204, 404)  # No Content; gone already


def _abort(system: "Connection", uuid: str) -> None:
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
