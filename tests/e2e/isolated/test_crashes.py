"""Crashes and full disks at every step: the same command again always completes.

A sample runs in `make check`, the whole matrices with --full. The tests build on one another, as those in
test_cloud.py do.
"""

import json
import os
import random
import signal
from pathlib import Path

import pytest

from osbox import run
from osbox.cloud.services import SERVICES
from osbox.contents import images
from tests.e2e import changes, crash
from tests.e2e.asking import client, contents, engine
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.e2e.isolated.conftest import SEED
from tests.home import HOME, NAME
from tests.samples import params, scene, turn

pytestmark = pytest.mark.e2e

full = pytest.mark.full
PUBLISHING = "as it publishes ports"
INTERRUPTED = 130  # as a shell says it of SIGINT: 128 + 2


def empty(osbox: Tool) -> None:
    """A cloud that never was up: no container, no volume."""
    osbox("engine", "start")
    osbox("down")
    volumes = engine(
        "docker", "volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}"
    ).split()
    if volumes:
        engine("docker", "volume", "rm", *volumes)


def complete(osbox: Tool) -> None:
    """`osbox up` comes to its end, and a second one finds nothing that it left out."""
    osbox("up")
    assert changes.plan() == []
    states = {item["service"]: item["state"] for item in osbox.json("status")}  # type: ignore[attr-defined]
    assert set(states) >= set(SERVICES)
    assert set(states.values()) == {"running"}
    assert "Nothing to change" in osbox("up")


# --- up
# --------------------------------------------------------------------------------


@scene("first up killed")
def test_first_up_killed_again_and_again_goes_on(cloud: Tool) -> None:
    """Each run goes on where the one before was killed: before the containers, in the migrations, in
    Keystone's contents, in the proof."""
    for seconds in (1, 5, 12):
        crash.killed_at(cloud, seconds, "up")
    complete(cloud)


@full
@pytest.mark.parametrize("seconds", [0.5, 2, 3, 5, 7, 9, 11, 13, 16, 20, 25])
def test_first_up_killed_at_any_moment_goes_on(cloud: Tool, seconds: float) -> None:
    empty(cloud)
    crash.killed_at(cloud, seconds, "up")
    complete(cloud)


@full
def test_up_interrupted_says_so_and_goes_on(cloud: Tool) -> None:
    cloud("down")
    code, text = crash.disturbed(cloud, "keystone - Ready", lambda pid: os.kill(pid, signal.SIGINT), "up")
    assert code == INTERRUPTED
    assert text.endswith("Interrupted; run the same command again to go on\n")
    complete(cloud)


@scene("engine killed")
@pytest.mark.parametrize(
    "line", params(["keystone - Ready", "rabbitmq - Ready", "nova-api - Ready", PUBLISHING])
)
def test_engine_killed_in_the_middle_of_up(cloud: Tool, line: str) -> None:
    if line == PUBLISHING:
        killed_as_it_publishes(cloud)
        return
    cloud("down")
    code, text = crash.disturbed(cloud, line, lambda _: crash.kill_engine(), "up")
    assert code == 1
    # Whoever notices first: the wait for a service, or a request that breaks off.
    assert "osbox up again" in text or "the same command again" in text
    complete(cloud)


@full
@pytest.mark.parametrize("seconds", [3, 5, 7])
def test_engine_killed_while_containers_are_made(cloud: Tool, seconds: float) -> None:
    empty(cloud)
    code, _ = crash.disturbed(cloud, "", lambda _: crash.kill_engine(), "up", seconds=seconds)
    assert code == 1
    complete(cloud)


def killed_as_it_publishes(cloud: Tool) -> None:
    """dockerd may bring ports back that no container has, and that none could have; it does not each time."""
    for _ in range(5):
        empty(cloud)
        code, _text = crash.disturbed(
            cloud, "", lambda _: crash.kill_engine_as_it_publishes(), "up", seconds=0
        )
        assert code == 1
        if "osbox up makes them anew" in run.run([Tool.program, "engine", "start"], env=ENVIRONMENT).err:
            break
    else:
        pytest.fail("no port was half published in five tries")
    complete(cloud)


SAMPLE = random.Random(SEED).sample(sorted(SERVICES), 1)  # noqa: S311 - a choice, no secret


@scene("container killed")
@pytest.mark.parametrize(
    "service", [pytest.param(name, marks=() if name in SAMPLE else full) for name in SERVICES]
)
def test_container_killed_in_the_middle_of_up(cloud: Tool, service: str) -> None:
    """Docker starts it again; `up` either waits for it or says what is not ready, and then completes when
    called again."""
    cloud("down")
    code, _ = crash.disturbed(
        cloud, "keystone - Ready", lambda _: crash.kill_container(service), "up", seconds=0.2
    )
    assert code in (0, 1)
    complete(cloud)


