"""The whole path, in order: an empty machine, the demo killed at every step, the cloud used, moved, and removed without a trace.

The tests build on one another (one cloud takes minutes to make): when one fails, read it before those after it.
"""

import json
import re
import time
from pathlib import Path

import pytest
import yaml

from osbox import cloud, network, nodes, run
from osbox.engine import KEPT
from osbox.engine import find as find_engine
from osbox.errors import Error
from osbox.model.services import SERVICES
from osbox.model.site import load_site
from tests.e2e import crash, weather
from tests.e2e.conftest import ENVIRONMENT, Tool, host
from tests.home import ADDRESS, HOME, LOOPBACK, NAME

pytestmark = pytest.mark.e2e

STEPS = ("Engine", "Images", "Cloud", "Network", "Contents", "Rack", "Enrol", "Request", "Deploy", "Boot")
"""The demo's steps that are killed once each, a second after their first line."""


@pytest.fixture(scope="module")
def before(osbox: Tool) -> dict[str, object]:
    return host()


def ssh(command: str) -> str:
    """Run a command on the server, with the words that the demo printed."""
    address = server_address()
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"]
    return run.run(["ssh", "-i", str(HOME / "id_ed25519"), *options, f"debian@{address}", command], timeout=120).out


def server_address() -> str:
    text = client("server", "show", "bm-node-1", "-f", "json")
    return str(json.loads(text)["addresses"]["external"][0])


def client(*words: str) -> str:
    return run.run([Tool.program, "openstack", *words], env=ENVIRONMENT, timeout=300).out


def engine(*words: str) -> str:
    return run.run([Tool.program, "engine", "shell", "--", *words], env=ENVIRONMENT, timeout=300).out


def test_demo_killed_at_every_step_goes_on(osbox: Tool, before: dict[str, object]) -> None:
    for step in STEPS:
        osbox.killed_after(f"{step}  $ osbox", "demo")
    text = osbox("demo", timeout=2400)
    assert "bm-node-1 login:" in text
    assert "ACTIVE" in text
    assert re.search(r"rack-1 .* power on +.*active", text)
    assert f"ssh -i {HOME}/id_ed25519 debian@10.29.31." in text
    assert (HOME / "demo.svg").stat().st_size > 10_000
    assert ssh("sudo id --user").strip() == "0"


def test_the_picture_was_measured(osbox: Tool) -> None:
    """Every service of the Compose file stands in the status, running, and none is unhealthy."""
    states = {item["service"]: item for item in osbox.json("status")}  # type: ignore[attr-defined]
    assert set(SERVICES) | {"rack"} == set(states)
    assert {item["state"] for item in states.values()} == {"running"}
    assert "unhealthy" not in {item["health"] for item in states.values()}


def test_second_up_changes_nothing(osbox: Tool) -> None:
    assert "Nothing to change" in osbox("up")


def test_every_other_command_again_changes_nothing(osbox: Tool) -> None:
    assert "Nothing to change" in osbox("setup")
    assert "Nothing to change" in osbox("net", "connect")
    assert "all were there" in osbox("rack", "add", "--nodes", "1")
    assert "Nothing to change" in osbox("node", "enroll", str(HOME / "rack.yaml"))


def test_openstack_client(osbox: Tool) -> None:
    catalogue = json.loads(client("catalog", "list", "-f", "json"))
    assert {entry["Type"] for entry in catalogue} == {"identity", "image", "object-store", "placement", "compute", "network", "baremetal"}
    assert client("baremetal", "node", "list", "--fields", "name", "-f", "value").split() == ["rack-1"]


def test_port_of_the_server_is_bound(osbox: Tool) -> None:
    port = json.loads(client("port", "list", "--server", "bm-node-1", "--long", "-f", "json"))[0]
    shown = json.loads(client("port", "show", port["ID"], "-f", "json"))
    assert (shown["status"], shown["binding_vif_type"], shown["binding_vnic_type"]) == ("ACTIVE", "other", "baremetal")


