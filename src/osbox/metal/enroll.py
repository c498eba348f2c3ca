"""Bare-metal nodes: enrol what nodes.yaml says, bring them to `available`, show them.

Nothing here knows virtual from real.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from osbox import answers, log, waiting
from osbox.errors import Error, UserError
from osbox.metal import problems, records
from osbox.metal.difference import Difference, Settings, differences
from osbox.metal.node import Inventory, Node
from osbox.metal.states import AGAIN, BACK, CHANGEABLE, FAILED, SETTLED, UNDEPLOY, UNDER_WAY

if TYPE_CHECKING:
    from openstack.connection import Connection

POLL_SECONDS = 1
HEARTBEAT_SECONDS = 25  # more than the ramdisk's longest interval: 0.6 of [api]ramdisk_heartbeat_timeout
SCHEDULABLE_SECONDS = 300
"""How long Placement may take to hear of a node that became available: Nova looks every
[DEFAULT]update_resources_interval, 5 s, and a thousand nodes take it minutes."""
Report = Callable[[str, str], None]
"""Called with a node's name and its new state."""
LastSeen = Callable[[Sequence[str], Any], Sequence[str]]
"""What was seen of a node's MAC addresses on the network: the evidence when it does not boot."""


@dataclass(
    eq=False
)  # each is itself: one of thousands is taken out of a list without a look at all its fields
class _Work:
    """Where one node stands on its way to available."""

    node: Node
    change: Difference
    later: bool = False
    """Something differs that Ironic takes in a later state only."""
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
    deadline: float = records.STEP_SECONDS
    placeable: Callable[[str], Collection[str]] | None = None
    """The ids of the nodes of a resource class that Placement offers: before, Nova finds no host. None: it is
    not waited for."""
    is_off: Callable[[Any], bool] = lambda _: False
    """Whether a node, as Ironic has it, is known to be off; Ironic itself does not look while it waits for
    the ramdisk."""


@dataclass
class _Run:
    """One call of enroll."""

    system: "Connection"
    inventory: Inventory
    settings: Settings
    options: Options
    changed: list[str] = field(default_factory=list)
    problems: list[Error] = field(default_factory=list)
    fresh: dict[str, Difference] | None = None
    """What differs as of this round's look, if one of its nodes had to know."""

    def differences(self) -> dict[str, Difference]:
        return plan(self.system, self.inventory, self.settings)

    def each(self, works: Sequence[_Work], act: Callable[[_Work], None]) -> list[_Work]:
        """Those for which it went well. What went wrong is noted: one bad node stops no other. That Ironic
        does not answer concerns all of them, and is raised."""
        from openstack import exceptions as sdk  # noqa: PLC0415 - slow to import

        refusals = (
            sdk.BadRequestException,
            sdk.ConflictException,
            sdk.ForbiddenException,
            sdk.NotFoundException,
        )
        good = []
        for work in works:
            try:
                act(work)
            except answers.SilentError:
                raise
            except Error as error:
                self.problems.append(error)
            except refusals as error:
                self.problems.append(
                    Error(
                        f"{work.node.name}: Ironic refuses what nodes.yaml says of it",
                        evidence=" ".join(str(error).split())[:400],
                        hint="correct the file, then osbox node enroll again",
                    )
                )
            else:
                good.append(work)
        return good

    def take_ports(self, work: _Work) -> None:
        if work.change.refused:
            raise UserError(
                f"{work.node.name}: {work.change.refused}",
                hint="name that node in the file, too, or osbox node forget it",
            )
        if work.change.state not in UNDER_WAY:
            with self.unless_begun(work):
                records.take_ports(self.system, work.change)

    def send(self, work: _Work) -> None:
        if work.change.state in UNDER_WAY:
            work.later = not work.change.is_empty or bool(work.change.held)
            return
        if not work.change.is_empty:
            with self.unless_begun(work):
                records.send(self.system, work.change)
            if work.change.state in UNDER_WAY:
                work.later = True
                return
            self.changed.append(f"{work.node.name}: {'; '.join(work.change.told)}")
        work.later = bool(work.change.held) and work.change.state not in SETTLED
        for held in work.change.held if not work.later else ():
            log.warn(f"{work.node.name} is {work.change.state}, so this stays as it is: {held}")

    def catch_up(self, work: _Work) -> None:
        """Send what had to wait."""
        self.fresh = self.fresh or self.differences()  # all nodes at once, not all of them for each
        work.change = self.fresh[work.node.name]
        self.take_ports(work)
        self.send(work)

    @contextmanager
    def unless_begun(self, work: _Work) -> Iterator[None]:
        """Ironic refuses changes (409) when it began with a node after we looked at it: then they wait."""
        from openstack import exceptions as sdk  # noqa: PLC0415 - slow to import

        try:
            yield
        except sdk.ConflictException:
            if work.change.create is not None:
                raise
            now = self.system.baremetal.get_node(work.node.name).provision_state
            if now not in UNDER_WAY:
                raise
            work.change = replace(work.change, state=now)


