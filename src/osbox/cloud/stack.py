"""The stack: up, down, logs, the rack's container.

`up` does what its plan says, and proves the result by authenticated calls.
"""

import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Thread

from osbox import log, run, waiting
from osbox.cloud import applied, checks, compose, credentials, entrance, ports, proof, sessions, underway
from osbox.cloud import plan as planning
from osbox.cloud.applied import Applied
from osbox.cloud.changes import Change, Start, observed, owner
from osbox.cloud.compose import RACK, observe
from osbox.cloud.plan import release
from osbox.cloud.services import APIS, FRONT, INFRASTRUCTURE, Api
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.site import secrets
from osbox.site.site import Paths, Site
from osbox.tls import names, store

__all__ = [
    "RACK",
    "down",
    "logs_argv",
    "observe",
    "plan",
    "prepare",
    "release",
    "require_up",
    "start_rack",
    "up",
]

RACK_SECONDS = 90
BACK_SECONDS = 75  # the entrance holds a request for 60
BY_SERVICE = {api.service: api for api in APIS}
PATIENCE = underway.Patience()
plan = planning.read


def up(
    paths: Paths,
    site: Site,
    engine: Engine,
    *,
    version: str = "latest",
    patience: underway.Patience = PATIENCE,
    before: Callable[[planning.Plan], None] = lambda _: None,
) -> list[Change]:
    """Do what the plan says and prove that every service answers; returns what was changed (empty when
    nothing was).

    Needs the provisioning bridge (its address is published on) and the images; both are the caller's steps
    before this one. Waits for what is under way and would be broken, after what can be changed without harm.
    before: is told the plan before anything of it is done, and may raise.
    """
    login = list[str]()

    def log_in() -> None:
        with suppress(sessions.RefusedError):  # the proof comes to the same
            login.append(checks.probe_identity(paths, site))

    early = Thread(target=log_in, daemon=True)  # it takes as long as the plan
    if not secrets.missing(paths):
        early.start()
    todo = plan(paths, site, engine, version)
    before(todo)
    changed = [change for change in todo.changes if change.kind != "container"]
    _write(paths, site, todo)
    running = {name for name, item in todo.live.items() if item.state == "running"}
    if FRONT not in todo.live and running & set(BY_SERVICE):
        # A cloud of before there was an entrance: its APIs hold the ports, and are replaced first.
        running.add(FRONT)
    ports.require_free(site, running)
    begin, took, done = time.monotonic(), dict[str, float](), list[Change]()
    # Before it is asked for anything; one that is started reads its file.
    if FRONT in running and entrance.follow(paths, site, engine, within=0):
        log.say("The entrance shows another certificate")
    acts = any(change.kind in ("container", "network", "volume") for change in todo.changes)
    if acts:
        begin, took = _act(paths, site, engine, todo, patience)
        done = _with_reasons(observed(todo.live, compose.live(engine, site)), todo.changes)
    elif early.ident:
        early.join()
    since = _heartbeats_since(site, engine, todo, done)
    ready, made = proof.prove(
        paths,
        site,
        engine,
        since,
        logged_in=not acts and login == [""],
        follows={name: of for name, config in todo.services.items() if (of := owner(config))},
    )
    _remember(paths, todo, done, {name: moment - begin for name, moment in ready.items()} | took)
    credentials.write_credentials(paths, site)
    return [*changed, *done, *(Change("cloud", name, "change") for name in made)]


def prepare(paths: Paths, site: Site, engine: Engine, version: str) -> None:
    """Have a cloud's secrets, certificate, containers and volumes, and none of it started."""
    _write(paths, site, plan(paths, site, engine, version))
    compose.create(engine, paths)


def _write(paths: Paths, site: Site, todo: planning.Plan) -> None:
    """Have all that containers read: secrets, certificate, files."""
    secrets.ensure(paths)
    if site.tls:
        _certificate(paths, site)
    compose.write(paths, todo.files)


def _certificate(paths: Paths, site: Site) -> None:
    """Have one; of an installed one it is told for which address it is not."""
    now = datetime.now(UTC)
    if store.ensure(paths, site, store.names_here(site), now).installed:
        for problem in store.shown(paths, names.published(site), now)[1]:
            log.warn(problem.said + (f"; {problem.hint}" if problem.hint else ""))


