"""Take nodes out of Ironic; the hardware is left as it is."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from osbox import waiting
from osbox.errors import Error, UserError
from osbox.metal import records
from osbox.metal.states import BACK, DELETABLE, UNDEPLOY

if TYPE_CHECKING:
    from openstack.connection import Connection

POLL_SECONDS = 1


def forget(
    system: "Connection",
    names: Sequence[str],
    *,
    uncleaned: bool = False,
    seconds: float = records.STEP_SECONDS,
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
        current = records.find(system, name)
        if current is None:
            return "never was"
        state = current.provision_state
        if state in DELETABLE and not current.instance_id and _deleted(system, current):
            return "deleted"
        if state in ("active", *UNDEPLOY, *BACK) and current.instance_id:
            raise UserError(
                f"{name} holds the server {current.instance_id}",
                hint=f"osbox openstack server delete {current.instance_id}",
            )
        if state == "inspect wait" or (state == "clean wait" and uncleaned):
            switch_off(current)
            records.abort(system, current.id)
        return None

    answer = waiting.happens(gone, seconds, poll=POLL_SECONDS)
    if answer is None:
        raise Error(
            f"{name} is still in the state `{current.provision_state}`",
            evidence=current.last_error or "",
            hint="osbox node list",
        )
    return answer == "deleted"


def _deleted(system: "Connection", current: Any) -> bool:
    """Delete a node; False while Ironic, which locks a node that it works on, is not done with it."""
    # A node that failed at something may be deleted in maintenance only.
    place = f"/nodes/{current.id}/maintenance"
    if not current.is_maintenance:
        reason = {"reason": "osbox forgets it"}
        system.baremetal.put(place, json=reason, microversion=records.MICROVERSION, raise_exc=False)
    answer = system.baremetal.delete(
        f"/nodes/{current.id}", microversion=records.MICROVERSION, raise_exc=False, retriable_status_codes=[]
    )
    gone = answer.status_code in (204, 404)  # No Content; gone already
    if not gone and not current.is_maintenance:  # as it was, should this be given up
        system.baremetal.delete(place, microversion=records.MICROVERSION, raise_exc=False)
    return gone
