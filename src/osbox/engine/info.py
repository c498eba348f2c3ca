"""Docker's answers as values: images, containers and networks, and which of those asked for are there. Pure.

The words are Docker's own. There is only what something of osbox reads; what is missing in an answer where
Docker always has something is a wrong answer (LookupError, TypeError, AttributeError or ValueError).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Entry = Mapping[str, Any]
"""One object of the list that `docker … inspect` prints."""
# The last is said of what cannot be the name of an image, which a person may have written.
DENIED = r"\bno such {kind}\b|\b{kind} \S+ not found$|\binvalid reference format\b"
BRIDGE_NAME = "com.docker.network.bridge.name"
OVERLAY = "overlay2"  # the one storage driver that has a directory for each layer


@dataclass(frozen=True)
class ImageInfo:
    """An image.

    tags: its names; layers: their digests, the lowest first; directories: where their files are, the highest
    first, if the storage driver tells. healthcheck: the kind (CMD, CMD-SHELL, NONE) and the words. config:
    all that is set for its containers, as text to search in.
    """

    id: str
    tags: tuple[str, ...] = ()
    created: str = ""
    architecture: str = ""
    size: int = 0
    layers: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    config: str = ""


@dataclass(frozen=True)
class State:
    """How a container is.

    pid: its first process as the engine numbers it, 0 when it does not run. health: healthy, unhealthy,
    starting, or "" where nothing checks it; health_log: what the last checks printed, the youngest last.
    """

    status: str
    running: bool = False
    pid: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    started_at: str = ""
    health: str = ""
    health_log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Binding:
    """A published port: the container's (80/tcp), and where the host has it."""

    port: str
    host_ip: str
    host_port: str


@dataclass(frozen=True)
class ContainerInfo:
    """A container.

    image: as it was named; image_id: what that name meant when the container was made.
    """

    id: str
    name: str
    image: str
    image_id: str
    state: State
    labels: Mapping[str, str] = field(default_factory=dict)
    restart_count: int = 0
    ports: tuple[Binding, ...] = ()
    addresses: tuple[str, ...] = ()
    """In the engine's networks."""


@dataclass(frozen=True)
class NetworkInfo:
    """A network.

    bridge: the host's interface that it is, "" for one that is none. scope: "local", or "swarm", whose
    addresses are counted apart. containers: the names of those that run in it.
    """

    name: str
    subnets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    bridge: str = ""
    scope: str = "local"
    id: str = ""
    containers: tuple[str, ...] = ()


def image(entry: Entry) -> ImageInfo:
    """What `docker image inspect` says of one."""
    config = entry["Config"] or {}
    return ImageInfo(
        id=_text(entry["Id"]),
        tags=tuple(entry["RepoTags"] or ()),
        created=entry.get("Created") or "",
        architecture=entry["Architecture"],
        size=int(entry["Size"]),
        layers=tuple(entry["RootFS"].get("Layers") or ()),
        directories=_directories(entry.get("GraphDriver") or {}),
        labels=dict(config.get("Labels") or {}),
        user=config.get("User") or "",
        env=tuple(config.get("Env") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        healthcheck=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
        config=json.dumps(config, ensure_ascii=False),
    )


def container(entry: Entry) -> ContainerInfo:
    """What `docker container inspect` says of one."""
    config = entry["Config"]
    return ContainerInfo(
        id=_text(entry["Id"]),
        name=entry["Name"].removeprefix("/"),
        image=_text(config["Image"]),
        image_id=_text(entry["Image"]),
        state=_state(entry["State"]),
        labels=dict(config.get("Labels") or {}),
        restart_count=int(entry["RestartCount"]),
        ports=tuple(
            Binding(port, bound["HostIp"], bound["HostPort"])
            for port, bindings in (entry["NetworkSettings"].get("Ports") or {}).items()
            for bound in bindings or ()
        ),
        addresses=tuple(
            one["IPAddress"]
            for one in (entry["NetworkSettings"].get("Networks") or {}).values()
            if one.get("IPAddress")
        ),
    )


def network(entry: Entry) -> NetworkInfo:
    """What `docker network inspect` says of one."""
    return NetworkInfo(
        name=_text(entry["Name"]),
        subnets=tuple(one["Subnet"] for one in entry["IPAM"].get("Config") or () if one.get("Subnet")),
        labels=dict(entry.get("Labels") or {}),
        bridge=_bridge(entry),
        scope=entry.get("Scope") or "local",
        id=_text(entry["Id"]),
        containers=tuple(_text(one["Name"]) for one in (entry.get("Containers") or {}).values()),
    )


def _bridge(entry: Entry) -> str:
    """As the driver `bridge` names its interfaces, unless it is told a name."""
    if entry.get("Driver") != "bridge":
        return ""
    return (entry.get("Options") or {}).get(BRIDGE_NAME) or f"br-{_text(entry['Id'])[:12]}"


def entries(kind: str, names: Sequence[str], out: str, err: str) -> list[Entry]:
    """Those of the names that are there: out and err are what `docker KIND inspect NAMES` printed.

    The exit code is the same for a name that is not there and for an engine that does not answer, and so is
    `[]`. What tells them apart is that the engine denies each name in a line of its own. Raises ValueError
    when it is not said of every name whether it is there.
    """
    found = json.loads(out.strip() or "[]")
    if not isinstance(found, list):
        raise ValueError(f"a list was to come, not {type(found).__name__}")  # noqa: TRY004 - a wrong value, as JSON's own errors
    denied = len(re.findall(DENIED.format(kind=kind), err, re.MULTILINE | re.IGNORECASE))
    if len(found) + denied != len(names):
        raise ValueError(f"asked for {len(names)}: {len(found)} are there, {denied} are not")
    return found


def _state(state: Entry) -> State:
    health = state.get("Health") or {}
    return State(
        status=_text(state["Status"]),
        running=bool(state["Running"]),
        pid=int(state["Pid"]),
        exit_code=int(state["ExitCode"]),
        oom_killed=bool(state["OOMKilled"]),
        started_at=_text(state["StartedAt"]),
        health=_health(health, runs=bool(state["Running"])),
        health_log=tuple(str(one.get("Output") or "") for one in health.get("Log") or ()),
    )


def _health(told: Entry, *, runs: bool) -> str:
    """Docker calls a container unhealthy that was paused, until its next check a minute later; no check has
    failed then. It calls one so that has ended, too."""
    status = str(told.get("Status") or "")
    return "healthy" if runs and status == "unhealthy" and told.get("FailingStreak") == 0 else status


def _directories(driver: Entry) -> tuple[str, ...]:
    data = driver.get("Data") or {}
    names = [data.get("UpperDir") or "", *(data.get("LowerDir") or "").split(":")]
    return tuple(name for name in names if name) if driver.get("Name") == OVERLAY else ()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was to come, not {value!r}")
    return value