def _act(
    paths: Paths, site: Site, engine: Engine, todo: planning.Plan, patience: underway.Patience
) -> tuple[float, dict[str, float]]:
    """Remove what is left over, let Compose do its part, and restart those whose network namespace is a
    former one.

    Returns when the last part began (time.monotonic), and how many seconds each API was away that was
    replaced by itself before that.
    """
    gone = [todo.live[name].container for name in _containers(todo, "remove")]
    if gone:
        docker.docker(engine, "rm", "--force", *gone)
    took = dict[str, float]()
    apis, left = one_after_the_other(todo), underway.harmful(todo.changes, todo.live)
    waiter = underway.Waiter(patience, partial(underway.seen, paths, site))

    if todo.outdated_networks:
        waiter.let_end(left)
        _take_down(paths, engine, todo)
        apis, left = [], frozenset()
    if apis and (below := beneath(todo)):
        waiter.let_end(left & set(below))
        compose.up(engine, paths, *below, rack=todo.rack)
        left -= set(below)
    for name in apis:
        waiter.let_end(left & {name})
        begin = time.monotonic()
        with log.step(f"Replace {name}"):
            compose.up(engine, paths, name, rack=todo.rack)
            _let_come_back(paths, site, BY_SERVICE[name])
        took[name] = time.monotonic() - begin
    waiter.let_end(left - set(apis))
    begin = time.monotonic()
    compose.up(engine, paths, rack=todo.rack)
    late = [f"{name}.{site.name}" for name in _containers(todo, "restart")]
    if late:
        docker.docker(engine, "restart", *late)
    _remember(paths, todo, [], {})  # who is killed while it waits has applied it nevertheless
    return begin, took


def _containers(todo: planning.Plan, *actions: str) -> list[str]:
    """Those that are to be changed so."""
    return [one.name for one in todo.changes if one.kind == "container" and one.action in actions]


def _take_down(paths: Paths, engine: Engine, todo: planning.Plan) -> None:
    """Remove networks that are made anew, and those who are in them: Docker changes no network that is there,
    and the new ones may be parts of an old one."""
    members, networks = _containers(todo, "recreate"), todo.outdated_networks
    with log.step(f"Stop {len(members)} services for {len(networks)} networks that are made anew"):
        words = (*compose.QUIET, "rm", "--stop", "--force", *members)
        if members:  # without a name it would be all of them; who was killed here has none left
            run.run(compose.argv(engine, paths, *words, rack=todo.rack))
        docker.docker(engine, "network", "rm", *networks)


def beneath(todo: planning.Plan) -> list[str]:
    """What the APIs stand on and is to be made or started: before them, or they wait for it, or it is taken
    from under them."""
    changed = _containers(todo, "create", "start", "recreate")
    return [name for name in INFRASTRUCTURE if name in changed]


def one_after_the_other(todo: planning.Plan) -> list[str]:
    """The APIs that are replaced while they run, in the order of the catalogue.

    Compose stops all that it replaces before it starts any: seven at once, and what the entrance holds for
    them comes in a heap that takes minutes. So each by itself, and the next when this one answers. Without
    an entrance that holds anything (a cloud of before there was one) all at once is the shorter outage.
    """
    front = todo.live.get(FRONT)
    if front is None or front.state != "running":
        return []
    replaced = _containers(todo, "recreate")
    return [name for name in BY_SERVICE if name in replaced and todo.live[name].state == "running"]


def _let_come_back(paths: Paths, site: Site, api: Api) -> None:
    """Wait until the entrance has an answer of the API, whatever it says; it holds the question meanwhile."""
    with (
        suppress(OSError, HTTPException),  # the proof comes to it again
        closing(_link(paths, entrance.spoken(site), api.port)) as connection,
    ):
        connection.request("GET", "/")
        connection.getresponse()


def _link(paths: Paths, site: Site, port: int) -> HTTPConnection:
    if not site.tls:
        return HTTPConnection(str(site.loopback), port, timeout=BACK_SECONDS)
    context = ssl.create_default_context(cafile=str(paths.trusted))
    return HTTPSConnection(str(site.loopback), port, timeout=BACK_SECONDS, context=context)