def test_image_lies_in_swift(osbox: Tool) -> None:
    disk = engine("docker", "exec", f"swift-object.{NAME}", "du", "-sm", "/srv/node/d1/objects")
    assert int(disk.split()[0]) > 200, "the guest image alone is larger"


def test_node_and_host_resolve_the_cloud(osbox: Tool) -> None:
    assert ADDRESS in ssh(f"getent hosts keystone.{NAME}")
    assert ADDRESS in ssh(f"python3 -c 'import socket; print(socket.gethostbyname(\"ironic-api.{NAME}\"))'")
    answer = run.run(["python3", "-c", RESOLVE, ADDRESS, f"keystone.{NAME}"], timeout=30).out
    assert answer.strip() == ADDRESS


RESOLVE = """
import socket, struct, sys
question = b"".join(bytes([len(part)]) + part.encode() for part in sys.argv[2].split(".")) + b"\\0" + struct.pack(">HH", 1, 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.sendto(struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + question, (sys.argv[1], 53))
    print(socket.inet_ntoa(client.recv(600)[-4:]))
"""


def test_no_secret_is_seen(osbox: Tool) -> None:
    """Neither in `docker inspect`, nor in a log, nor readable by others."""
    names = engine("docker", "ps", "-a", "--format", "{{.Names}}").split()
    shown = engine("docker", "inspect", *names)
    logs = "".join(engine("sh", "-c", f"docker logs {name} 2>&1") for name in names)
    for file in (HOME / "secrets").iterdir():
        secret = file.read_text().strip()
        assert secret not in shown, f"{file.name} stands in docker inspect"
        assert secret not in logs, f"{file.name} stands in a log"
        assert file.stat().st_mode & 0o077 == 0


def test_no_container_is_privileged(osbox: Tool) -> None:
    names = engine("docker", "ps", "-a", "--format", "{{.Names}}").split()
    for item in json.loads(engine("docker", "inspect", *names)):
        config = item["HostConfig"]
        assert not config["Privileged"], item["Name"]
        assert config["CapDrop"] == ["ALL"], item["Name"]
        assert config["ReadonlyRootfs"], item["Name"]


def test_ports_are_published_where_they_should(osbox: Tool) -> None:
    names = engine("docker", "ps", "--format", "{{.Names}}").split()
    for item in json.loads(engine("docker", "inspect", *names)):
        for bindings in item["NetworkSettings"]["Ports"].values():
            for bound in bindings or []:
                assert bound["HostIp"] in (ADDRESS, LOOPBACK), f"{item['Name']} is published on {bound['HostIp']}"


def test_wrong_bmc_password_is_told(osbox: Tool, tmp_path: Path) -> None:
    wrong = (HOME / "rack.yaml").read_text().replace("rack-1", "rack-wrong").replace("password_file:", "password: wrong #")
    file = tmp_path / "nodes.yaml"
    file.write_text(re.sub(r"[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}$", "00:00:01", wrong, flags=re.MULTILINE))
    text = osbox("node", "enroll", str(file), code=1)
    assert "cannot reach or log in to its BMC" in text
    report = osbox.json("explain", "rack-wrong")
    assert report["cause"]["name"] == "bmc-login"  # type: ignore[index]
    text = osbox("explain", "rack-wrong")
    assert "refuses user name or password" in text
    assert re.search(r"\d\d:\d\d:\d\d +ironic +last error: Failed to get power state", text)
    osbox("node", "forget", "rack-wrong")


def test_explain_of_an_unknown_node_names_the_nearest(osbox: Tool) -> None:
    assert "there is no node rak-1; did you mean rack-1?" in osbox("explain", "rak-1", code=2)
    assert "--since yesterday is no time" in osbox("explain", "rack-1", "--since", "yesterday", code=2)


