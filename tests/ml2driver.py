"""Runs inside the image of neutron-server: our mechanism driver, found and called as ML2 does it.

Prints a line for each port: its VNIC type, the types of the segments it was offered, and what was bound.
"""

from types import SimpleNamespace
from typing import Any

from stevedore.named import NamedExtensionManager

PORTS = [
    ("baremetal", ["flat"]),
    ("baremetal", ["vlan"]),
    ("baremetal", ["vxlan", "vlan", "flat"]),
    ("baremetal", ["vxlan"]),
    ("baremetal", []),
    ("normal", ["flat"]),
]


def main() -> None:
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


main()
