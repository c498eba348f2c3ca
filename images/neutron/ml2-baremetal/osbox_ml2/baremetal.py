"""Bind the ports of bare-metal servers on flat and VLAN networks whose wiring is not ours to change.

And say so to who asks for one in a network that would need other wiring.

networking-baremetal's driver binds only ports whose switch it configures itself; on a flat network it leaves
every port at `binding_failed`. Here the cable is already in the right network, so that binding means saying
so.
"""

from typing import Any

from neutron_lib import exceptions
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api

WIRED = frozenset({"flat", "vlan"})


class NoCableError(exceptions.Conflict):  # type: ignore[misc]
    """Without it the server would boot into a network that it never reaches, and wait there for its end."""

    message = (
        "A bare-metal server cannot be in the network %(network)s: its cable is not in it, and Neutron does"
        " not change cables. Use one of type flat or vlan, as the shared one (openstack network list"
        " --external); a router leads from there into networks of projects."
    )


class BaremetalMechanismDriver(api.MechanismDriver):  # type: ignore[misc]
    """Binds VNIC type `baremetal` to the first flat or VLAN segment."""

    def initialize(self) -> None:
        """There is no agent and no switch to prepare."""
        for event in (events.BEFORE_CREATE, events.BEFORE_UPDATE):
            registry.subscribe(self.refuse, resources.PORT, event)

    def refuse(self, _resource: str, _event: str, _trigger: object, payload: events.DBEventPayload) -> None:
        """A port that is, or becomes, a bare-metal one in a network without a wired segment."""
        port: dict[str, Any] = {}
        for state in payload.states:
            port |= state
        if port.get(portbindings.VNIC_TYPE) != portbindings.VNIC_BAREMETAL:
            return
        network = directory.get_plugin().get_network(payload.context.elevated(), port["network_id"])
        types = {one["provider:network_type"] for one in network.get("segments") or [network]}
        if not types & WIRED:
            raise NoCableError(network=network["name"] or network["id"])

    @property
    def connectivity(self) -> str:
        return str(portbindings.CONNECTIVITY_L2)

    def bind_port(self, context: api.PortContext) -> None:
        """Bind at once and active: no agent will report the port up later."""
        if context.current[portbindings.VNIC_TYPE] != portbindings.VNIC_BAREMETAL:
            return
        for segment in context.segments_to_bind:
            if segment[api.NETWORK_TYPE] in WIRED:
                context.set_binding(segment[api.ID], portbindings.VIF_TYPE_OTHER, {}, status="ACTIVE")
                return
