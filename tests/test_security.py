"""docs/security.md against the Compose files, the services as data, and the images."""

import re

import pytest
import yaml

from osbox.cloud.services import APIS, FRONT, PORTS, UDP_PORTS
from osbox.doctor import names
from osbox.site.site import Site
from tests.conftest import PROJECT

PAGE = (PROJECT / "docs" / "security.md").read_text()
YAML = yaml.safe_load((PROJECT / "compose" / "stack.yaml").read_text())
STACK = YAML["services"]
RACK = yaml.safe_load((PROJECT / "compose" / "rack.yaml").read_text())["services"]
SERVICES = {**STACK, **RACK}


def table(heading: str, number: int = 1) -> list[list[str]]:
    """The cells of a table under a heading, the first or a later one, its titles left out."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    lines = tables[number - 1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_port_stands_there_and_no_other() -> None:
    found = {
        port.strip(): (places, encrypted)
        for ports, places, _, encrypted in table("From outside to the host")
        for port in ports.split(",")
    }
    apis = dict.fromkeys(map(str, PORTS[FRONT]), ("loopback, provisioning, listen", "TLS"))
    others = {str(port) for service, ports in PORTS.items() if service != FRONT for port in ports}
    plain = dict.fromkeys([*others, *(f"{port}/udp" for port in UDP_PORTS.values())], ("provisioning", "no"))
    assert found == apis | plain | {str(Site().redfish_port): ("provisioning", "TLS")}


def test_networks_of_containers_are_by_need() -> None:
    rows = {row[0].strip("`"): row[1:] for row in table("Between containers")}
    told = {name: set(re.findall(r"`([a-z-]+)`", " ".join(cells))) for name, cells in rows.items()}
    members: dict[str, set[str]] = {name: set() for name in told}
    for name, one in STACK.items():
        for network in one.get("networks", ()):
            members.setdefault(network, set()).add(name)
    assert members.pop("control") >= {"front", *(api.service for api in APIS)}
    assert members == told
    of_database = {name for name, one in STACK.items() if "db-osbox" in one.get("secrets", ())}
    assert members["database"] == of_database
    of_bus = {name for name, one in STACK.items() if "rabbitmq-password" in one.get("secrets", ())}
    assert members["bus"] == of_bus
    tokens = {api.service for api in APIS} - {"keystone"}  # whose own has a socket
    assert members["cache"] - {"memcached", "swift-daemons"} == tokens
    for network in YAML["networks"].values():
        assert network.get("internal") or network is YAML["networks"]["control"]


def test_doctor_asks_for_names_from_who_is_in_all_their_networks() -> None:
    """It asked from Keystone, and a healthy cloud had an error: the broker is in another network."""
    for service in names.ASKING:
        mine = set(STACK[service]["networks"])
        assert all(mine & set(STACK[name]["networks"]) for name in names.INSIDE), service


def test_capabilities() -> None:
    rows = {row[0].strip("`"): row[1:] for row in table("Between containers", 2)}
    for name, (told, _) in rows.items():
        wanted = SERVICES[name].get("cap_add", []) if name in SERVICES else []
        assert set(re.findall(r"`([A-Z_]+)`", told)) == set(wanted), name
    assert {name for name, one in SERVICES.items() if one.get("cap_add")} == {
        name for name, (told, _) in rows.items() if told != "none"
    }


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_privileged(name: str) -> None:
    service = SERVICES[name]
    assert not service.get("privileged")
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert service.get("pid") is None
    assert name == "rack" or service.get("network_mode") != "host"


def test_who_runs_as_root() -> None:
    told = {row[0].strip("`") for row in table("Between containers", 2) if row[2] == "yes"}
    images = set[str]()
    for file in PROJECT.glob("images/*/Dockerfile"):
        for part in re.split(r"^FROM ", file.read_text(), flags=re.MULTILINE)[1:]:
            parent, _, name = part.split()[:3]  # PARENT AS NAME: labels are handed down
            if "io.osbox.root=" in part or parent in images:
                images.add(name)
    assert {name for name, one in SERVICES.items() if one["image"].partition(":")[0] in images} == told