BUS = "rabbitmq"
DATA = HOME / "engine" / "data" / "volumes" / f"{NAME}-{BUS}-data" / "_data"
EMPTIED = (
    ".erlang.cookie",
    "mnesia/rabbit@localhost-feature_flags",
    "mnesia/rabbit@localhost/cluster_nodes.config",
    "mnesia/rabbit@localhost/nodes_running_at_shutdown",
    "mnesia/rabbit@localhost/schema.DAT",
    "mnesia/rabbit@localhost/quorum/rabbit@localhost/names.dets",
    "mnesia/rabbit@localhost/quorum/rabbit@localhost/meta.dets",
    "mnesia/rabbit@localhost/coordination/rabbit@localhost/names.dets",
)
"""Each of these was seen to keep RabbitMQ 4.0 from starting for ever, when a kill left it empty."""


@pytest.mark.parametrize("file", params(EMPTIED))
def test_a_broker_whose_file_a_kill_left_empty_goes_on(cloud: Tool, file: str) -> None:
    cloud("up")
    engine("docker", "stop", f"{BUS}.{NAME}")
    assert (DATA / file).stat().st_size > 0
    (DATA / file).write_bytes(b"")
    complete(cloud)
    assert (DATA / ".put-aside" / file).exists()


@full
def test_workers_of_every_api(cloud: Tool) -> None:
    cloud("up", "--workers", "2")
    workers = {
        name: engine("docker", "exec", f"{name}.{NAME}", "sh", "-c", COUNT).strip()
        for name in ("keystone", "nova-api", "neutron-server")
    }
    assert all(int(number) >= 3 for number in workers.values()), f"a parent and two workers each: {workers}"
    assert "workers = 2" in (HOME / "site.toml").read_text()
    assert "Nothing to change" in cloud("up"), "the number is kept"
    cloud("up", "--workers", "1")


COUNT = "ls -d /proc/[0-9]*/exe | wc -l"


@full
def test_dead_name_servers_do_not_matter(cloud: Tool, tmp_path: Path) -> None:
    """The cloud's names are its own: with images built, nothing asks the name servers of the machine."""
    cloud("down")
    cloud("engine", "stop")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\noptions timeout:30 attempts:5\n")
    script = (
        f'mount --bind {tmp_path}/resolv.conf "$(readlink -f /etc/resolv.conf)" && exec {Tool.program} up'
    )
    run.run(["unshare", "--mount", "sh", "-c", script], env=ENVIRONMENT, timeout=240)
    complete(cloud)


# --- a full disk
# --------------------------------------------------------------------------------

PAGE = 4096


@scene("disk full")
def test_disk_full_at_each_write_is_told_and_the_same_command_goes_on(
    request: pytest.FixtureRequest, cloud: Tool
) -> None:
    """The directory of a second deployment is a small file system, one page larger with every try; then it
    is large.

    In `make check` three pages larger, from another size every day.
    """
    every = 1 if request.config.getoption("--full") else 3
    place = HOME / "clouds" / "small"
    full_at, said = 0, list[str]()
    with crash.small_disk(place) as resize:
        for pages in range(2 + turn(range(every))[0], 120, every):
            resize(pages * PAGE)
            result = run.run(
                [Tool.program, "--name", "small", "up"], env=ENVIRONMENT, check=False, timeout=240
            )
            assert "Traceback" not in result.err
            if result.code == 0:
                break
            assert result.code == 1, result.err
            assert "the disk is full" in result.err, result.err
            full_at, said = full_at + 1, [*said, result.err.splitlines()[-2]]
        print("\n".join(said))
        assert full_at > 10 // every, "the disk was never full"
        resize(1 << 26)
        assert "Nothing to change" in cloud("--name", "small", "up")
        left = [path for path in place.rglob("*") if path.name.endswith(".new")]
        assert left == []
        cloud("--name", "small", "down", "--purge")
    assert "Nothing to change" in cloud("up")


# --- contents, nodes, deployments
# --------------------------------------------------------------------------------


def test_setup_killed_at_any_moment_goes_on(cloud: Tool) -> None:
    for seconds in (1, 4, 8):
        crash.killed_at(cloud, seconds, "setup")
    cloud("setup")
    assert "Nothing to change" in cloud("setup")
    names = client("image", "list", "-c", "Name", "-f", "value").split()
    assert sorted(names) == sorted(set(names)), "an upload that was cut off is no second image"


