"""Who has to follow what the entrance shows."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from osbox.cloud import followers, sessions
from osbox.contents import images
from osbox.metal import rack
from osbox.metal.nodesfile import load
from osbox.site.site import Paths, Site
from osbox.tls import store
from tests.fakecloud import Cloud, serving

HTTP, HTTPS = rack.addresses(Site())


@pytest.fixture
def cloud(own_user: None, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    store.ensure(paths, Site(), store.names_here(Site()), datetime.now(UTC))
    made, real = Cloud(), Site.api
    with serving(made) as connection:

        def address(site: Site, port: int, host: object = None) -> str:
            return real(site, port, host) if host else made.url

        monkeypatch.setattr(Site, "api", address)
        monkeypatch.setattr(sessions, "session", lambda *_, **__: connection.session)
        yield made


def test_virtual_nodes_are_told_how_the_rack_speaks(paths: Paths, cloud: Cloud) -> None:
    """Enrolled before there was TLS; their power could not be switched any more."""
    nodes: list[dict[str, Any]] = [
        {"uuid": "a", "name": "rack-1", "driver_info": {"redfish_address": HTTP, "redfish_verify_ca": False}},
        {
            "uuid": "b",
            "name": "rack-2",
            "driver_info": {"redfish_address": HTTPS, "redfish_verify_ca": "/old"},
        },
        {"uuid": "c", "name": "real", "driver_info": {"redfish_address": "http://10.0.0.9:8000"}},
        {"uuid": "d", "name": "ipmi", "driver_info": None},
    ]
    cloud.answers |= {
        "GET /v1/nodes": (200, json.dumps({"nodes": nodes})),
        "PATCH /v1/nodes/a": (200, "{}"),
        "PATCH /v1/nodes/b": (409, "{}"),
    }
    assert followers.rack(paths, Site()) == (["rack-1"], ["rack-2"])
    assert [line for line in cloud.asked if line.startswith("PATCH")] == [
        "PATCH /v1/nodes/a",
        "PATCH /v1/nodes/b",
    ]
    [kept] = paths.bmc_ca.iterdir()
    assert kept.read_text() == paths.trusted.read_text()
    info: dict[str, Any] = {"redfish_address": HTTPS, "redfish_verify_ca": f"/etc/osbox/bmc-ca/{kept.name}"}
    nodes[0]["driver_info"] = nodes[1]["driver_info"] = info
    cloud.answers["GET /v1/nodes"] = (200, json.dumps({"nodes": nodes}))
    assert followers.rack(paths, Site()) == ([], [])


def test_and_so_is_their_file(paths: Paths, cloud: Cloud) -> None:
    cloud.answers["GET /v1/nodes"] = (200, json.dumps({"nodes": []}))
    paths.secrets.mkdir(parents=True)
    password = paths.secrets / "bmc-password"
    password.touch(mode=0o600)
    password.write_text("secret")
    specs = [rack.spec(Site(), 1)]
    paths.rack_yaml.write_text(rack.enrolment(specs, paths, Site(tls=False)))
    followers.rack(paths, Site())
    [node] = load(paths.rack_yaml, pytest.fail).nodes
    assert (node.bmc.address, node.bmc.verify_ca) == (HTTPS, paths.trusted)
    assert paths.rack_yaml.read_text() == rack.enrolment(specs, paths, Site())
    followers.rack(paths, Site(tls=False))
    assert yaml.safe_load(paths.rack_yaml.read_text())["nodes"][0]["bmc"]["verify_ca"] is False
    paths.rack_yaml.write_text("- mine\n")
    followers.rack(paths, Site())
    assert paths.rack_yaml.read_text() == "- mine\n"


def test_whether_the_ramdisk_knows_the_authority(paths: Paths, cloud: Cloud) -> None:
    assert followers.knows_ramdisk(paths, Site()), "there is none yet"
    cloud.add(images.RAMDISK, "build-1")
    assert not followers.knows_ramdisk(paths, Site())
    assert followers.knows_ramdisk(paths, Site(tls=False))
    cloud.add(images.RAMDISK, f"build-1-{images.mark(paths.trusted.read_bytes())}")
    assert followers.knows_ramdisk(paths, Site())
