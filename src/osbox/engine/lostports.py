"""Ports that are published for no container: a dockerd that was killed brings them back, and only the end of
their network frees them.

dockerd publishes a container's ports before it notes that the container is in its network. Killed in between,
its bridge driver alone knows of them: it publishes them again at the next start, `docker network inspect`
shows nothing, and no container can have those ports (seen with Docker 26.1). Once the network is removed, the
start after next is without them.
"""

import ipaddress
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osbox import environment, log, run
from osbox.engine import asking, processes
from osbox.site.site import LABEL, Paths

SURE_SECONDS = 2  # for so long a container that is being started may have its proxies, but not its state yet


@dataclass(frozen=True)
class Proxy:
    """A docker-proxy: what it is told to listen on, and for which address inside."""

    pid: int
    protocol: str
    address: str
    port: str
    inside: str


def pending(paths: Paths) -> bool:
    """Whether networks were removed, and the engine was not started anew since."""
    return _mark(paths).exists()


def settle(paths: Paths) -> None:
    """The engine was started anew."""
    _mark(paths).unlink(missing_ok=True)


def find(paths: Paths, prefix: Sequence[str]) -> list[Proxy]:
    """The proxies of no running container, seen twice; prefix is the engine's."""
    first = _unowned(paths, prefix)
    if not first:
        return []
    time.sleep(SURE_SECONDS)
    return [proxy for proxy in _unowned(paths, prefix) if proxy in first]


def remove(paths: Paths, prefix: Sequence[str]) -> list[str]:
    """Remove the containers and networks of deployments that have such ports, of which volumes are all they
    need; returns their names.

    The engine has to be started anew afterwards, and `settle` be called. What is not of a deployment stays,
    with a word of warning.
    """
    addresses = [ipaddress.ip_address(proxy.inside) for proxy in find(paths, prefix)]
    owners = set[str]()
    custom = _ids(prefix, "network", "--filter", "type=custom") if addresses else []
    for network in asking.networks(_docker(prefix), custom):
        # Docker takes 10.0.0.5/24, too, and says it as it was given.
        subnets = [ipaddress.ip_network(subnet, strict=False) for subnet in network.subnets]
        if any(address in subnet for address in addresses for subnet in subnets):
            name = network.labels.get(LABEL)
            if name:
                owners.add(name)
            else:
                log.warn(
                    f"Docker's network {network.name} holds ports for no container: remove it, and restart"
                    " the engine, to free them"
                )
    for name in sorted(owners):
        _mark(paths).touch()
        for kind, force in (("container", ["--force"]), ("network", [])):
            found = _ids(prefix, kind, "--filter", f"label={LABEL}={name}")
            if found:
                run.run([*_docker(prefix), kind, "rm", *force, *found])
    return sorted(owners)


def _mark(paths: Paths) -> Path:
    return paths.engine / "restart"


def _unowned(paths: Paths, prefix: Sequence[str]) -> list[Proxy]:
    proxies = _proxies(paths)
    running = _ids(prefix, "container") if proxies else []  # what ends before the next question is left out
    owned = {
        (one.port.rpartition("/")[2], one.host_ip, one.host_port)
        for container in asking.containers(_docker(prefix), running)
        for one in container.ports
    }
    return [proxy for proxy in proxies if (proxy.protocol, proxy.address, proxy.port) not in owned]


def _proxies(paths: Paths) -> list[Proxy]:
    found = []
    for pid in processes.find(paths):
        if processes.name(pid) == "docker-proxy":
            with suppress(OSError, KeyError):
                words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[1:]
                told = dict(zip(words[::2], words[1::2], strict=False))
                found.append(
                    Proxy(pid, told["-proto"], told["-host-ip"], told["-host-port"], told["-container-ip"])
                )
    return found


def _docker(prefix: Sequence[str]) -> list[str]:
    """The private engine's client, which sees nothing of another engine that a person has set."""
    return [*prefix, *environment.client("private"), "docker"]


def _ids(prefix: Sequence[str], kind: str, *options: str) -> list[str]:
    """Of containers: all with options, else those that run."""
    every = ["--all"] if kind == "container" and options else []
    return asking.ask([*_docker(prefix), kind, "ls", "--quiet", *every, *options]).out.split()