def test_explain_of_a_healthy_node_joins_all_that_was_seen(osbox: Tool) -> None:
    """The demo's node: deployed, nothing wrong, and each source has its say."""
    report = osbox.json("explain", "rack-1", "--tail", "500")
    assert report["cause"]["name"] == "in-use"  # type: ignore[index]
    assert {event["source"] for event in report["events"]} >= {"ironic", "conductor", "console", "nova"}  # type: ignore[index]
    few = osbox("explain", "rack-1", "--tail", "2")
    assert "the node is deployed and holds the server bm-node-1" in few
    assert re.search(r"\d+ earlier events of console are left out", few)


def test_node_that_never_boots_is_told_with_what_was_seen(osbox: Tool, tmp_path: Path) -> None:
    """A wrong MAC address in nodes.yaml: the node asks for an address, and DHCP does not know it."""
    osbox("rack", "add", "--nodes", "2")
    whole = yaml.safe_load((HOME / "rack.yaml").read_text())
    [node] = [node for node in whole["nodes"] if node["name"] == "rack-2"]
    file = tmp_path / "nodes.yaml"
    file.write_text(yaml.safe_dump({"nodes": [node | {"ports": ["52:54:00:00:00:02"]}]}))
    try:
        text = osbox("node", "enroll", str(file), "--deadline", "45", code=1)
        assert "has been in the state `inspect wait` for 45 s" in text
        assert "DHCP: no request from 52:54:00:00:00:02" in text
        assert "heartbeat of the ramdisk: none" in text
        # Ironic learns of the right one from the BMC, too, but nothing says that the node boots from it.
        assert f"{node['ports'][0]} asked for an address and got none" in osbox("explain", "rack-2")
        osbox("node", "forget", "rack-2")
        # The right address, and nobody who hands out the ramdisk.
        file.write_text(yaml.safe_dump({"nodes": [node]}))
        engine("docker", "stop", f"ipxe-httpd.{NAME}")
        osbox("node", "enroll", str(file), "--deadline", "15", code=1)
        assert "ipxe-httpd (exited) does not run" in osbox("explain", "rack-2")
    finally:
        engine("docker", "start", f"ipxe-httpd.{NAME}")
        osbox("node", "forget", "rack-2")
        osbox("rack", "remove", "rack-2")


def test_network_comes_back_after_neutron_is_replaced(osbox: Tool) -> None:
    """The agents and Open vSwitch may be restarted; the node is still reachable and DHCP is served."""
    engine("docker", "restart", f"openvswitch.{NAME}", f"neutron-openvswitch-agent.{NAME}", f"neutron-dhcp-agent.{NAME}")
    osbox("up")
    deadline = time.monotonic() + 120
    while "dnsmasq --no-hosts" not in (seen := engine("docker", "exec", f"neutron-dhcp-agent.{NAME}", "ps", "axww")):
        assert time.monotonic() < deadline, f"no DHCP server came back:\n{seen}"
        time.sleep(2)
    ports = engine("docker", "exec", f"openvswitch.{NAME}", "ovs-vsctl", "list-ports", "br-ex").split()
    assert "ext1-check" in ports
    assert "bm-node-1" in ssh("hostname")


def test_every_service_ends_when_it_is_asked_to(osbox: Tool) -> None:
    """Within its grace period, by itself or by the signal; then all come back. What holds the nodes and the network stays."""
    kept = {f"rack.{NAME}", f"neutron-network.{NAME}"}
    names = sorted(set(engine("docker", "ps", "--format", "{{.Names}}").split()) - kept)
    assert len(names) == len(SERVICES) - 1
    for name in names:  # one after the other: none may need another one to end
        engine("docker", "stop", name)
    codes = {item["Name"].strip("/"): item["State"]["ExitCode"] for item in json.loads(engine("docker", "inspect", *names))}
    # 1 is how oslo.service ends when what had begun was not done in time; 137 is Docker's SIGKILL.
    assert {name: code for name, code in codes.items() if code not in (0, 1, 143)} == {}
    engine("docker", "start", *names)
    osbox("up")
    assert "bm-node-1" in ssh("hostname")


