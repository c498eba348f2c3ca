"""What is under way in the cloud: nodes that Ironic is at work on, images that are coming in; and which
changes of services would break it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from osbox import answers, log, waiting
from osbox.cloud import sessions
from osbox.cloud.changes import Change, Live
from osbox.cloud.compose import RACK
from osbox.cloud.services import BY_TYPE
from osbox.errors import Error
from osbox.metal.states import UNDER_WAY
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from keystoneauth1.session import Session

NEEDED: Mapping[str, frozenset[str]] = {
    "node": frozenset(
        {
            *("ironic-conductor", "nova-compute", "mysql", "rabbitmq", RACK),
            *("neutron-network", "openvswitch", "neutron-openvswitch-agent", "neutron-dhcp-agent"),
            *("pxe-tftp", "ipxe-httpd", "swift-proxy", "swift-account", "swift-container", "swift-object"),
        }
    ),
    "image": frozenset(
        {"glance-api", "mysql", "swift-proxy", "swift-account", "swift-container", "swift-object"}
    ),
}
"""What must not be replaced meanwhile. The other APIs are not among them: the entrance holds what comes for
one that is replaced, and it ends gracefully itself."""
STATES = ("saving", "importing", "uploading")
"""Of an image that is coming in; one that is queued may stay so for ever."""
BREAKS = ("recreate", "restart", "remove")
PATIENCE_SECONDS = 1800
"""As long as Ironic itself gives a deployment: its deploy_callback_timeout."""
POLL_SECONDS = 2
HEADERS = {"X-OpenStack-Ironic-API-Version": "1.80"}


@dataclass(frozen=True)
class Busy:
    """A node or an image, and what is done with it; state: in the words of Ironic, or of Glance."""

    kind: Literal["node", "image"]
    name: str
    state: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.state})"


@dataclass(frozen=True)
class Patience:
    """How long `osbox up` waits for what is under way, in seconds; now: not at all, and goes on."""

    seconds: float = PATIENCE_SECONDS
    now: bool = False


def harmful(changes: Iterable[Change], live: Mapping[str, Live]) -> frozenset[str]:
    """The services that run, would be stopped for a change, and that something under way might need."""
    stopped = {
        change.name
        for change in changes
        if change.kind == "container" and change.action in BREAKS and change.name in live
    }
    running = {name for name in stopped if live[name].state == "running"}
    return frozenset().union(*NEEDED.values()) & running


def broken(found: Iterable[Busy], services: frozenset[str]) -> list[tuple[Busy, list[str]]]:
    """What would be broken, each with the services that it needs."""
    hit = ((one, sorted(NEEDED[one.kind] & services)) for one in found)
    return [(one, names) for one, names in hit if names]


def look(paths: Paths, site: Site) -> list[Busy]:
    """What is under way now. Raises Error, or what else keeps us from an answer."""
    system, project = sessions.session(paths, site, system=True), sessions.session(paths, site)
    nodes = _read(system, site, "baremetal", "/v1/nodes?fields=uuid,name,provision_state")["nodes"]
    images = _read(project, site, "image", f"/v2/images?status=in:{','.join(STATES)}")["images"]
    return [
        *(
            Busy("node", str(one["name"] or one["uuid"]), one["provision_state"])
            for one in nodes
            if one["provision_state"] in UNDER_WAY
        ),
        *(Busy("image", str(one.get("name") or one["id"]), one["status"]) for one in images),
    ]


def _read(session: "Session", site: Site, kind: str, path: str) -> dict[str, Any]:
    answer = session.get(f"{site.api(BY_TYPE[kind].port)}{path}", headers=HEADERS, raise_exc=False)
    if answer.status_code != HTTPStatus.OK:
        raise Error(f"{BY_TYPE[kind].service} did not say what is under way: HTTP {answer.status_code}")
    return answers.read(answer, f"{BY_TYPE[kind].service} did not say what is under way")


def seen(paths: Paths, site: Site, services: frozenset[str]) -> list[tuple[Busy, list[str]]]:
    """What would be broken now, when these services were stopped; nothing when the cloud does not say: it may
    be down, and this be its cure."""
    if not services:
        return []
    try:
        found = look(paths, site)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from an answer
        log.warn(f"what is under way is not known: {str(error).splitlines()[0] if str(error) else error!r}")
        return []
    return broken(found, services)


def let_end(
    services: frozenset[str],
    patience: Patience,
    ask: Callable[[frozenset[str]], list[tuple[Busy, list[str]]]],
) -> None:
    """Wait until nothing is under way that would be broken when these services are stopped.

    Raises Error when there still is something after that time, with what it is.
    """
    hit = ask(services)
    if not hit:
        return
    if patience.now:
        log.warn(f"broken by --now: {', '.join(str(one) for one, _ in hit)}")
        return
    said, told = hit, ""

    def is_over() -> bool:
        nonlocal said, told
        said = ask(services)
        line = ", ".join(str(one) for one, _ in said)
        if line and line != told:
            log.say(f"  {line}")
        told = line
        return not said

    with log.step(f"Wait for what is under way, {log.seconds(patience.seconds)} at most"):
        over = waiting.happens(is_over, patience.seconds, poll=POLL_SECONDS)
    if not over:
        raise Error(
            f"something is under way, and would be broken: {', '.join(str(one) for one, _ in said)}",
            evidence="\n".join(f"{one} needs {', '.join(names)}" for one, names in said),
            hint="osbox up again goes on from here; osbox up --now breaks it",
        )
