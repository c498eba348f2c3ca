"""What the tests ask of the cloud that they made, as its users would: the client, the engine's shell, SSH."""

import http.client
import ssl
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from osbox import run
from osbox.cloud import sessions as cloud
from osbox.engine.engine import find as find_engine
from osbox.errors import Error
from osbox.metal import records
from osbox.network import connect as network
from osbox.site.load import load_site
from tests.e2e import crash
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import HOME, LOOPBACK, NAME, TRUSTED


def ssh(command: str) -> str:
    """Run a command on the server, with the words that the demo printed."""
    return run.run(ssh_argv(command), timeout=120).out


def ssh_argv(command: str, home: Path = HOME) -> list[str]:
    """On the demo's server, with the key of the deployment in a state directory."""
    address = server_address()
    settings = (
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "ConnectTimeout=10",
    )
    options = [word for setting in (*settings, "ConnectTimeout=10") for word in ("-o", setting)]
    return ["ssh", "-i", str(home / "id_ed25519"), *options, f"debian@{address}", command]


def server_address() -> str:
    """Of the demo's server. By the SDK: the client takes seconds to start, and this is asked all the time."""
    project = cloud.connect(crash.PATHS, load_site(HOME))
    [server] = project.compute.servers(name="^bm-node-1$")
    return str(server.addresses["external"][0]["addr"])


def link(port: int, timeout: float) -> http.client.HTTPSConnection:
    """To an API, which is verified."""
    return http.client.HTTPSConnection(LOOPBACK, port, timeout=timeout, context=context())


def ask(
    port: int, path: str, headers: Mapping[str, str] | None = None, timeout: float = 60
) -> tuple[int, bytes]:
    """Status and body of an API's answer, by a connection of its own."""
    connection = link(port, timeout)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def opener() -> urllib.request.OpenerDirector:
    """As `urlopen`, without a proxy, for our APIs."""
    direct = urllib.request.ProxyHandler({})
    return urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context()))


def context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(TRUSTED))


def client(*words: str, name: str = "") -> str:
    """What the client prints; of the deployment of that name."""
    argv = [Tool.program, *(["--name", name] if name else []), "openstack", *words]
    return run.run(argv, env=ENVIRONMENT, timeout=300).out


def engine(*words: str) -> str:
    return run.run([Tool.program, "engine", "shell", "--", *words], env=ENVIRONMENT, timeout=300).out


def try_ssh(command: str) -> str:
    try:
        return ssh(command)
    except Error:
        return ""


def is_healthy(name: str) -> bool:
    """What the container's own health check says now; Docker asks it each minute."""
    argv = [Tool.program, "engine", "shell", "--", "docker", "exec", name, "bootstrap", "health"]
    return run.run(argv, env=ENVIRONMENT, check=False, timeout=60).code == 0


def first_processes(names: Sequence[str]) -> dict[str, str]:
    """By the name of each running container the cgroups that its processes are in."""
    told = engine("docker", "inspect", "--format", "{{.Name}} {{.State.Pid}}", *names).splitlines()
    pids = [line.strip("/").split() for line in told]
    return {name: Path(f"/proc/{pid}/cgroup").read_text() for name, pid in pids if pid != "0"}


def kernel_view(cgroups: Mapping[str, str]) -> dict[str, str]:
    """By the name of each container that still has processes what these wait for: signals that each thread
    heeds, and where in the kernel it is. One look through /proc for all of them."""
    whose = {text: name for name, text in cgroups.items()}
    lines: dict[str, list[str]] = {}
    for status in Path("/proc").glob("[0-9]*/task/[0-9]*/status"):
        try:
            name = whose.get(status.parents[2].joinpath("cgroup").read_text())
            if not name:
                continue
            values = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            said = [f"{key} {values[key]}" for key in ("Name", "State", "ShdPnd", "SigIgn", "SigCgt")]
            line = " ".join((status.parent.name, *said, status.with_name("wchan").read_text()))
            lines.setdefault(name, []).append(line)
        except OSError:  # it has ended meanwhile
            continue
    return {name: "\n".join(found) for name, found in lines.items()}


def started(service: str) -> None:
    """Start a service's container and wait until it answers: that is when the cause ends."""
    engine("docker", "start", f"{service}.{NAME}")
    deadline = time.monotonic() + 90
    while not is_healthy(f"{service}.{NAME}"):
        assert time.monotonic() < deadline, f"{service} does not come back"
        time.sleep(0.5)


def contents() -> dict[str, object]:
    """What must be the same after a crash: users, images' checksums, nodes, instances, networks, and the
    provisioning network."""
    paths, site = crash.PATHS, load_site(HOME)
    project, system = cloud.connect(paths, site), cloud.connect(paths, site, system=True)
    state, listed = network.show(paths, site, find_engine(paths, site)), records.listing(system)
    return {
        "users": sorted((user.name, user.id) for user in project.identity.users()),
        "images": sorted((image.name, image.id, image.checksum) for image in project.image.images()),
        "nodes": sorted(
            (row["uuid"], row["name"], row["instance_uuid"], row["provision_state"], row["power_state"])
            for row in listed
        ),
        "servers": sorted(
            (one.name, one.id, one.created_at, one.status, str(one.addresses))
            for one in project.compute.servers()
        ),
        "networks": sorted((one.name, one.id) for one in project.network.networks()),
        "ports": sorted((one.id, one.mac_address, str(one.fixed_ips)) for one in project.network.ports()),
        "rules": sorted(state.rules or ()),
        "bridge": [(link.addresses, link.up) for link in state.links if link.name == site.bridge],
    }
