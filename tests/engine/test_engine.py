"""The private engine for real, in a network namespace of the test's own: what it leaves on the host, how it
survives being killed."""

import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from osbox import run
from osbox.engine import engine, footprint, processes
from osbox.engine import root as engine_root
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.load import find_paths
from osbox.site.site import HOME, Paths, Site
from tests import lanes, namespaces
from tests.deadlines import waited
from tests.home import BASE

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces, bridges and an engine: run as root"),
]
HOMES = (Path(HOME), BASE)  # where a root may be had from
SITE = Site.model_validate(
    {
        "name": "foot",
        "engine": "private",
        "engine_bridge": "osbox-ft",
        "engine_subnet": "10.29.91.0/24",
        "control_bridge": "osbox-ftc",
        "control_subnet": "10.29.90.0/24",
    }
)
BESIDE = SITE.model_copy(
    update={"engine_bridge": "osbox-ft2", "engine_subnet": ipaddress.IPv4Network("10.29.88.0/24")}
)
# The least that runs: a shell and its library.
FILES = ("bin", "lib", "lib64", "usr/bin/dash", "usr/bin/sh", "usr/bin/sleep", "usr/lib64")
LOOP = 'trap "exit 0" TERM; while :; do sleep 1; done'
FOREIGN = """\
add table inet stranger
add chain inet stranger input { type filter hook input priority 5; policy accept; }
add rule inet stranger input ip saddr 192.0.2.7 drop
add table ip mine
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An engine's root file system, copied where this machine has one already."""
    mine = Paths(find_paths().project, tmp_path_factory.mktemp("root"))
    made = [home / "engine/root" for home in HOMES if engine_root.is_current(home / "engine/root")]
    with waited("engine's root file system", within=600):
        if made:
            lanes.copy_root(made[0], mine)
        found = engine_root.ensure(mine)
    yield found
    engine_root.remove_tree(mine.home)


@pytest.fixture
def namespace() -> Iterator[None]:
    """A network namespace for the test and all it starts; forwarding is off in it, as on a fresh machine."""
    with namespaces.alone():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        yield


@pytest.fixture
def make(
    namespace: None, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Paths]]:
    """Makes state directories with an engine's root in them; whatever runs on them in the end is ended."""
    made: list[Paths] = []
    monkeypatch.setattr(engine, "MIN_FREE_BYTES", 1 << 30)

    def state(name: str) -> Paths:
        paths = Paths(find_paths().project, tmp_path / name)
        made.append(paths)
        paths.engine.mkdir(parents=True)
        run.run(
            ["cp", "-al", str(root), str(paths.engine)]
        )  # links: the engine writes new files there, it changes none
        return paths

    yield state
    for paths in made:
        processes.end(paths)
        footprint.undo(paths, SITE)
        shutil.rmtree(paths.home, ignore_errors=True)


def snapshot(tools: Path) -> dict[str, object]:
    """All that an engine might change, as data."""

    def said(*words: str) -> list[str]:
        text = run.run(["chroot", str(tools), "/usr/bin/env", "PATH=/usr/sbin:/usr/bin", *words]).out
        return [re.sub(r"\[\d+:\d+\]", "", line) for line in text.splitlines() if not line.startswith("#")]

    settings = {}
    for top in ("net/ipv4", "net/ipv6", "net/bridge", "kernel/keys"):
        for file in Path("/proc/sys", top).rglob("*"):
            with contextlib.suppress(OSError):
                settings[str(file)] = file.read_text() if file.is_file() else ""
    groups = f"**/osbox{tempfile.gettempdir().replace('/', '-')}*"
    return {
        "links": sorted(
            (link["ifname"], link.get("master", ""), given(link))
            for link in json.loads(run.run(["ip", "-json", "a"]).out)
        ),
        "routes": run.run(["ip", "route"]).out,
        "rules": run.run(["ip", "rule"]).out,
        "nft": said("nft", "--stateless", "list", "ruleset"),
        "iptables": said("iptables-save"),
        "ip6tables": said("ip6tables-save"),
        "settings": settings,
        "mounts": sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "netns": sorted(Path("/run/netns").iterdir()) if Path("/run/netns").is_dir() else [],
        "groups": sorted(map(str, Path("/sys/fs/cgroup").glob(groups))),
    }


def given(link: dict[str, Any]) -> list[str]:
    """Its addresses but for link-local ones, which come by themselves a moment later."""
    return [address["local"] for address in link["addr_info"] if address["scope"] != "link"]


