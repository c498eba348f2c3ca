"""The proof that the cloud works: every API answers a call with a token, every agent is alive, every
container is well."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import Event, Lock
from typing import Generic, TypeVar

from osbox import log, run, waiting
from osbox.board import Board
from osbox.cloud import keystone, sessions
from osbox.cloud.changes import earlier
from osbox.cloud.checks import Told, probe_agent, probe_api, probe_identity, probe_objects, told_of_agents
from osbox.cloud.compose import ServiceState, observe
from osbox.cloud.services import AGENTS, APIS, INFRASTRUCTURE, SERVICES, Agent
from osbox.engine import asking, docker, processes
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Paths, Site

READY_SECONDS = 300  # two cores bring everything up in about a minute; a laptop under load deserves patience
POLL_SECONDS = 1
RESTARTS = 8
"""After so many ends one after the other a service is given up: each followed less than 10 s after the one
before (Docker counts anew otherwise), which is half a minute at least."""
PING_SECONDS = 20  # one question's; a service listens about five seconds after its container was started

T = TypeVar("T")
States = Mapping[str, ServiceState] | str
"""By service; or why the engine does not say it."""
Check = Callable[[], str]
"""Returns "" when what it checks is well, else the reason why not."""


def prove(
    paths: Paths,
    site: Site,
    engine: Engine,
    since: Mapping[str, str],
    *,
    logged_in: bool,
    follows: Mapping[str, str] | None = None,
) -> tuple[dict[str, float], list[str]]:
    """Wait until every service answers for real; makes Keystone's catalogue on the way, as soon as Keystone
    lives.

    since: when containers were started just now, by service: an agent's heartbeat from before proves nothing,
    so it is asked for a younger one, or over the bus. logged_in: Keystone gave a token a moment ago, and
    nothing was changed since. follows: whose network namespace a service lives in; when that one was started
    anew meanwhile (its process died), the service is restarted, too. Returns when (time.monotonic) each
    service was seen ready, and what was changed in the cloud.
    """
    containers = _Look(partial(_containers, engine, site))
    shown = _Waiting(engine, site, containers)
    looks: dict[tuple[str, str], _Look[Told]] = {}
    with shown.board:
        if not logged_in:
            shown.until({"keystone": lambda: probe_identity(paths, site)})
        member, system = sessions.session(paths, site), sessions.session(paths, site, system=True)
        changed = list[str]()
        public = str(site.listen or site.address)
        # One after the other they cost Keystone most of a second.
        waiting.beside(
            {
                "login": lambda _: system.get_token(),
                "catalogue": lambda _: changed.extend(keystone.ensure_catalogue(paths, site, public)),
            }
        )
        checks: dict[str, Check] = {}
        for api in APIS:
            scope = system if api.type in ("baremetal", "identity") else member
            checks[api.service] = partial(probe_api, scope, site, api)
            if api.type == "object-store":
                checks[api.service] = partial(probe_objects, scope, paths, site, api, changed)
        for agent in AGENTS:
            scope = system if agent.api == "baremetal" else member
            look = looks.setdefault(
                (agent.api, agent.path), _Look(partial(told_of_agents, scope, site, agent))
            )
            if agent.topic and agent.service in since:
                checks[agent.service] = partial(
                    _first_reason, partial(_alive, look, agent, ""), partial(_ping, site, engine, agent)
                )
            else:
                checks[agent.service] = partial(_alive, look, agent, since.get(agent.service, ""))
        checks |= {name: partial(_is_well, containers, name) for name in INFRASTRUCTURE}
        for service, owner in (follows or {}).items():
            moved = partial(_moved, containers, engine, site, service, owner)
            checks[service] = partial(_first_reason, moved, checks[service])
        shown.until(checks)
    return shown.ready, changed


def _first_reason(*checks: Check) -> str:
    """The reason of the first check that gives one; those after it are not asked."""
    return next(filter(None, (check() for check in checks)), "")


def _ping(site: Site, engine: Engine, agent: Agent) -> str:
    """ "" when the service answers on the bus itself, which it does some seconds before its first
    heartbeat."""
    words = ["osbox-rpc-ping", *agent.topic.split(), agent.service, str(PING_SECONDS)]
    name = f"{agent.service}.{site.name}"
    try:
        result = docker.ask(engine, "exec", name, *words, check=False, seconds=2 * PING_SECONDS)
    except asking.SilentError as silent:  # a machine under load: it is asked again
        return silent.message
    return "" if result.code == 0 else (result.err.strip().splitlines() or ["no answer on the bus"])[-1][:160]


class _Waiting:
    """Polls checks side by side until none gives a reason any more, and shows each service as it becomes
    ready."""

    def __init__(self, engine: Engine, site: Site, look: Callable[[], States]) -> None:
        self.engine, self.site, self.look = engine, site, look
        self.restarts: dict[str, int] | None = None  # of each container, when it was first not ready
        self.reasons: dict[str, str] = {}
        self.ready: dict[str, float] = {}
        self.board = Board(lambda name: self.reasons.get(name, ""))
        self.begin = time.monotonic()

    def until(self, checks: dict[str, Check]) -> None:
        """Raises Error naming what is not ready after READY_SECONDS, with the last lines of its log."""
        for name in checks:
            self.board.start(name)
        waiting.beside({name: partial(self._until_ready, name, check) for name, check in checks.items()})
        late = {name: self.reasons[name] for name in checks if self.reasons[name]}
        if late:
            raise not_ready(self.engine, self.site, late)

    def _until_ready(self, name: str, check: Check, stop: Event) -> None:
        while not stop.is_set():
            self.reasons[name] = check()
            if stop.is_set():  # nobody waits any more: the error is what is said
                return
            if not self.reasons[name]:
                # Keystone is asked twice, for a token and by its API: a line once.
                line = (
                    ""
                    if name in self.ready
                    else f"✔  {name} - Ready {log.seconds(time.monotonic() - self.begin)}"
                )
                self.ready[name] = time.monotonic()
                self.board.end(name, line)
                return
            if time.monotonic() - self.begin > READY_SECONDS:
                return
            if ends := self._ends():
                raise not_ready(self.engine, self.site, ends, "each of them ends as soon as it is started")
            if self.engine.pid and not processes.alive(self.engine.pid):
                raise Error(
                    "the engine ended while its containers started",
                    hint="osbox up again; osbox engine status",
                )
            stop.wait(POLL_SECONDS)

    def _ends(self) -> dict[str, str]:
        """Services that have ended again and again while we wait, and why nobody waits any longer."""
        found, states = {}, list(_known(self.look()))
        if self.restarts is None:
            self.restarts = {state.container: state.restarts for state in states}
        for state in states:
            times = state.restarts - self.restarts.get(state.container, 0)
            if times >= RESTARTS and state.state == "restarting":
                found[state.service] = f"ended {times} times"
        return found


class _Look(Generic[T]):
    """What was seen within the last second: checks side by side share one look.

    Who asks waits for a look that is under way.
    """

    def __init__(self, look: Callable[[], T]) -> None:
        self.look, self.lock = look, Lock()
        self.at = float("-inf")

    def __call__(self) -> T:
        with self.lock:
            if time.monotonic() - self.at > POLL_SECONDS:
                self.seen, self.at = self.look(), time.monotonic()
            return self.seen


def _moved(look: Callable[[], States], engine: Engine, site: Site, service: str, owner: str) -> str:
    """ "" when a service runs in the network namespace of the owner that runs now. When it does not, because
    the owner was started anew, nobody hears of it again: it is restarted, which moves it."""
    states = look()
    if isinstance(states, str):
        return ""  # the service's own check comes to the same
    here, other = states.get(service), states.get(owner)
    if not here or not other or {here.state, other.state} != {"running"}:
        return ""
    if not earlier(here.started, other.started):
        return ""
    docker.ask(engine, "restart", f"{service}.{site.name}", check=False)
    return f"restarted: {owner}, whose network it shares, was started after it"


def _containers(engine: Engine, site: Site) -> States:
    """How the containers are, or why the engine does not say so: it is asked again."""
    try:
        return observe(engine, site)
    except asking.SilentError as silent:
        return silent.message


def _known(states: States) -> Iterable[ServiceState]:
    return () if isinstance(states, str) else states.values()


def _alive(told: Callable[[], Told], agent: Agent, since: str) -> str:
    return probe_agent(told(), agent, since)


def _is_well(look: Callable[[], States], service: str) -> str:
    """What Docker's health check of a service without an API says; "" when it is healthy."""
    states = look()
    return states if isinstance(states, str) else container_reason(states.get(service))