def plan(system: "Connection", inventory: Inventory, settings: Settings) -> dict[str, Difference]:
    """What enroll would send, by node."""
    return differences(inventory.nodes, records.read(system), settings)


def enroll(system: "Connection", inventory: Inventory, *, settings: Settings, options: Options) -> list[str]:
    """Create or change the nodes and bring each to `available`; returns what was changed.

    system is a system-scoped connection. Raises Error for the nodes that did not get there, after all others
    have settled.
    """
    run = _Run(system, inventory, settings, options)
    changes = run.differences()
    works = [_Work(node, changes[node.name]) for node in inventory.nodes]
    # All ports that go before any that come: one may move from a node to another.
    works = run.each(run.each(works, run.take_ports), run.send)
    _settle(run, works)
    _wait_placeable(run, works)
    if run.problems:
        raise problems.together(run.problems, len(inventory.nodes))
    return run.changed


def _wait_placeable(run: _Run, works: Sequence[_Work]) -> None:
    """Until Nova could place a server on each node that became available now."""
    offers = run.options.placeable
    if offers is None:
        return
    waiting_for = dict[str, Any]()
    for work in works:
        if work.state == "available" and work.asked:
            current = run.system.baremetal.get_node(work.node.name)
            if current.is_maintenance:
                log.warn(
                    f"{work.node.name} is in maintenance, so nothing is placed on it:"
                    f" osbox openstack baremetal node maintenance unset {work.node.name}"
                )
            else:
                waiting_for[current.id] = current

    def all_offered() -> bool:
        for name in {current.resource_class for current in waiting_for.values()}:
            for node in offers(name):
                waiting_for.pop(node, None)
        return not waiting_for

    if not waiting.happens(all_offered, SCHEDULABLE_SECONDS, poll=POLL_SECONDS):
        run.problems.extend(
            Error(
                f"{current.name} is available, and Placement does not offer it to Nova",
                hint=f"osbox explain {current.name}; osbox logs nova-compute",
            )
            for current in waiting_for.values()
        )


def _settle(run: _Run, works: Sequence[_Work]) -> None:
    """Push every node on, all at the same time, until each is available, in use, or given up."""
    under_way = list(works)

    def settled() -> bool:
        run.fresh = None
        for work in list(under_way):
            if not run.each([work], partial(_step, run)) or (work.state in SETTLED and not work.later):
                under_way.remove(work)
        return not under_way

    waiting.happens(settled, math.inf, poll=POLL_SECONDS)  # each step of a node has a deadline of its own


def _step(run: _Run, work: _Work) -> None:
    """Look at a node once and ask for what comes next; raises Error when it will not get on by itself."""
    current = run.system.baremetal.get_node(work.node.name)
    if current.provision_state != work.state:
        work.state, work.since = current.provision_state, time.monotonic()
        run.options.report(work.node.name, work.state)
    if problem := _problem(current, work, run.options):
        raise problem
    if work.later and work.state in CHANGEABLE | SETTLED:
        run.catch_up(work)
        if work.later and work.change.state in UNDER_WAY:
            return  # the round's look is older than this node's: what is to be sent is known with the next
    if work.state not in SETTLED:
        _push(run, current, work)


def _push(run: _Run, current: Any, work: _Work) -> None:
    """Ask Ironic for the node's next step, once per state."""
    verb = None
    if work.state == "enroll" and "manage" not in work.asked:
        verb = "manage"
    elif work.state == "manageable":
        verb = _from_manageable(run.system, current, work, run.options.inspect)
    elif work.state in AGAIN and not work.asked:
        verb = "manage"
    elif work.state in UNDEPLOY and not work.asked:
        verb = "deleted"
    elif work.state in ("inspect wait", "clean wait") and not work.asked and run.options.is_off(current):
        # An earlier run switched it on, and it lost its power since: its ramdisk will not call, so begin
        # anew.
        records.abort(run.system, current.id)
        run.changed.append(f"{work.node.name}: abort")
    if verb and verb not in work.asked:
        work.asked.add(verb)
        if current.is_maintenance and work.state == "clean failed":
            run.system.baremetal.unset_node_maintenance(current)
        run.system.baremetal.set_node_provision_state(current, verb)
        run.changed.append(f"{work.node.name}: {verb}")


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
        f"/nodes/{uuid}", params={"fields": "inspection_finished_at"}, microversion=records.MICROVERSION
    )
    told = answers.read(answer, "Ironic did not say whether a node was inspected")
    return bool(told["inspection_finished_at"])


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
    if work.state in BACK:
        return problems.brought(name, work.state, current.last_error or "", then="osbox node enroll")
    if work.state in UNDEPLOY and current.instance_id:
        return UserError(
            f"{name} is in the state `{work.state}` and holds the server {current.instance_id}",
            evidence=current.last_error or "",
            hint=f"osbox openstack server delete {current.instance_id} (when Nova has no such server:"
            f" osbox node repair {name}), then osbox node enroll again",
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