def container(
    at: Engine, paths: Paths, root: Path, *, subnet: str, bridge: str = "osbox-ftc", port: int = 8081
) -> None:
    """A container with a published port and a volume, on a network of its own."""
    tar = paths.home / "tmp" / "tiny.tar"
    tar.parent.mkdir(exist_ok=True)
    libraries = [
        str(file.relative_to(root))
        for name in ("libc.so.6", "ld-linux*")
        for file in root.glob(f"usr/lib/*/{name}")
    ]
    run.run(["tar", "-C", str(root), "-cf", str(tar), *FILES, *libraries])
    run.run(at.argv("docker", "import", tar, "tiny"))
    run.run(
        at.argv(
            "docker",
            "network",
            "create",
            "--opt",
            f"com.docker.network.bridge.name={bridge}",
            "--subnet",
            subnet,
            "ctl",
        )
    )
    words = [
        "--name",
        "one",
        "--network",
        "ctl",
        "-p",
        f"{port}:81",
        "-v",
        "data:/data",
        "--restart",
        "unless-stopped",
    ]
    run.run(at.argv("docker", "run", "--detach", *words, "tiny", "sh", "-c", LOOP))


def rules(root: Path) -> list[str]:
    return list(snapshot(root)["iptables"])  # type: ignore[call-overload,no-any-return]


def test_purge_leaves_the_host_as_it_was(make: Callable[[str], Paths], root: Path) -> None:
    paths, before = make("home"), snapshot(root)
    at = engine.start(paths, SITE)
    container(at, paths, root, subnet=str(SITE.control_subnet))
    during = snapshot(root)
    assert {key for key in before if before[key] != during[key]} >= {
        "links",
        "routes",
        "nft",
        "iptables",
        "settings",
        "groups",
    }
    assert (during["mounts"], during["netns"]) == (before["mounts"], before["netns"]), (
        "the engine's mounts are its own"
    )
    assert processes.find(paths)
    engine.stop(paths)
    again = engine.start(paths, SITE)  # a second start must not take the first one's doing for the host's
    assert run.run(again.argv("docker", "ps", "--quiet")).out.strip(), "restart: unless-stopped"
    gone = engine.purge(paths, SITE)
    assert snapshot(root) == before
    assert processes.find(paths) == []
    assert not paths.home.exists()
    assert "private engine" in gone
    assert engine.purge(paths, SITE) == []


def test_purge_leaves_what_others_made(make: Callable[[str], Paths], root: Path) -> None:
    """Tables and rules from before and from meanwhile, and a forwarding policy that was set before."""
    tools = ("chroot", str(root), "/usr/bin/env", "PATH=/usr/sbin:/usr/bin")
    run.run([*tools, "nft", "-f", "-"], input=FOREIGN)
    run.run([*tools, "iptables", "-P", "FORWARD", "DROP"])
    run.run([*tools, "iptables", "-A", "INPUT", "-s", "192.0.2.8/32", "-j", "DROP"])
    run.run(["ip", "link", "add", "br-0123456789ab", "type", "bridge"])
    paths, before = make("home"), snapshot(root)
    container(engine.start(paths, SITE), paths, root, subnet=str(SITE.control_subnet))
    meanwhile = [
        ["FORWARD", "-i", "tun0", "-o", SITE.engine_bridge, "-j", "LOG"],
        ["DOCKER-USER", "-s", "192.0.2.9/32", "-j", "DROP"],
        ["POSTROUTING", "-t", "nat", "-s", "10.8.0.0/24", "-o", "eth0", "-j", "MASQUERADE"],
    ]
    for words in meanwhile:
        run.run([*tools, "iptables", "-I", *words])
    engine.purge(paths, SITE)
    assert rules(root) == [
        "*filter",
        ":INPUT ACCEPT ",
        ":FORWARD DROP ",
        ":OUTPUT ACCEPT ",
        ":DOCKER-USER - ",
        "-A INPUT -s 192.0.2.8/32 -j DROP",
        f"-A FORWARD -i tun0 -o {SITE.engine_bridge} -j LOG",
        "-A FORWARD -j DOCKER-USER",
        "-A DOCKER-USER -s 192.0.2.9/32 -j DROP",
        "-A DOCKER-USER -j RETURN",
        "COMMIT",
        "*nat",
        ":PREROUTING ACCEPT ",
        ":INPUT ACCEPT ",
        ":OUTPUT ACCEPT ",
        ":POSTROUTING ACCEPT ",
        "-A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE",
        "COMMIT",
    ]
    for words in (
        ["-D", *meanwhile[0]],
        ["-D", *meanwhile[1]],
        ["-D", "FORWARD", "-j", "DOCKER-USER"],
        ["-F", "DOCKER-USER"],
        ["-X", "DOCKER-USER"],
    ):
        run.run([*tools, "iptables", *words])
    run.run([*tools, "nft", "delete", "table", "ip", "nat"])
    assert snapshot(root) == before, "nothing but those three rules and what leads to them was left"