def container_reason(state: ServiceState | None) -> str:
    if state is None:
        return "no container"
    if state.state != "running":
        return state.state
    return "" if state.health in ("healthy", "") else state.health


def _ended(engine: Engine, site: Site) -> dict[str, str]:
    """Services whose container does not run: nobody may have asked for them yet, and they may be why."""
    states = _containers(engine, site)
    if isinstance(states, str):
        return {}
    return {
        name: state.state for name, state in states.items() if name in SERVICES and state.state != "running"
    }


def not_ready(engine: Engine, site: Site, waiting: dict[str, str], why: str = "") -> Error:
    """What stands beneath comes first and its log is shown: others wait for the bus, it waits for nobody."""
    order = {service: number for number, service in enumerate(SERVICES)}
    late = sorted({**_ended(engine, site), **waiting}.items(), key=lambda item: order.get(item[0], -1))
    name, reason = late[0]
    lines = [f"{service}: {why}" for service, why in late]
    try:
        tail = docker.ask(engine, "logs", "--tail", "12", f"{name}.{site.name}", check=False)
        last = run.tail(tail.out + tail.err, 12)
    except asking.SilentError as silent:  # that it says nothing hides no reason
        last = silent.message
    return Error(
        f"{len(waiting)} services did not become ready: {why}"
        if why
        else f"{len(waiting)} services did not become ready within {READY_SECONDS} s",
        evidence="\n".join([*lines, f"--- last lines of {name} ({reason})", last]),
        hint=f"osbox logs {name}, then osbox up again",
    )
