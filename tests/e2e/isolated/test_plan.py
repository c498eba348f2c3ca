"""Plans and options: what `osbox up` is going to do, and that it does that and no more."""

import os
import socket

import pytest

from osbox.cloud import envfile
from osbox.images.labels import RELEASE
from osbox.site.site import LABEL
from tests.cloud.test_options import awkward
from tests.e2e import changes
from tests.e2e.asking import client, engine
from tests.e2e.conftest import Tool
from tests.home import HOME, LOOPBACK, NAME, NET
from tests.samples import scene

pytestmark = pytest.mark.e2e


def test_a_plan_of_nothing_is_empty_and_writes_nothing(cloud: Tool) -> None:
    cloud("up")
    before, running = changes.state(), changes.containers()
    assert "Nothing to change" in cloud("plan")
    assert "Nothing to change" in cloud("up", "--plan")
    assert changes.plan() == []
    assert changes.state() == before
    assert changes.containers() == running
    done, _, took = changes.up_does_what_is_planned(cloud)
    assert done == {}
    assert took < 12, "it took about 2 s alone on the machine; the other lane may be at its busiest"


def test_an_option_is_in_effect_and_only_its_service_is_replaced(cloud: Tool) -> None:
    assert "expiration = 3600  (default)" in cloud("get", "keystone.token.expiration")
    cloud("set", "keystone.token.expiration=600")
    assert "600  (site.toml (keystone.token.expiration))" in cloud("get", "keystone.token.expiration")
    done, why, took = changes.up_does_what_is_planned(cloud)
    assert done == {"keystone": "recreate"}
    assert why["keystone"] == ["option [token] expiration: not set → 600"]
    assert 500 < changes.token_seconds(client) <= 600
    assert took < 40, "it took less than 10 s alone on the machine"
    assert changes.plan() == []
    cloud("unset", "keystone.token.expiration")
    done, why, _ = changes.up_does_what_is_planned(cloud)
    assert (done, why["keystone"]) == ({"keystone": "recreate"}, ["option [token] expiration: 600 → not set"])
    assert 3500 < changes.token_seconds(client) <= 3600


@scene("another subnet")
def test_another_subnet_of_the_containers_is_taken_and_nothing_is_lost(cloud: Tool) -> None:
    """Compose takes no notice of it: the entrance asked in vain for an address of the new one."""
    cloud("up")
    client("project", "create", "moves")
    file = HOME / "site.toml"
    text = file.read_text()
    file.write_text(text.replace(f"10.29.{NET}.0/24", f"10.29.{NET + 3}.0/24"))
    try:
        found, before = changes.plan(), changes.containers()
        assert {one["name"] for one in found if one["kind"] == "network" and one["action"] == "recreate"} == {
            f"{NAME}-{name}" for name in ("control", "database", "bus", "cache", "objects")
        }
        planned = changes.of_containers(found)
        cloud("up")
        anew = {name for name, one in changes.containers().items() if one.container != before[name].container}
        assert anew == set(planned) == set(before) - {"keystone-cache", "ovn-central"}, "these are in none"
        assert "moves" in client("project", "list")
        assert changes.plan() == []
    finally:
        file.write_text(text)
        cloud("up")
    client("project", "delete", "moves")


def test_an_option_wins_over_the_images_own_files(cloud: Tool) -> None:
    """Nova's conf file says 10 s; the service's own view of it is asked."""
    assert "10  (/etc/nova/nova.conf of the image)" in cloud(
        "get", "nova.scheduler.discover_hosts_in_cells_interval"
    )
    cloud("set", "nova-scheduler.scheduler.discover_hosts_in_cells_interval=11")
    done, _, _ = changes.up_does_what_is_planned(cloud)
    assert done == {"nova-scheduler": "recreate"}
    asked = (
        "import sys; from nova import config; from nova.conf import CONF; config.parse_args(sys.argv[:1]); "
        "print(CONF.scheduler.discover_hosts_in_cells_interval)"
    )
    assert engine("docker", "exec", f"nova-scheduler.{NAME}", "python", "-c", asked).split()[-1] == "11"
    cloud("unset", "nova-scheduler.scheduler.discover_hosts_in_cells_interval")
    cloud("up")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("nova.DEFAULT.debgu=true", "did you mean nova.DEFAULT.debug?"),
        ("nova.scheduler.worker=2", "did you mean nova.scheduler.workers?"),
        ("nova.DEFAULT.debug=maybe", "it is neither true nor false"),
        ("keystone.token.expiration=soon", "it is no whole number"),
        ("neutron.ml2.tenant_network_types=vlan", "it is called neutron.ml2.project_network_types now"),
        ("nova-compute.DEFAULT.host=other", "compose/stack.yaml sets it"),
        ("glance.database.connection=mysql://", "it is made from a secret"),
        ("nova.pci.alias={}", "may stand several times"),
        ("swift.DEFAULT.workers=2", "does not read oslo.config"),
    ],
)
def test_a_wrong_option_is_refused(cloud: Tool, assignment: str, said: str) -> None:
    before = (HOME / "site.toml").read_text()
    assert said in cloud("set", assignment, code=2)
    assert (HOME / "site.toml").read_text() == before


def test_a_wrong_option_written_by_hand_is_refused(cloud: Tool) -> None:
    before = (HOME / "site.toml").read_text()
    try:
        (HOME / "site.toml").write_text(before + "[options.nova.DEFAULT]\ndebgu = true\n")
        for command in ("plan", "up"):
            assert "did you mean nova.DEFAULT.debug?" in cloud(command, code=2)
    finally:
        (HOME / "site.toml").write_text(before)


def test_values_arrive_byte_for_byte(cloud: Tool) -> None:
    values = {f"V{number}": value for number, value in enumerate(awkward())}
    assert changes.through_compose(values, envfile.text(values), HOME / "tests") == values


def test_a_plan_for_images_of_another_version(cloud: Tool) -> None:
    other = f"other-{os.getpid()}"  # not what a killed run may have left
    assert f"images are not built: os-autodns:{other}" in cloud("plan", "--version", other, code=2)
    tags = [
        tag
        for tag in engine("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        if tag.endswith(":latest")
    ]
    others = {tag: tag.replace(":latest", f":{other}") for tag in tags}
    try:
        for tag in tags:
            engine("docker", "tag", tag, others[tag])
        planned = changes.plan("--version", other)
        mine = ("--filter", f"label={LABEL}={NAME}", "--filter", f"label={RELEASE}")
        names = engine("docker", "ps", *mine, "--format", "{{.Names}}").split()
        of_a_release = [name.removesuffix(f".{NAME}") for name in names]
        assert len(of_a_release) == 15, "MariaDB, the entrance and what no release changes go on"
        assert changes.of_containers(planned) == dict.fromkeys(of_a_release, "recreate")
        reasons = {change["name"]: change["reasons"] for change in planned if change["kind"] == "container"}
        assert reasons["nova-api"] == [f"image: os-nova-api:latest → os-nova-api:{other}"]
    finally:
        engine("docker", "image", "rm", *others.values())


def test_a_port_taken_between_plan_and_up_is_told(cloud: Tool) -> None:
    engine("docker", "stop", f"front.{NAME}")
    assert changes.of_containers(changes.plan()) == {"front": "start"}
    with socket.create_server((LOOPBACK, 8778)):
        text = cloud("up", code=2)
        assert f"port 8778/tcp on {LOOPBACK}, which front needs, is in use" in text
        assert f"pid {os.getpid()}" in text
    done, _, _ = changes.up_does_what_is_planned(cloud)
    assert done == {"front": "start"}
