"""Bind the ports of bare-metal servers on flat and VLAN networks whose wiring is not ours to change.

networking-baremetal's driver binds only ports whose switch it configures itself; on a flat network it leaves
every port at `binding_failed`. Here the cable is already in the right network, so that binding means saying
so.
"""

from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api

WIRED = frozenset({"flat", "vlan"})


class BaremetalMechanismDriver(api.MechanismDriver):  # type: ignore[misc]
    """Binds VNIC type `baremetal` to the first flat or VLAN segment."""

    def initialize(self) -> None:
        """Nothing to prepare: there is no agent and no switch."""

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
