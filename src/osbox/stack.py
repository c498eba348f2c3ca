"""The stack: up, down, status, logs. `up` observes, acts where something differs, and proves the result by authenticated calls."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock

from osbox import cloud, docker, labels, leftovers, log, net, ports, run, secrets
from osbox.board import Board
from osbox.engine import Engine
from osbox.errors import Error, UserError
from osbox.model import release as releases
from osbox.model.catalogue import BY_NAME, IMAGES
from osbox.model.services import AGENTS, APIS, INFRASTRUCTURE
from osbox.model.site import Paths, Site

READY_SECONDS = 300  # two cores bring everything up in about a minute; a laptop under load deserves patience
POLL_SECONDS = 1
RACK = "rack"
CONDUCTOR = BY_NAME["os-ironic-conductor"]  # its label says which release all images of a version are of
RACK_SECONDS = 90

Check = Callable[[], str]
"""Returns "" when what it checks is well, else the reason why not."""


@dataclass(frozen=True)
class ServiceState:
    """What is seen of one service's container."""

    service: str
    state: str
    health: str
    image: str
    started: str
    container: str


def compose_argv(engine: Engine, paths: Paths, *words: str, rack: bool = False) -> list[str]:
    """`docker compose` on our plain files, with this site's values from stack.env."""
    environment = paths.home / "stack.env"
    overlays = ["stack.yaml"] + ["rack.yaml"] * rack + ["listen.yaml"] * ("\nOSBOX_LISTEN=\n" not in environment.read_text())
    files = [word for name in overlays for word in ("-f", str(paths.compose / name))]
    return engine.argv("docker", "compose", "--env-file", environment, *files, *words)


def write_environment(paths: Paths, site: Site, version: str, of_release: Mapping[str, str]) -> None:
    """Write the values of this site and of its release for Compose (stack.env); no secret is among them."""
    values = {
        "OSBOX_HOME": str(paths.home), "OSBOX_NAME": site.name, "OSBOX_VERSION": version, "OSBOX_ADDRESS": str(site.address),
        "OSBOX_LOOPBACK": str(site.loopback), "OSBOX_CONTROL_BRIDGE": site.control_bridge, "OSBOX_EXT1": site.veth[1],
        "OSBOX_CONTROL_SUBNET": str(site.control_subnet), "OSBOX_REDFISH_PORT": str(site.redfish_port),
        "OSBOX_VOLUME_PREFIX": "" if site.name == "os-in-a-box" else f"{site.name}-", "OSBOX_LISTEN": str(site.listen or ""),
        **of_release,
    }  # fmt: skip
    file, text = paths.home / "stack.env", "".join(f"{name}={value}\n" for name, value in values.items())
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


def observe(engine: Engine, site: Site, *services: str) -> dict[str, ServiceState]:
    """The containers of this deployment (or of these services), by service."""
    names = [f"{name}.{site.name}" for name in services]
    states = {}
    for item in docker.inspect(engine, "container", *(names or docker.ids(engine, "container", _label(site)))):
        service = item["Config"]["Labels"].get("com.docker.compose.service", "")
        state = item["State"]
        states[service] = ServiceState(
            service, state["Status"], state.get("Health", {}).get("Status", ""), item["Config"]["Image"],
            state["StartedAt"], item["Id"][:12],
        )  # fmt: skip
    return states


def _label(site: Site) -> str:
    return f"label=io.osbox.deployment={site.name}"


def up(paths: Paths, site: Site, engine: Engine, *, version: str = "latest") -> list[str]:
    """Bring the whole control plane up and prove it; returns what was changed (empty when nothing was).

    Needs the provisioning bridge (its address is published on) and the images; both are the caller's steps before this one.
    """
    before = observe(engine, site)
    _require_images(engine, version)
    changed = [f"secret {name}" for name in secrets.ensure(paths)]
    write_environment(paths, site, version, _release_environment(paths, engine, version))
    ports.require_free(site, running={name for name, state in before.items() if state.state == "running"})
    _compose_up(engine, paths, rack=RACK in before or _has_rack(engine, site))
    net.rejoin(engine, site)
    after = observe(engine, site)
    changed += [f"container {name}" for name in sorted(after) if _differs(before.get(name), after[name])]
    changed += _prove(paths, site, engine)
    cloud.write_credentials(paths, site)
    return changed


