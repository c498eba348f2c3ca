"""What OVN's databases lack of a MAC address, from rows as ovn-nbctl and ovn-sbctl print them."""

from typing import Any

import pytest

from osbox.bootpath import ovn

MAC = "52:54:00:82:e2:38"
OPTIONS = ["uuid", "1c0a3c3e-2f4b-4d7e-9c55-0a4a1c0ffee0"]
CHASSIS = ["uuid", "2c0a3c3e-2f4b-4d7e-9c55-0a4a1c0ffee0"]
NONE: list[Any] = ["set", []]
PORT: dict[str, Any] = {
    "name": "a-port",
    "type": "external",
    "addresses": f"{MAC} 10.29.29.94",
    "enabled": True,
    "dhcpv4_options": OPTIONS,
}
OTHER = PORT | {"name": "another", "addresses": ["set", ["52:54:00:00:00:01 10.29.29.95", "unknown"]]}
BOUND = {"logical_port": "a-port", "chassis": CHASSIS}
HERE = [{"name": "neutron-network"}]


@pytest.mark.parametrize(
    ("port", "bindings", "chassis", "text", "service"),
    [
        (OTHER, [BOUND], HERE, "no port with the MAC address", "neutron-server"),
        (PORT | {"dhcpv4_options": NONE}, [BOUND], HERE, "no DHCP options", "neutron-server"),
        (PORT | {"enabled": False}, [BOUND], HERE, "not enabled", "neutron-server"),
        (PORT, [BOUND], [], "knows of no controller", "ovn-controller"),
        (PORT, [BOUND | {"logical_port": "x"}], HERE, "not in its second database", "ovn-central"),
        (PORT, [BOUND | {"chassis": NONE}], HERE, "no controller has taken", "ovn-controller"),
    ],
)
def test_what_is_missing_and_who_brings_it(
    port: dict[str, Any], bindings: list[Any], chassis: list[Any], text: str, service: str
) -> None:
    lack = ovn.missing(MAC, [OTHER, port], bindings, chassis)
    assert lack is not None
    assert text in lack.text
    assert lack.service == service


@pytest.mark.parametrize("enabled", [True, NONE])
def test_nothing_is_missing(enabled: object) -> None:
    set_of_two = {"addresses": ["set", [f"{MAC} 10.29.29.94", "unknown"]], "enabled": enabled}
    assert ovn.missing(MAC, [OTHER, PORT | set_of_two], [BOUND], HERE) is None