def test_health_checks_see_that_the_database_stands_still(osbox: Tool) -> None:
    """They ask for something that needs it: an open port and a live process prove nothing."""
    names = [f"{name}.{NAME}" for name in ("keystone", "placement", "neutron-server")]
    assert all(is_healthy(name) for name in names)
    engine("docker", "pause", f"mysql.{NAME}")
    try:
        assert not any(is_healthy(name) for name in names)
    finally:
        engine("docker", "unpause", f"mysql.{NAME}")
    deadline = time.monotonic() + 60
    while not all(is_healthy(name) for name in names):
        assert time.monotonic() < deadline, "they do not recover"


def is_healthy(name: str) -> bool:
    """What the container's own health check says now; Docker asks it every 30 s."""
    argv = [Tool.program, "engine", "shell", "--", "docker", "exec", name, "bootstrap", "health"]
    return run.run(argv, env=ENVIRONMENT, check=False, timeout=60).code == 0


# --- crashes, and weather: a sample here, all of it with --full ----------------------------------------------------------

def contents() -> dict[str, object]:
    """What must be the same after a crash: users, images' checksums, nodes, instances, networks, and the provisioning network."""
    paths, site = crash.PATHS, load_site(HOME)
    project, system = cloud.connect(paths, site), cloud.connect(paths, site, system=True)
    state, listed = network.show(paths, site, find_engine(paths, site)), nodes.listing(system)
    return {
        "users": sorted((user.name, user.id) for user in project.identity.users()),
        "images": sorted((image.name, image.id, image.checksum) for image in project.image.images()),
        "nodes": sorted((row["uuid"], row["name"], row["instance_uuid"], row["provision_state"], row["power_state"]) for row in listed),
        "servers": sorted((one.name, one.id, one.created_at, one.status, str(one.addresses)) for one in project.compute.servers()),
        "networks": sorted((one.name, one.id) for one in project.network.networks()),
        "ports": sorted((one.id, one.mac_address, str(one.fixed_ips)) for one in project.network.ports()),
        "rules": sorted(state.rules or ()),
        "bridge": [(link.addresses, link.up) for link in state.links if link.name == site.bridge],
    }


def test_power_cut_and_up_bring_everything_back(osbox: Tool) -> None:
    """All processes, namespaces, bridges and tmpfs gone at once; then an `up` that is killed, and one that is not."""
    before = contents()
    ssh("echo before the cut | sudo tee /root/cut && sync")
    booted = ssh("cat /proc/sys/kernel/random/boot_id")
    crash.power_cut()
    assert "rack" not in {item["service"] for item in osbox.json("status")}  # type: ignore[attr-defined]
    crash.killed_at(osbox, 6, "up")
    osbox("up")
    assert contents() == before
    deadline = time.monotonic() + 240
    while (answer := try_ssh("cat /proc/sys/kernel/random/boot_id; sudo cat /root/cut")).count("\n") != 2:
        assert time.monotonic() < deadline, "the server does not run again"
        time.sleep(3)
    assert booted not in answer, "the node was switched off with the machine"
    assert "before the cut" in answer
    actions = json.loads(client("server", "event", "list", "bm-node-1", "-f", "json"))
    # A start is how Nova notes down that Ironic switched the node on again.
    assert {action["Action"] for action in actions} <= {"create", "start"}, "the instance is untouched"
    assert "Nothing to change" in osbox("up")


def try_ssh(command: str) -> str:
    try:
        return ssh(command)
    except Error:
        return ""


def started(service: str) -> None:
    """Start a service's container and wait until it answers: that is when the cause ends."""
    engine("docker", "start", f"{service}.{NAME}")
    deadline = time.monotonic() + 90
    while "unhealthy" in engine("sh", "-c", f"docker exec {service}.{NAME} bootstrap health || echo unhealthy"):
        assert time.monotonic() < deadline, f"{service} does not come back"
        time.sleep(0.5)


def test_bus_is_restarted_under_a_client(osbox: Tool) -> None:
    weather.break_and_watch(lambda: engine("docker", "stop", f"rabbitmq.{NAME}"), lambda: started("rabbitmq"), 0)