def _differs(before: ServiceState | None, after: ServiceState) -> bool:
    return before is None or before.container != after.container or before.started != after.started


def _require_images(engine: Engine, version: str) -> None:
    wanted = {f"{image.name}:{version}" for image in IMAGES if image.name not in ("os-openstack", "os-rack")}
    have = set(docker.ids(engine, "image"))
    if wanted - have:
        raise UserError(f"images are not built: {', '.join(sorted(wanted - have))}", hint="make all" + _version(version))


def _version(version: str) -> str:
    return "" if version == "latest" else f" BUILD_VERSION={version}"


def release(engine: Engine, site: Site) -> str:
    """The OpenStack release that runs here, or else that of the images called latest; "" when neither is here."""
    return _release_of(engine, "container", f"ironic-conductor.{site.name}") or _release_of(engine, "image", CONDUCTOR.tag("latest"))


def _release_of(engine: Engine, kind: str, name: str) -> str:
    found = docker.inspect(engine, kind, name)
    return docker.labels(found[0]).get(labels.RELEASE, "") if found else ""


def _release_environment(paths: Paths, engine: Engine, version: str) -> Mapping[str, str]:
    """What the release of these images wants otherwise; nothing for a release that is not in this checkout."""
    name = _release_of(engine, "image", CONDUCTOR.tag(version))
    return releases.read(paths.releases / name).environment if name in releases.known(paths.releases) else {}


def _has_rack(engine: Engine, site: Site) -> bool:
    """Whether there are virtual nodes from before a `down`: their disks are on this volume, and servers may be on them."""
    return any(name.endswith("rack-data") for name in docker.ids(engine, "volume", _label(site)))


def _compose_up(engine: Engine, paths: Paths, *, rack: bool) -> None:
    argv = compose_argv(engine, paths, "--progress", "quiet", "up", "--detach", "--remove-orphans", "--pull", "never", rack=rack)
    result = run.run(argv, check=False)
    if result.code != 0:
        raise Error("Compose could not start the containers", evidence=run.tail(result.err), hint="osbox status")


# --- proof -----------------------------------------------------------------------------------------------------------

def _prove(paths: Paths, site: Site, engine: Engine) -> list[str]:
    """Wait until every service answers for real; makes Keystone's catalogue on the way, as soon as Keystone lives."""
    waiting = _Waiting(engine, site)
    containers = _Containers(engine, site)
    with waiting.board:
        waiting.until({"keystone": lambda: cloud.probe_identity(paths, site)})
        changed = cloud.ensure_catalogue(paths, site, str(site.listen or site.address))
        member, system = cloud.session(paths, site), cloud.session(paths, site, system=True)
        checks: dict[str, Check] = {}
        for api in APIS:
            scope = system if api.type in ("baremetal", "identity") else member
            checks[api.service] = partial(cloud.probe_api, scope, site, api)
        for agent in AGENTS:
            checks[agent.service] = partial(cloud.probe_agent, system if agent.api == "baremetal" else member, site, agent)
        checks |= {name: partial(containers.reason, name) for name in INFRASTRUCTURE}
        waiting.until(checks)
    if cloud.ensure_temp_url_key(paths, site):
        changed.append("temporary URL key")
    return changed


class _Waiting:
    """Polls checks side by side until none gives a reason any more, and shows each service as it becomes ready."""

    def __init__(self, engine: Engine, site: Site) -> None:
        self.engine, self.site = engine, site
        self.reasons: dict[str, str] = {}
        self.board = Board(lambda name: self.reasons.get(name, ""))
        self.begin = time.monotonic()

    def until(self, checks: dict[str, Check]) -> None:
        """Raises Error naming what is not ready after READY_SECONDS, with the last lines of its log."""
        with ThreadPoolExecutor(len(checks)) as pool:
            for name in checks:
                self.board.start(name)
            for done in [pool.submit(self._until_ready, name, check) for name, check in checks.items()]:
                done.result()
        late = {name: self.reasons[name] for name in checks if self.reasons[name]}
        if late:
            raise _not_ready(self.engine, self.site, late)

    def _until_ready(self, name: str, check: Check) -> None:
        while True:
            self.reasons[name] = check()
            if not self.reasons[name]:
                self.board.end(name, f"✔  {name} - Ready {log.seconds(time.monotonic() - self.begin)}")
                return
            if time.monotonic() - self.begin > READY_SECONDS:
                return
            if self.engine.pid and not leftovers.alive(self.engine.pid):
                raise Error("the engine ended while its containers started", hint="osbox up again; osbox engine status")
            time.sleep(POLL_SECONDS)