@pytest.mark.parametrize("everything", [False, True], ids=["dockerd", "all of it but the containers"])
def test_an_engine_that_was_killed(make: Callable[[str], Paths], root: Path, *, everything: bool) -> None:
    paths, before = make("home"), snapshot(root)
    container(engine.start(paths, SITE), paths, root, subnet=str(SITE.control_subnet))
    kill(paths, everything=everything)
    assert engine.find(paths, SITE) is None
    assert processes.find(paths), "containers live on"
    at = engine.start(paths, SITE)
    assert run.run(at.argv("docker", "ps", "--format", "{{.Ports}}")).out.startswith("0.0.0.0:8081->81/tcp")
    assert sum(processes.name(pid) == "dockerd" for pid in processes.find(paths)) == 1
    kill(paths, everything=everything)
    engine.purge(paths, SITE)
    assert snapshot(root) == before
    assert processes.find(paths) == []
    assert not paths.home.exists()


def kill(paths: Paths, *, everything: bool) -> None:
    names = {pid: processes.name(pid) for pid in processes.find(paths)}
    victims = [
        pid
        for pid, name in names.items()
        if name == "dockerd" or (everything and name not in ("sh", "sleep"))
    ]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(processes.alive(pid) for pid in victims) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_purge_can_be_killed_at_any_command(
    make: Callable[[str], Paths], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended before its first, second, … command on the host; what is left by then, the next run removes."""
    paths, before = make("home"), snapshot(root)
    container(engine.start(paths, SITE), paths, root, subnet=str(SITE.control_subnet))
    kill(paths, everything=False)
    processes.end(paths)
    real, count, ends = run.run, 0, 0

    def mortal(argv: list[str], **options: Any) -> run.Result:
        nonlocal count
        count -= 1
        if count < 0:
            raise KeyboardInterrupt
        return real(argv, **options)

    for commands in range(40):
        count = commands
        monkeypatch.setattr(run, "run", mortal)
        try:
            engine.purge(paths, SITE)
        except KeyboardInterrupt:
            ends += 1
            continue
        finally:
            monkeypatch.setattr(run, "run", real)
        break
    assert ends > 4, "each run gets further than the one before"
    assert snapshot(root) == before
    assert not paths.home.exists()


def test_two_engines_side_by_side(
    make: Callable[[str], Paths], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second engine starts and goes; the first one's ports and rules stay as they were."""
    nothing = snapshot(root)
    first, second = make("first"), make("second")
    container(engine.start(first, SITE), first, root, subnet=str(SITE.control_subnet))
    alone = snapshot(root)
    at = engine.start(second, BESIDE)
    assert set(alone["iptables"]) <= set(rules(root))  # type: ignore[call-overload]
    container(at, second, root, subnet="10.29.89.0/24", bridge="osbox-ft2c", port=8082)
    engine.purge(second, BESIDE)
    assert "another engine runs here" in capsys.readouterr().err
    assert comparable(snapshot(root)) == comparable(alone)
    engine.purge(first, SITE)
    assert snapshot(root) == nothing


def comparable(state: dict[str, object]) -> dict[str, object]:
    """A starting dockerd changes the order of a neighbour's rules, which do not depend on it."""
    return {**state, "nft": "", "iptables": sorted(state["iptables"]), "ip6tables": ""}  # type: ignore[call-overload]


def test_a_foreign_interface_of_the_bridges_name_is_refused(make: Callable[[str], Paths]) -> None:
    paths = make("home")
    run.run(["ip", "link", "add", SITE.engine_bridge, "type", "bridge"])
    with pytest.raises(Error, match="that osbox did not make"):
        engine.start(paths, SITE)
    engine.purge(paths, SITE)
    assert SITE.engine_bridge in run.run(["ip", "-brief", "link"]).out


def test_no_half_root_is_left_without_a_mirror(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = next((home / "tools" for home in HOMES if (home / "tools").is_dir()), None)
    if tools:
        shutil.copytree(tools, paths.home / "tools")
    monkeypatch.setenv("OSBOX_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises(Error, match="packages could not be had") as caught:
        engine_root.ensure(paths)
    assert "127.0.0.1:9" in caught.value.evidence
    assert list(paths.engine.iterdir()) == []
