"""What OVN's databases have of a MAC address that asks for DHCP: from the port, as Neutron wrote it, to the
controller that answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Site

PORT_COLUMNS = "name,type,addresses,enabled,dhcpv4_options"
RUN = "/run/ovn"
"""Where ovn-central's sockets are, in its container."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Lack:
    """What is missing for an answer, and the service that brings it when it is started again."""

    text: str
    service: str


def lack(engine: Engine, site: Site, mac: str) -> Lack | None:
    """What is missing for an answer to this MAC address; None when it is all there, or when OVN does not
    say."""
    try:
        ports = table(engine, site, "nb", PORT_COLUMNS, "Logical_Switch_Port")
        bindings = table(engine, site, "sb", "logical_port,chassis", "Port_Binding")
        chassis = table(engine, site, "sb", "name", "Chassis")
    except Error:
        return None
    return missing(mac, ports, bindings, chassis)


def missing(mac: str, ports: Sequence[Row], bindings: Sequence[Row], chassis: Sequence[Row]) -> Lack | None:
    """As lack, from the rows themselves."""
    own = [port for port in ports if any(mac in str(one).split() for one in _all(port["addresses"]))]
    if not own:
        return Lack(f"OVN has no port with the MAC address {mac}, though Neutron has one", "neutron-server")
    port = own[0]
    bound = [_all(one["chassis"]) for one in bindings if one["logical_port"] == port["name"]]
    lacks = {
        Lack(
            f"OVN's port of {mac} has no DHCP options: the subnet has no DHCP, or they were lost",
            "neutron-server",
        ): not _all(port["dhcpv4_options"]),
        Lack(f"OVN's port of {mac} is not enabled", "neutron-server"): _all(port["enabled"]) == [False],
        Lack("OVN knows of no controller", "ovn-controller"): not chassis,
        Lack(f"OVN's port of {mac} is not in its second database yet", "ovn-central"): not bound,
        Lack(f"no controller has taken OVN's port of {mac}", "ovn-controller"): not any(bound),
    }
    return next((one for one, lacking in lacks.items() if lacking), None)


def table(engine: Engine, site: Site, database: str, columns: str, name: str) -> list[Row]:
    """The rows of a table of OVN's northbound (nb) or southbound (sb) database; raises Error when it does
    not say."""
    program = f"ovn-{database}ctl"
    words = ("--timeout=10", f"--db=unix:{RUN}/{database}.sock", "--format=json", f"--columns={columns}")
    said = docker.ask(engine, "exec", f"ovn-central.{site.name}", program, *words, "list", name)
    found = json.loads(said.out)
    return [dict(zip(found["headings"], row, strict=True)) for row in found["data"]]


def _all(value: Any) -> list[Any]:
    """The values of a column: one, or a set in OVSDB's notation (RFC 7047, 5.1)."""
    if isinstance(value, list) and value[:1] == ["set"]:
        return list(value[1])
    return [value]