class _Containers:
    """The containers as they were seen within the last second: eleven checks share one look."""

    def __init__(self, engine: Engine, site: Site) -> None:
        self.engine, self.site, self.lock = engine, site, Lock()
        self.seen, self.states = 0.0, dict[str, ServiceState]()

    def reason(self, service: str) -> str:
        """What Docker's health check of a service without an API says; "" when it is healthy."""
        with self.lock:
            if time.monotonic() - self.seen > POLL_SECONDS:
                self.states, self.seen = observe(self.engine, self.site), time.monotonic()
            return _container_reason(self.states.get(service))


def _container_reason(state: ServiceState | None) -> str:
    if state is None:
        return "no container"
    if state.state != "running":
        return state.state
    return "" if state.health in ("healthy", "") else state.health


def _not_ready(engine: Engine, site: Site, waiting: dict[str, str]) -> Error:
    name, reason = next(iter(waiting.items()))
    tail = docker.docker(engine, "logs", "--tail", "12", f"{name}.{site.name}", check=False)
    lines = [f"{service}: {why}" for service, why in waiting.items()]
    return Error(
        f"{len(waiting)} services did not become ready within {READY_SECONDS} s",
        evidence="\n".join([*lines, f"--- last lines of {name} ({reason})", run.tail(tail.out + tail.err, 12)]),
        hint=f"osbox logs {name}, then osbox up again",
    )


# --- down, rack, logs ------------------------------------------------------------------------------------------------------

def down(paths: Paths, site: Site, engine: Engine, *, volumes: bool = False) -> list[str]:
    """Stop and remove the containers and the control network; volumes only when asked. Returns what was removed."""
    label = _label(site)
    containers = docker.ids(engine, "container", label)
    if (paths.home / "stack.env").exists():
        # First who watches power: a node that goes off with the rack must not be taken for one that somebody switched off.
        run.run(compose_argv(engine, paths, "--progress", "quiet", "stop", "nova-compute", "ironic-conductor"), check=False)
        run.run(compose_argv(engine, paths, "--progress", "quiet", "down", "--remove-orphans", rack=True), check=False)
    rest = docker.ids(engine, "container", label)
    if rest:
        docker.docker(engine, "rm", "--force", *rest)
    networks = docker.ids(engine, "network", label)
    if networks:
        docker.docker(engine, "network", "rm", *networks)
    gone = [f"container {name}" for name in containers]
    if volumes:
        found = docker.ids(engine, "volume", label)
        if found:
            docker.docker(engine, "volume", "rm", *found)
        gone += [f"volume {name}" for name in found]
    return gone


def start_rack(paths: Paths, site: Site, engine: Engine) -> None:
    """Have the rack's container running; Redfish answers when it is healthy."""
    argv = compose_argv(engine, paths, "--progress", "quiet", "up", "--detach", "--pull", "never", "--no-deps", RACK, rack=True)
    result = run.run(argv, check=False)
    if result.code != 0:
        raise Error("the rack could not be started", evidence=run.tail(result.err), hint="make all builds os-rack")
    deadline = time.monotonic() + RACK_SECONDS
    while reason := _container_reason(observe(engine, site, RACK).get(RACK)):
        if time.monotonic() > deadline:
            raise _not_ready(engine, site, {RACK: reason})
        time.sleep(POLL_SECONDS)


def logs_argv(engine: Engine, paths: Paths, services: Iterable[str], *, follow: bool, tail: int, rack: bool) -> list[str]:
    """The command that shows the services' logs."""
    words = ["logs", "--no-log-prefix"] if len(list(services)) == 1 else ["logs"]
    words += ["--tail", str(tail)] + (["--follow"] if follow else [])
    plain = [] if log.out.is_terminal else ["--ansi", "never"]
    return compose_argv(engine, paths, *plain, *words, *services, rack=rack)


def require_up(paths: Paths, site: Site) -> None:
    """Raise unless Keystone answers: what most verbs on the cloud need first."""
    if not (paths.secrets / "admin-password").exists():
        raise UserError("there is no cloud yet", hint="osbox up")
    reason = cloud.probe_identity(paths, site)
    if reason:
        raise Error("Keystone does not answer", evidence=reason, hint="osbox up")