def test_disk_of_swift_becomes_read_only_under_a_client(osbox: Tool) -> None:
    seen = weather.break_and_watch(
        lambda: crash.make_read_only("swift-object", "/srv/node", on=True), lambda: crash.make_read_only("swift-object", "/srv/node", on=False), 8
    )
    assert "swift-proxy, writing" in seen.failures, "the disk was not read-only"


@pytest.mark.full
@pytest.mark.parametrize("service", ["mysql", "memcached"])
def test_service_is_gone_for_a_while_under_a_client(osbox: Tool, service: str) -> None:
    """MariaDB refuses connections; memcached is not there."""
    weather.break_and_watch(lambda: engine("docker", "stop", "-t", "5", f"{service}.{NAME}"), lambda: started(service), 15)


@pytest.mark.full
def test_up_killed_at_any_moment_goes_on(osbox: Tool) -> None:
    before = contents()
    osbox("down")
    for seconds in (0.3, 1, 2, 4, 8, 16, 24):
        crash.killed_at(osbox, seconds, "up")
    osbox("up")
    assert contents() == before


@pytest.mark.full
def test_net_connect_killed_at_every_change_goes_on(osbox: Tool) -> None:
    osbox("net", "disconnect")
    changes = [line[2:].rsplit(" ", 2)[0] for line in osbox("net", "connect").splitlines() if line.startswith("✔")]
    assert len(changes) >= 5
    for change in changes:
        osbox("net", "disconnect")
        osbox.killed_after(change, "net", "connect", seconds=0)
        osbox("net", "connect")
        assert "Nothing to change" in osbox("net", "connect")


@pytest.mark.full
def test_setup_killed_at_any_moment_goes_on(osbox: Tool) -> None:
    for words in (["image", "delete", "debian-13", "deploy-kernel"], ["keypair", "delete", "osbox"], ["flavor", "delete", "baremetal"]):
        client(*words)
    for seconds in (0.5, 2, 4, 6, 8, 10):
        crash.killed_at(osbox, seconds, "setup")
    osbox("setup")
    assert "Nothing to change" in osbox("setup")
    assert client("image", "list", "-c", "Name", "-f", "value").split().count("debian-13") == 1


@pytest.mark.full
def test_enroll_killed_in_every_state_goes_on(osbox: Tool, tmp_path: Path) -> None:
    osbox("rack", "add", "--nodes", "2")
    try:
        for state in ("enroll", "manageable", "inspecting", "inspect wait", "cleaning", "clean wait"):
            osbox.killed_after(f"rack-2: {state}", "node", "enroll", str(HOME / "rack.yaml"), seconds=0.5)
        osbox("node", "enroll", str(HOME / "rack.yaml"))
        assert "Nothing to change" in osbox("node", "enroll", str(HOME / "rack.yaml"))
    finally:
        osbox("node", "forget", "rack-2")
        osbox("rack", "remove", "rack-2")


@pytest.mark.full
def test_enroll_goes_on_after_the_node_lost_its_power(osbox: Tool) -> None:
    """In `clean wait` Ironic would wait half an hour for a ramdisk that is gone."""
    osbox("rack", "add", "--nodes", "2")
    try:
        assert osbox.killed_after("rack-2: clean wait", "node", "enroll", str(HOME / "rack.yaml"), seconds=0.2)
        crash.kill_node("rack-2")
        report = osbox.json("explain", "rack-2")
        assert report["cause"]["name"] == "power-cut"  # type: ignore[index]
        osbox("node", "enroll", str(HOME / "rack.yaml"), "--deadline", "400")
    finally:
        osbox("node", "forget", "rack-2")
        osbox("rack", "remove", "rack-2")


@pytest.mark.full
@pytest.mark.parametrize("line", ["keystone - Ready", "glance-api - Ready"])
def test_engine_killed_in_the_middle_of_up(osbox: Tool, line: str) -> None:
    before = contents()
    osbox("down")
    code, _ = crash.disturbed(osbox, line, crash.kill_engine, "up")
    assert code == 1
    osbox("up")
    assert contents() == before


