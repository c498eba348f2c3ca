"""Runs inside the image of neutron-server: our mechanism driver, found and called as ML2 does it.

Prints a line for each port: its VNIC type, the types of the segments it was offered, and what was bound; then
a line for each port that is asked for: what Neutron's API answers.
"""

import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

from neutron.api.api_common import convert_exception_to_http_exc
from neutron.conf.plugins.ml2.config import register_ml2_plugin_opts
from neutron_lib.api import faults
from neutron_lib.callbacks import events, exceptions, registry, resources
from neutron_lib.plugins import directory
from oslo_config import cfg
from stevedore.named import NamedExtensionManager

PORTS = [
    ("baremetal", ["flat"]),
    ("baremetal", ["vlan"]),
    ("baremetal", ["vxlan", "vlan", "flat"]),
    ("baremetal", ["vxlan"]),
    ("baremetal", []),
    ("normal", ["flat"]),
]
ASKED: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "baremetal in geneve": ([{"binding:vnic_type": "baremetal", "network_id": "1"}], ["geneve"]),
    "normal becomes baremetal in geneve": (
        [{"binding:vnic_type": "normal", "network_id": "1"}, {"binding:vnic_type": "baremetal"}],
        ["geneve"],
    ),
    "baremetal in vlan": ([{"binding:vnic_type": "baremetal", "network_id": "1"}], ["vlan"]),
    "baremetal in geneve flat": ([{"binding:vnic_type": "baremetal", "network_id": "1"}], ["geneve", "flat"]),
    "normal in geneve": ([{"binding:vnic_type": "normal", "network_id": "1"}], ["geneve"]),
}
"""The states of a port, from before and as asked for, and the types of its network's segments."""


def main() -> None:
    register_ml2_plugin_opts()
    cfg.CONF(
        ["--config-file", sys.argv[1] if sys.argv[1:] else "/etc/neutron/neutron.conf"],
        project="neutron",
        default_config_dirs=[],  # one of the files there is made when a container starts
    )
    # As neutron.plugins.ml2.managers.MechanismManager loads them.
    names = ["osbox_baremetal"]
    found: Any = NamedExtensionManager("neutron.ml2.mechanism_drivers", names, invoke_on_load=True)
    driver = found.extensions[0].obj
    driver.initialize()
    print(driver.connectivity)
    for kind, types in PORTS:
        bound = list[tuple[Any, ...]]()
        segments = [{"id": f"{number}", "network_type": name} for number, name in enumerate(types)]
        driver.bind_port(
            SimpleNamespace(
                current={"binding:vnic_type": kind},
                segments_to_bind=segments,
                set_binding=lambda *words, status, bound=bound: bound.append((*words, status)),
            )
        )
        print(
            kind, *types, "->", *(f"{segment} {vif} {more} {status}" for segment, vif, more, status in bound)
        )
    for asked, (states, types) in ASKED.items():
        print(asked, "->", answer(states, types))


def answer(states: list[dict[str, Any]], types: list[str]) -> str:
    """As neutron.plugins.ml2.plugin asks, and neutron.api answers."""
    segments = [{"provider:network_type": name} for name in types]
    network = {"id": "1", "name": "lab", **(segments[0] if len(types) == 1 else {"segments": segments})}
    plugin = SimpleNamespace(get_network=lambda _context, _id: network)
    payload = events.DBEventPayload(SimpleNamespace(elevated=lambda: None), states=states)
    event = events.BEFORE_CREATE if len(states) == 1 else events.BEFORE_UPDATE
    try:
        with mock.patch.object(directory, "get_plugin", return_value=plugin):
            registry.publish(resources.PORT, event, None, payload=payload)
    except exceptions.CallbackFailure as failure:
        refused = convert_exception_to_http_exc(failure, faults.FAULT_MAP, None)
        return f"{refused.code} {refused.json['NeutronError']['message']}"
    return "goes on"


main()
