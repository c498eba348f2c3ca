"""For which names the entrance's certificate is."""

from ipaddress import IPv4Address

import pytest
import yaml

from osbox.cloud import services
from osbox.site.site import Site
from osbox.tls import names
from tests.conftest import PROJECT


def test_all_that_clients_may_come_by() -> None:
    wanted = names.wanted(Site(listen=IPv4Address("192.0.2.7")), "Box.example")
    assert {"localhost", "127.0.0.1", "10.29.29.1", "192.0.2.7", "box.example"} < set(wanted)
    assert {"keystone", "keystone.os-in-a-box", "ironic-api", "front"} < set(wanted)
    assert len(set(wanted)) == len(wanted)


def test_every_api_is_there_by_its_containers_names() -> None:
    assert {api.service for api in services.APIS} | {"front"} == set(names.APIS)
    stack = yaml.safe_load((PROJECT / "compose/stack.yaml").read_text())["services"]
    called = {stack[api.service]["container_name"] for api in services.APIS}
    assert {one.partition(".")[0] for one in called} < set(names.wanted(Site(), "x"))


def test_another_deployment_has_its_own() -> None:
    site = Site(name="lab", loopback=IPv4Address("127.0.0.2"))
    assert "keystone.lab" in names.wanted(site, "x")
    assert names.published(site) == ("127.0.0.2", "10.29.29.1")
    assert "127.0.0.1" not in names.wanted(site, "x")


@pytest.mark.parametrize("host", ["(none)", "", "a b", "grün", "a..b", "x" * 64, "localhost"])
def test_a_machine_without_a_proper_name(host: str) -> None:
    assert set(names.wanted(Site(), host)) == set(names.wanted(Site(), "localhost"))