@pytest.mark.full
@pytest.mark.parametrize("service", ["neutron-network", "mysql", "rabbitmq", "keystone", "nova-compute", "openvswitch", "rack"])
def test_container_killed_in_the_middle_of_up(osbox: Tool, service: str) -> None:
    before = contents()
    osbox("down")
    crash.disturbed(osbox, "keystone - Ready", lambda: crash.kill_container(service), "up")
    osbox("up")
    assert contents() == before
    assert {item["state"] for item in osbox.json("status")} == {"running"}  # type: ignore[attr-defined]


@pytest.mark.full
def test_conductor_killed_in_a_deployment_is_told_and_one_command_goes_on(osbox: Tool) -> None:
    osbox("demo", "--clean")
    code, text = crash.disturbed(osbox, "rack-1: wait call-back", lambda: crash.kill_container("ironic-conductor"), "demo", seconds=3)
    if code != 0:
        assert "Nova could not build bm-node-1" in text
        assert "ironic-conductor was restarted" in osbox("explain", "rack-1")
    assert "bm-node-1 login:" in osbox("demo", timeout=2400)


@pytest.mark.full
def test_node_that_loses_power_in_a_deployment_is_told_and_one_command_goes_on(osbox: Tool) -> None:
    osbox("demo", "--clean")
    assert osbox.killed_after("rack-1: wait call-back", "demo", seconds=3)
    crash.kill_node("rack-1")
    report = osbox.json("explain", "rack-1")
    assert report["cause"]["name"] == "power-cut"  # type: ignore[index]
    assert report["cause"]["next"].startswith("osbox openstack server delete bm-node-1")  # type: ignore[index]
    osbox("openstack", "server", "delete", "--wait", "bm-node-1")
    assert "bm-node-1 login:" in osbox("demo", timeout=2400)


def test_down_and_up_keep_everything(osbox: Tool) -> None:
    """Users, images, nodes and the server are there again, and the node boots its own disk."""
    image = client("image", "show", "debian-13", "-f", "value", "-c", "checksum")
    ssh("echo kept | sudo tee /root/kept && sync")
    osbox("down")
    assert osbox.json("status") == []
    osbox("up")
    assert client("image", "show", "debian-13", "-f", "value", "-c", "checksum") == image
    osbox("demo", timeout=1200)
    assert ssh("sudo cat /root/kept").strip() == "kept"


def test_a_second_cloud_beside_it(osbox: Tool) -> None:
    """With a name: the same engine and images, all else its own; removed without a trace, the first one untouched."""
    there, started = host(), engine("docker", "ps", "--format", "{{.Names}} {{.CreatedAt}}")
    osbox("--name", "beside", "up", timeout=600)
    token = run.run([Tool.program, "--name", "beside", "openstack", "token", "issue", "-f", "value", "-c", "id"], env=ENVIRONMENT, timeout=60)
    assert token.out.strip()
    assert len(osbox.json("--name", "beside", "status")) == len(osbox.json("status")) - 1, "all but the rack"
    with_both = osbox("down", "--purge", code=2)
    assert "osbox --name beside down --purge" in with_both
    osbox("--name", "beside", "down", "--purge")
    assert not (HOME / "clouds" / "beside").exists()
    assert "Nothing to remove" in osbox("--name", "beside", "down", "--purge")
    assert host() == there
    assert engine("docker", "ps", "--format", "{{.Names}} {{.CreatedAt}}") == started
    assert "bm-node-1" in ssh("hostname")


def test_demo_clean(osbox: Tool) -> None:
    osbox("demo", "--clean")
    assert json.loads(client("server", "list", "-f", "json")) == []
    assert osbox.json("node", "list") == []
    assert "Nothing to remove" in osbox("demo", "--clean")


def test_purge_leaves_the_host_as_it_was(osbox: Tool, before: dict[str, object]) -> None:
    osbox("down", "--purge", "--keep-images")
    after = host()
    assert {key: after[key] for key in before} == before
    assert {path.name for path in HOME.iterdir()} <= set(KEPT), "only what can be made again, and the site's own settings"
