"""Bind the ports of bare-metal servers on flat and VLAN networks whose wiring is not ours to change.

And say so to who asks for a network that would need other wiring.

networking-baremetal's driver binds only ports whose switch it configures itself; on a flat network it leaves
every port at `binding_failed`. Here the cable is already in the right network, so that binding means saying
so.
"""

from neutron_lib import exceptions
from neutron_lib.api import validators
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.plugins.ml2 import api
from oslo_config import cfg

WIRED = frozenset({"flat", "vlan"})
PROVIDED = ("provider:network_type", "provider:physical_network", "provider:segmentation_id", "segments")


class NoProjectNetworksError(exceptions.Conflict):  # type: ignore[misc]
    """Neutron itself says 503, "No project network is available for allocation", as if one might be soon."""

    message = (
        "A project cannot make a network of its own here: servers are bare metal, on cables that Neutron does"
        " not change. Use a shared one (openstack network list). An administrator makes one of what is wired,"
        " with --provider-network-type flat or vlan and --provider-physical-network."
    )


class BaremetalMechanismDriver(api.MechanismDriver):  # type: ignore[misc]
    """Binds VNIC type `baremetal` to the first flat or VLAN segment."""

    def initialize(self) -> None:
        """There is no agent and no switch to prepare."""
        # Mechanism drivers are asked after a segment was found for a network, and none would be.
        registry.subscribe(self.refuse, resources.NETWORK, events.BEFORE_CREATE)

    def refuse(self, _resource: str, _event: str, _trigger: object, payload: events.DBEventPayload) -> None:
        """A network without a segment, unless a site's options have types for projects' networks."""
        network = payload.desired_state
        if (
            not any(validators.is_attr_set(network.get(key)) for key in PROVIDED)
            and not has_project_networks()
        ):
            raise NoProjectNetworksError

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


def has_project_networks() -> bool:
    """Of releases before 2026.1 the option has its old name."""
    options = cfg.CONF.ml2
    types = getattr(options, "project_network_types", None)
    return bool((options.tenant_network_types if types is None else types) or options.external_network_type)
