"""Runs inside the image of neutron-server: our mechanism driver, found and called as ML2 does it.

Prints a line for each port: its VNIC type, the types of the segments it was offered, and what was bound; then
a line for each network that is asked for: what Neutron's API answers.
"""

import sys
from types import SimpleNamespace
from typing import Any

from neutron.api.api_common import convert_exception_to_http_exc
from neutron.conf.plugins.ml2.config import register_ml2_plugin_opts
from neutron_lib.api import faults
from neutron_lib.callbacks import events, exceptions, registry, resources
from neutron_lib.constants import ATTR_NOT_SPECIFIED
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
UNSET = {"provider:network_type": ATTR_NOT_SPECIFIED, "segments": ATTR_NOT_SPECIFIED}
NETWORKS: dict[str, dict[str, Any]] = {
    "of a project": UNSET,
    "external": UNSET | {"router:external": True},
    "of an administrator": UNSET | {"provider:network_type": "flat"},
    "of two segments": UNSET | {"segments": [{"provider:network_type": "flat"}]},
}


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
    for asked, wanted in NETWORKS.items():
        print(asked, "->", answer(wanted))
    option = "project_network_types" if "project_network_types" in cfg.CONF.ml2 else "tenant_network_types"
    cfg.CONF.set_override(option, ["vlan"], "ml2")
    print("of a project, where a site has VLANs for them ->", answer(UNSET))


def answer(network: dict[str, Any]) -> str:
    """As neutron.plugins.ml2.plugin asks, and neutron.api answers."""
    payload = events.DBEventPayload(None, desired_state=network)
    try:
        registry.publish(resources.NETWORK, events.BEFORE_CREATE, None, payload=payload)
    except exceptions.CallbackFailure as failure:
        refused = convert_exception_to_http_exc(failure, faults.FAULT_MAP, None)
        return f"{refused.code} {refused.json['NeutronError']['message']}"
    return "goes on"


main()