def _with_reasons(seen: list[Change], planned: tuple[Change, ...]) -> list[Change]:
    """What was seen to happen, with the plan's reasons where it had planned it."""
    known = {(change.name, change.action): change for change in planned if change.kind == "container"}
    return [known.get((change.name, change.action), change) for change in seen]


def _heartbeats_since(site: Site, engine: Engine, todo: planning.Plan, done: list[Change]) -> dict[str, str]:
    """When the containers were started that were started now; of an empty database there is no heartbeat from
    before."""
    names = [change.name for change in done if change.action != "remove"]
    if not names or any(change.kind == "volume" for change in todo.changes):
        return {}
    return {name: state.started for name, state in observe(engine, site, *names).items()}


def _remember(paths: Paths, todo: planning.Plan, done: list[Change], took: dict[str, float]) -> None:
    """Keep what was applied and, of the containers that were started, how long each took."""
    past = applied.read(paths)
    started = [change.name for change in done if change.action != "remove"]
    starts = {name: Start(round(took[name], 1), len(started) - 1) for name in started if name in took}
    applied.write(paths, Applied(todo.services, {**past.starts, **starts}))


# --- down, rack, logs
# --------------------------------------------------------------------------------


def down(paths: Paths, site: Site, engine: Engine, *, volumes: bool = False) -> list[str]:
    """Stop and remove the containers and their networks; volumes only when asked.

    Returns what was removed.
    """
    label = compose.label(site)
    containers = docker.ids(engine, "container", label)
    if paths.stack_env.exists():
        # Of a full disk: docker does the same below, without the files and the order of Compose.
        with suppress(OSError):
            _down_in_order(paths, engine)
    rest = docker.ids(engine, "container", label)
    if rest:
        docker.docker(engine, "rm", "--force", *rest)
    networks = docker.network_ids(engine, label)
    if networks:
        docker.docker(engine, "network", "rm", *networks)
    gone = [f"container {name}" for name in containers]
    if volumes:
        found = docker.ids(engine, "volume", label)
        if found:
            docker.docker(engine, "volume", "rm", *found)
        gone += [f"volume {name}" for name in found]
    return gone


def _down_in_order(paths: Paths, engine: Engine) -> None:
    """First who watches power: a node that goes off with the rack must not be taken for one that somebody
    switched off."""
    watching = ("nova-compute", "ironic-conductor")
    run.run(compose.argv(engine, paths, *compose.QUIET, "stop", *watching), check=False)
    run.run(compose.argv(engine, paths, *compose.QUIET, "down", "--remove-orphans", rack=True), check=False)


def start_rack(paths: Paths, site: Site, engine: Engine) -> None:
    """Have the rack's container running; Redfish answers when it is healthy."""
    compose.rack_up(engine, paths)
    reasons = dict[str, str]()

    def well() -> bool:
        reasons[RACK] = proof.container_reason(observe(engine, site, RACK).get(RACK))
        return not reasons[RACK]

    if not waiting.happens(well, RACK_SECONDS, poll=proof.POLL_SECONDS):
        raise proof.not_ready(engine, site, reasons)


def logs_argv(
    engine: Engine, paths: Paths, services: Iterable[str], *, follow: bool, tail: int, rack: bool
) -> list[str]:
    """The command that shows the services' logs."""
    words = ["logs", "--no-log-prefix"] if len(list(services)) == 1 else ["logs"]
    words += ["--tail", str(tail)] + (["--follow"] if follow else [])
    plain = [] if log.out.is_terminal else ["--ansi", "never"]
    return compose.argv(engine, paths, *plain, *words, *services, rack=rack)


def require_up(paths: Paths, site: Site) -> None:
    """Raise unless Keystone answers: what most verbs on the cloud need first."""
    if not (paths.secrets / "admin-password").exists():
        raise UserError("there is no cloud yet", hint="osbox up")
    reason = checks.probe_identity(paths, site)
    if reason:
        raise Error("Keystone does not answer", evidence=reason, hint="osbox up")
