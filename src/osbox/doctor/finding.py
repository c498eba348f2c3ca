"""What a check finds, and what it looks at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from osbox import run
from osbox.cloud import compose
from osbox.engine import asking, docker
from osbox.engine.engine import Engine
from osbox.engine.info import ContainerInfo
from osbox.errors import Error
from osbox.site.site import Paths, Site

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: evidence says what was seen, next what to do about it ("" when it is
    well)."""

    level: Level
    what: str
    evidence: str = ""
    next: str = ""
    check: str = ""


@dataclass(frozen=True)
class Facts:
    """What all checks share: one look at the deployment's containers, by service."""

    paths: Paths
    site: Site
    base: Paths
    """Where the engine is: deployments with a name share it."""
    engine: Engine | None = None
    containers: Mapping[str, ContainerInfo] = field(default_factory=dict)
    servers: frozenset[str] = frozenset()
    """The addresses of Neutron's own DHCP servers; empty when it does not say."""
    silence: Error | None = None
    """Why nothing is known of the engine and its containers, although one runs."""

    @property
    def running(self) -> set[str]:
        return {service for service, item in self.containers.items() if item.state.status == "running"}


Check = Callable[[Facts], Iterable[Finding]]
SILENT = (asking.SilentError, run.LateError)
"""Of whom an answer did not come in time: that says nothing about what was asked for."""


def ok(what: str, evidence: str = "") -> Finding:
    return Finding("ok", what, evidence)


def warning(what: str, evidence: str, then: str) -> Finding:
    return Finding("warning", what, evidence, then)


def error(what: str, evidence: str, then: str) -> Finding:
    return Finding("error", what, evidence, then)


def unseen(what: str, silent: Error) -> Finding:
    """What could not be looked at, for nobody answered in time."""
    evidence = "\n".join(filter(None, (silent.message, silent.evidence)))
    return warning(
        f"{what}: not looked at", evidence, silent.hint or "osbox doctor, when the machine is less busy"
    )


def containers(engine: Engine | None, site: Site) -> dict[str, ContainerInfo]:
    """The containers of this deployment, by service."""
    if engine is None:
        return {}
    names = docker.ids(engine, "container", compose.label(site))
    found = {item.labels.get(compose.SERVICE, ""): item for item in docker.containers(engine, *names)}
    return {service: item for service, item in found.items() if service}
