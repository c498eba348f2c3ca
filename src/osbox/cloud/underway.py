"""What is under way in the cloud: nodes that Ironic is at work on, images that are coming in; and which
changes of services would break it."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from osbox import answers, log, waiting
from osbox.cloud import entrance, sessions
from osbox.cloud.changes import Change, Live
from osbox.cloud.checks import HEADERS
from osbox.cloud.compose import RACK
from osbox.cloud.services import BY_TYPE, FRONT
from osbox.errors import Error
from osbox.metal.states import UNDER_WAY
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from keystoneauth1.session import Session

NEEDED: Mapping[str, frozenset[str]] = {
    "node": frozenset(
        {
            *(FRONT, "ironic-conductor", "nova-compute", "mysql", "rabbitmq", RACK),
            *("neutron-network", "openvswitch", "ovn-controller", "ovn-central"),
            *("pxe-tftp", "ipxe-httpd", "swift-proxy", "swift-account", "swift-container", "swift-object"),
        }
    ),
    "image": frozenset(
        {FRONT, "glance-api", "mysql", "swift-proxy", "swift-account", "swift-container", "swift-object"}
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
ANSWER_SECONDS = 10
"""A cloud that refuses to say may be at its start; one that is silent, for the 30 s of a call, is not asked
again."""


@dataclass(frozen=True)
class Busy:
    """A node or an image, and what is done with it; state: in the words of Ironic, or of Glance."""

    kind: Literal["node", "image"]
    name: str
    state: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.state})"


Hits = list[tuple[Busy, list[str]]]
"""What would be broken, each with the services that it needs."""


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


def broken(found: Iterable[Busy], services: frozenset[str]) -> Hits:
    """What would be broken, each with the services that it needs."""
    hit = ((one, sorted(NEEDED[one.kind] & services)) for one in found)
    return [(one, names) for one, names in hit if names]


def look(paths: Paths, site: Site) -> list[Busy]:
    """What is under way now. Raises Error, or what else keeps us from an answer."""
    system, project = sessions.session(paths, site, system=True), sessions.session(paths, site)
    images = read(project, site, "image", f"/v2/images?status=in:{','.join(STATES)}")["images"]
    return [
        *(
            Busy("node", str(one["name"] or one["uuid"]), one["provision_state"])
            for one in nodes(system, site, "fields=uuid,name,provision_state")
            if one["provision_state"] in UNDER_WAY
        ),
        *(Busy("image", str(one.get("name") or one["id"]), one["status"]) for one in images),
    ]


def nodes(system: "Session", site: Site, query: str) -> list[dict[str, Any]]:
    """All of Ironic's nodes; it gives a thousand at a time."""
    found, path = list[dict[str, Any]](), f"/v1/nodes?{query}"
    while path:
        page = read(system, site, "baremetal", path)
        found += page["nodes"]
        path = "/v1/" + page["next"].partition("/v1/")[2] if page.get("next") else ""
    return found


def read(session: "Session", site: Site, kind: str, path: str) -> dict[str, Any]:
    """What the API of that type in the catalogue answers. Raises Error when it refuses to."""
    answer = session.get(f"{site.api(BY_TYPE[kind].port)}{path}", headers=HEADERS, raise_exc=False)
    return answers.read(answer, f"{BY_TYPE[kind].service} did not say what there is")


def seen(paths: Paths, site: Site, services: frozenset[str]) -> Hits:
    """What would be broken now, when these services were stopped. Raises what keeps us from an answer."""
    return broken(look(paths, entrance.spoken(site)), services) if services else []


def known(ask: Callable[[], Hits]) -> Hits:
    """What is seen; nothing, with a warning, when the cloud does not say: it may be ill, and this be its
    cure."""
    why = ""

    def answer() -> tuple[Hits] | None:
        """In a tuple, for that nothing is under way is an answer, too."""
        nonlocal why
        try:
            return (ask(),)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from an answer
            why = (str(error).strip() or repr(error)).splitlines()[0]
            return None

    if found := waiting.happens(answer, ANSWER_SECONDS, poll=POLL_SECONDS):
        return found[0]
    log.warn(f"what is under way is not known: {why}")
    return []


class BusyError(Error):
    """Something is under way that would be broken, and there is no patience left."""


@dataclass
class Waiter:
    """Waits for what is under way, as long as there is patience left for one `osbox up`."""

    patience: Patience
    ask: Callable[[frozenset[str]], Hits]
    spent: float = 0.0

    def let_end(self, services: frozenset[str]) -> None:
        """Wait until nothing is under way that would be broken when these services are stopped.

        Raises BusyError when there still is something in the end, with what it is.
        """
        hit = known(lambda: self.ask(services)) if services else []
        if not hit:
            return
        if self.patience.now:
            log.warn(f"broken by --now: {_line(hit)}")
            return
        begin, left = time.monotonic(), max(0.0, self.patience.seconds - self.spent)
        with log.step(f"Wait for what is under way, {log.seconds(left)} at most"):
            hit = self._over(services, hit, left)
        self.spent += time.monotonic() - begin
        if hit:
            raise BusyError(
                f"something is under way, and would be broken: {_line(hit)}",
                evidence="\n".join(f"{one} needs {', '.join(names)}" for one, names in hit),
                hint="osbox up again goes on from here; osbox up --now breaks it",
            )

    def _over(self, services: frozenset[str], hit: Hits, seconds: float) -> Hits:
        """What is left after that time; an answer that does not come is none."""
        told = ""

        def is_over() -> bool:
            nonlocal hit, told
            with suppress(Exception):
                hit = self.ask(services)
            if hit and _line(hit) != told:
                told = _line(hit)
                log.say(f"  {told}")
            return not hit

        waiting.happens(is_over, seconds, poll=POLL_SECONDS)
        return hit


def _line(hit: Hits) -> str:
    return ", ".join(str(one) for one, _ in hit)