def test_setup_removes_the_second_image_of_a_run_killed_before_it_did(cloud: Tool) -> None:
    """Killed between "the new one is stored" and "the old one is deleted": two of the name, one of them
    whole."""
    cloud("setup")
    whole = client("image", "show", "deploy-kernel", "-c", "id", "-f", "value").strip()
    cut = client(
        "image", "create", "deploy-kernel", "--property", f"{images.STAMP}=older", "-c", "id", "-f", "value"
    ).strip()
    assert "leftover of image deploy-kernel removed" in cloud("setup")
    assert client("image", "list", "--name", "deploy-kernel", "-c", "ID", "-f", "value").split() == [whole]
    assert cut != whole
    assert "Nothing to change" in cloud("setup")


def test_setup_leaves_an_image_of_somebody_else_alone(cloud: Tool) -> None:
    mine = client("image", "create", "debian-13", "-c", "id", "-f", "value").strip()
    try:
        said = cloud("setup", code=2)
        assert "there is another image debian-13" in said
        assert mine in said, "the evidence names it"
    finally:
        client("image", "delete", mine)
    assert "Nothing to change" in cloud("setup")


@full
def test_enroll_killed_in_every_state_goes_on(cloud: Tool) -> None:
    cloud("net", "connect")
    cloud("rack", "add", "--nodes", "1")
    for state in ("enroll", "manageable", "inspecting", "inspect wait", "cleaning", "clean wait"):
        cloud.killed_after(f"rack-1: {state}", "node", "enroll", str(HOME / "rack.yaml"), seconds=0.5)
    cloud("node", "enroll", str(HOME / "rack.yaml"))
    assert "Nothing to change" in cloud("node", "enroll", str(HOME / "rack.yaml"))


@full
def test_enroll_goes_on_after_the_node_lost_its_power(cloud: Tool) -> None:
    """In `clean wait` Ironic would wait half an hour for a ramdisk that is gone."""
    cloud("demo", "--clean")
    cloud("rack", "add", "--nodes", "1")
    assert cloud.killed_after("rack-1: clean wait", "node", "enroll", str(HOME / "rack.yaml"), seconds=0.2)
    crash.kill_node("rack-1")
    report = cloud.json("explain", "rack-1")
    assert report["cause"]["name"] == "power-cut"  # type: ignore[index]
    cloud("node", "enroll", str(HOME / "rack.yaml"), "--deadline", "400")


@full
def test_demo_with_a_container_killed_at_every_step_goes_on(cloud: Tool) -> None:
    """Another one at each step, by chance."""
    cloud("demo", "--clean")
    chance = random.Random(SEED)  # noqa: S311 - a choice, no secret
    for step in ("Contents", "Rack", "Enrol", "Request", "Deploy", "Boot"):
        service = chance.choice(sorted(SERVICES))
        print(f"{step}: {service}")
        crash.disturbed(
            cloud,
            f"{step}  $ osbox",
            lambda _, service=service: crash.kill_container(service),  # type: ignore[misc]
            "demo",
            timeout=2400,
        )
    assert "bm-node-1 login:" in cloud("demo", timeout=2400)


@full
def test_conductor_killed_in_a_deployment_is_told_and_one_command_goes_on(cloud: Tool) -> None:
    cloud("demo", "--clean")
    code, text = crash.disturbed(
        cloud, "rack-1: wait call-back", lambda _: crash.kill_container("ironic-conductor"), "demo", seconds=3
    )
    if code != 0:
        assert "Nova could not build bm-node-1" in text
        assert "ironic-conductor was restarted" in cloud("explain", "rack-1")
    assert "bm-node-1 login:" in cloud("demo", timeout=2400)


@full
def test_node_that_loses_power_in_a_deployment_is_told_and_one_command_goes_on(cloud: Tool) -> None:
    cloud("demo", "--clean")
    assert cloud.killed_after("rack-1: wait call-back", "demo", seconds=3)
    crash.kill_node("rack-1")
    report = cloud.json("explain", "rack-1")
    assert report["cause"]["name"] == "power-cut"  # type: ignore[index]
    assert report["cause"]["next"].startswith("osbox openstack server delete bm-node-1")  # type: ignore[index]
    cloud("openstack", "server", "delete", "--wait", "bm-node-1")
    assert "bm-node-1 login:" in cloud("demo", timeout=2400)


@full
def test_engine_killed_under_a_server_and_up_brings_all_back(cloud: Tool) -> None:
    before = contents()
    crash.kill_engine()
    complete(cloud)
    assert contents() == before
    assert json.loads(client("server", "show", "bm-node-1", "-f", "json"))["status"] == "ACTIVE"
