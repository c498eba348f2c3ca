"""Bring nodes back to `available` from where a fault left them: a deployment or a cleaning that failed, a
server that Nova no longer has, a maintenance that a fault began.

What a person has is left alone: a server that Nova knows, a maintenance that somebody set.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from osbox import log, waiting
from osbox.errors import Error, UserError
from osbox.metal import problems, records
from osbox.metal.states import AGAIN, BACK, FAILED, UNDEPLOY, UNDER_WAY

if TYPE_CHECKING:
    from openstack.connection import Connection

POLL_SECONDS = 1
Server = Literal["", "gone", "there"]
"""What Nova has of the server that a node names: it names none, or Nova was not asked, Ironic being at work;
Nova has none of that id; it has it."""
Step = Literal["", "wait", "unset maintenance", "remove instance_uuid", "manage", "provide", "deleted"]
"""What comes next: nothing; Ironic is at work; what is done to the node's fields, or a verb, in the words of
Ironic's API."""


@dataclass(frozen=True)
class Seen:
    """A node as it is. fault: why Ironic itself put it into maintenance; "" when somebody did."""

    name: str
    state: str
    server: Server = ""
    instance: str = ""
    maintenance: bool = False
    fault: str = ""
    reason: str = ""
    error: str = ""


@dataclass
class _Work:
    name: str
    state: str = ""
    since: float = field(default_factory=time.monotonic)
    asked: list[Step] = field(default_factory=list)


def next_step(seen: Seen, *, undeploy: bool) -> Step:
    """What brings a node nearer to `available`; "" when it is there, or in use.

    undeploy: also of a node in `active` whose server Nova has not; its disk is cleaned. Raises UserError for
    what somebody else is to decide.
    """
    if seen.state in UNDER_WAY:
        return "wait"
    if seen.maintenance and not seen.fault:
        raise UserError(
            f"{seen.name} is in maintenance, which somebody set: {seen.reason or 'no reason given'}",
            hint=f"osbox openstack baremetal node maintenance unset {seen.name};"
            " then osbox node repair again",
        )
    if seen.state in BACK:
        raise problems.brought(seen.name, seen.state, seen.error, then="osbox node repair")
    if seen.state in UNDEPLOY and seen.server == "there":
        raise UserError(
            f"{seen.name} is in the state `{seen.state}` and holds the server {seen.instance},"
            " which Nova has",
            evidence=seen.error,
            hint=f"osbox openstack server delete {seen.instance}; then osbox node repair again",
        )
    if seen.state == "active" and seen.server == "gone" and not undeploy:
        raise UserError(
            f"{seen.name} is `active` with the server {seen.instance}, which Nova has not",
            evidence="somebody may have deployed it without Nova: what is on its disk would be erased",
            hint=f"osbox node repair --undeploy {seen.name}",
        )
    return _verb(seen)


def _verb(seen: Seen) -> Step:
    """Of a node that nobody else has a say in."""
    if seen.maintenance:
        return "unset maintenance"
    if seen.state in UNDEPLOY or (seen.state == "active" and seen.server == "gone"):
        return "deleted"
    if seen.state == "available" and seen.server == "gone":
        return "remove instance_uuid"
    if seen.state in AGAIN or seen.state == "enroll":
        return "manage"
    return "provide" if seen.state == "manageable" else ""


def repair(
    cloud: "Connection",
    system: "Connection",
    names: Sequence[str],
    *,
    undeploy: bool = False,
    report: Callable[[str, str], None] = log.state,
    deadline: float = records.STEP_SECONDS,
) -> list[str]:
    """Bring nodes of these names to `available`; returns what was done, `NAME: STEP`.

    cloud: a connection that may see the servers of all projects. deadline: of each state, in seconds. Raises
    Error for the nodes that do not get there, after the others have.
    """
    done, failed = list[str](), list[Error]()
    wanted = dict.fromkeys(names)
    works = [_Work(name) for name in wanted]

    def all_well() -> bool:
        for work in list(works):
            try:
                seen = look(cloud, system, work.name)
                step = _advance(system, work, seen, undeploy=undeploy, report=report, deadline=deadline)
            except Error as error:
                failed.append(error)
                works.remove(work)
                continue
            if step not in ("", "wait"):
                done.append(f"{work.name}: {step}")
            elif not step:
                works.remove(work)
        return not works

    waiting.happens(all_well, float("inf"), poll=POLL_SECONDS)  # each state has a deadline of its own
    if failed:
        raise problems.together(failed, len(wanted))
    return done


def _advance(
    system: "Connection",
    work: _Work,
    seen: Seen,
    *,
    undeploy: bool,
    report: Callable[[str, str], None],
    deadline: float,
) -> Step:
    """Ask for a node's next step, each once in a state."""
    if seen.state != work.state:
        if seen.state in FAILED and work.asked:
            raise _failed(seen)
        work.state, work.since = seen.state, time.monotonic()
        report(seen.name, seen.state)
    step = next_step(seen, undeploy=undeploy)
    if step in work.asked:
        if seen.state == "enroll" and seen.error and time.monotonic() - work.since > POLL_SECONDS:
            raise _failed(seen)
        step = "wait"
    if step == "wait":
        if time.monotonic() - work.since > deadline:
            raise Error(
                f"{seen.name} has been in the state `{seen.state}` for {log.seconds(deadline)}",
                evidence=f"Ironic: {seen.error or 'no error'}",
                hint=f"osbox explain {seen.name}",
            )
        return "wait"
    if step:
        work.asked.append(step)
        _do(system, seen.name, step)
    return step


def _failed(seen: Seen) -> Error:
    return Error(
        f"{seen.name} is in the state `{seen.state}` again",
        evidence=seen.error,
        hint=f"osbox explain {seen.name}",
    )


def _do(system: "Connection", name: str, step: Step) -> None:
    from openstack import exceptions as sdk  # noqa: PLC0415 - slow to import

    node = system.baremetal.get_node(name)
    try:
        if step == "unset maintenance":
            system.baremetal.unset_node_maintenance(node)
        elif step == "remove instance_uuid":
            system.baremetal.patch_node(node, [{"op": "remove", "path": "/instance_uuid"}])
        else:
            system.baremetal.set_node_provision_state(node, step)
    except (sdk.BadRequestException, sdk.ConflictException) as error:
        raise Error(
            f"{name}: Ironic refuses `{step}`",
            evidence=" ".join(str(error).split())[:400],
            hint=f"osbox explain {name}; osbox node repair again",
        ) from None


def look(cloud: "Connection", system: "Connection", name: str) -> Seen:
    """A node as Ironic has it, and whether Nova has its server. While Ironic is at work that decides nothing:
    Nova is not asked each second then.

    Raises UserError when there is no node of that name.
    """
    node: Any = records.find(system, name)
    if node is None:
        raise UserError(f"there is no node {name}", hint="osbox node list")
    server: Server = ""
    if node.instance_id and node.provision_state not in UNDER_WAY:
        server = "there" if has_server(cloud, node.instance_id) else "gone"
    return Seen(
        node.name or node.id,
        node.provision_state,
        server,
        node.instance_id or "",
        bool(node.is_maintenance),
        node.fault or "",
        node.maintenance_reason or "",
        node.last_error or "",
    )


def has_server(cloud: "Connection", server: str) -> bool:
    """Whether Nova has a server of this id, in any project."""
    from openstack import exceptions as sdk  # noqa: PLC0415 - slow to import

    try:
        cloud.compute.get_server(server)
    except sdk.NotFoundException:
        return False
    return True
