"""The container engine: the machine's Docker when it is recent enough, else a private one.

The private engine is a small Debian root file system (docker.io, Buildx, Compose) under `$OSBOX_HOME/engine`,
with dockerd in a mount namespace of its own. It needs nothing installed on the host. What dockerd changes
there is written down before it first starts and put back by `purge` (osbox.engine.footprint).
"""

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from osbox import environment, lock, log, run, waiting
from osbox.engine import asking, footprint, host, lostports, processes
from osbox.engine import root as engine_root
from osbox.errors import Error, UserError
from osbox.site.site import STATE, Lifetime, Paths, Site, declared

__all__ = [
    "Engine",
    "find",
    "purge",
    "remove_files",
    "require_root",
    "require_seen",
    "start",
    "stop",
    "tools",
]

START_SECONDS = 90
STOP_SECONDS = 160  # its containers have 140 at most, to finish what is under way (compose/stack.yaml)
REMOVE_SECONDS = 120  # of some dozen containers on a busy disk
MIN_FREE_BYTES = 8 << 30  # images 1.5 GB, build cache 3 GB, guest and virtual disks: seen to need about 6 GB


@dataclass(frozen=True)
class Engine:
    """A running engine. `prefix` is what goes in front of `docker …` (nsenter for the private one)."""

    kind: str
    version: str
    prefix: tuple[str, ...] = ()
    pid: int = 0

    def argv(self, *words: str | Path) -> list[str]:
        """The command line that runs `words` where the engine's client and paths are."""
        return [*self.prefix, *environment.client(self.kind), *map(str, words)]


def start(paths: Paths, site: Site, before: Callable[[], object] = lambda: None) -> Engine:
    """The engine to use, started if need be. Starting a started one changes nothing.

    before: is called when a private one has to be started, and may refuse that.
    """
    running = _settled(paths, site)
    if running:
        if running.kind == "private":
            require_seen(paths)
        return running
    if site.engine == "host":
        raise host.refusal()
    require_root()
    host.refuse_beside_old()
    require_seen(paths)
    before()
    with _lock(paths):
        return _settled(paths, site) or _start_private(paths, site)


def require_seen(paths: Paths) -> None:
    """Raise UserError when what the private engine reads is a link to where it does not see it."""
    home = paths.home.resolve()
    for place in (item.at(paths.home) for item in STATE.values() if item.shown):
        target = place.resolve()
        if place.is_symlink() and not target.is_relative_to(home):
            raise UserError(
                f"{place} is a link to {target}, and the private engine sees nothing outside of {home}",
                hint=f"{run.line(['rm', str(place)])} && {run.line(['mv', str(target), str(place)])}",
            )


def _settled(paths: Paths, site: Site) -> Engine | None:
    """The running engine, unless a start of it was not brought to its end."""
    return None if site.engine != "host" and lostports.pending(paths) else find(paths, site)


def find(paths: Paths, site: Site) -> Engine | None:
    """The running engine, or None; reads only. Raises SilentError when it runs and gives no answer."""
    if site.engine in ("auto", "private"):
        pid = _private_pid(paths)
        if pid:
            prefix = ("nsenter", "-t", str(pid), "-m", "--")
            version = _private_version(paths, pid, prefix)
            if version:
                return Engine("private", version, prefix, pid)
    # A private engine that was made before stays the one in use: two engines would mean two sets of images.
    if site.engine == "host" or (site.engine == "auto" and not (paths.engine / "data").is_dir()):
        version = host.usable()
        if version:
            return Engine("host", version)
    return None


def _private_version(paths: Paths, pid: int, prefix: tuple[str, ...]) -> str:
    try:
        return host.server_version("private", prefix)
    except asking.SilentError as silent:
        raise asking.SilentError(
            f"the private engine gives no answer: dockerd runs (pid {pid}), and said nothing for"
            f" {host.ANSWER_SECONDS} s",
            evidence="\n".join(filter(None, (silent.evidence, _log_tail(paths)))),
            hint="osbox engine stop (it ends all containers), then the same command again",
        ) from silent


def tools(paths: Paths) -> Engine | None:
    """The private engine's programs without a running engine: enough for its firewall, and all there is when
    dockerd has died."""
    prefix = engine_root.tools(paths)
    return Engine("private", "", prefix) if prefix else None


def stop(paths: Paths) -> bool:
    """Stop the private engine and what runs in it; returns whether there was anything.

    The machine's own Docker is left alone.

    Of an engine that was killed, the containers are ended; one that is being started is waited for.
    """
    with suppress(lock.RemovedError), _lock(paths, anew=False) if paths.engine.is_dir() else nullcontext():
        return _stop(paths)
    return False  # a purge, for which this one waited, stopped it


def _stop(paths: Paths) -> bool:
    pid = _private_pid(paths)
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not waiting.happens(lambda: not _private_pid(paths), STOP_SECONDS, poll=0.1):
            log.warn(f"dockerd (pid {pid}) did not end within {STOP_SECONDS} s: it is killed")
    ended = processes.end(paths)
    (paths.engine / "dockerd.pid").unlink(missing_ok=True)
    return bool(pid or ended)


def purge(paths: Paths, site: Site, *, keep_images: bool = False) -> list[str]:
    """Stop the private engine, undo what it changed on the host, remove the state directory; returns what was
    removed.

    With keep_images, the engine's images and what was built and downloaded stay. Killed anywhere, it can be
    run again. Nobody starts the engine from its stop to the end of its files: dockerd would write into the
    host what was just put back. Who waited for that finds no engine, and makes one.
    """
    require_root()
    with _lock(paths, anew=False) if paths.engine.is_dir() else nullcontext():
        gone = []
        try:
            running = find(paths, site)
            gone += _empty(running) if running and running.kind == "private" else []
        except asking.SilentError as silent:
            log.say(f"{silent.message}: it is ended without being asked")
        gone += ["private engine"] if _stop(paths) else []
        gone += footprint.undo(paths, site)
        return gone + remove_files(paths, keep_images=keep_images)


def _empty(engine: Engine) -> list[str]:
    """Remove the containers and networks that are left: while dockerd lives, it takes their rules and bridges
    down itself."""
    gone = []
    for kind, listing in (
        ("container", ["container", "ls", "--all"]),
        ("network", ["network", "ls", "--filter", "type=custom"]),
    ):
        found = asking.ask(engine.argv("docker", *listing, "--quiet"), check=False).out.split()
        if found:
            force = ["--force"] if kind == "container" else []
            argv = engine.argv("docker", kind, "rm", *force, *found)
            asking.ask(argv, check=False, seconds=REMOVE_SECONDS)
        gone += [f"{kind} {name}" for name in found]
    return gone


def remove_files(paths: Paths, *, keep_images: bool = False) -> list[str]:
    """Remove what osbox made in a state directory, and the directory if nothing else is in it; with
    keep_images, what is dear to make again stays."""
    doomed = {Lifetime.REMADE} if keep_images else {Lifetime.REMADE, Lifetime.KEPT}
    gone = []
    for entry in sorted(paths.home.iterdir(), key=partial(_turn, paths)) if paths.home.is_dir() else []:
        known = declared(entry.name)
        if known is None or known.lifetime not in doomed:
            continue
        place = entry
        if entry == paths.engine and not entry.is_symlink():
            # Renamed first: half an engine must not pass for a whole one when this is killed.
            place = paths.engine_gone
            engine_root.require_unmounted(entry)
            entry.rename(place)
        _remove(place)
        gone.append(str(entry))
    if not keep_images and paths.home.is_dir():
        _remove_home(paths.home)
    return gone


def _turn(paths: Paths, entry: Path) -> tuple[int, str]:
    """What is left of an engine first, for the next one gets its name; the engine after what it would write
    again; the locks when there is nothing more that they guard."""
    late = 2 if entry.suffix == ".lock" else 1 if entry == paths.engine else 0
    return (-1 if entry == paths.engine_gone else late, entry.name)


def _remove(place: Path) -> None:
    """Of a link, what it leads to stays: nobody knows what else is there."""
    if place.is_symlink():
        log.say(f"{place} was a link; this stays: {place.resolve()}")
        place.unlink()
    elif place.is_dir():
        engine_root.remove_tree(place)
    else:
        place.unlink(missing_ok=True)  # as a file that another command wrote anew and gave its name


def _remove_home(home: Path) -> None:
    """Remove a state directory, unless something is left in it that is not ours; a link or a mount is the
    operator's own."""
    rest = sorted(entry.name for entry in home.iterdir())
    if any(known and known.lifetime is not Lifetime.THEIRS for known in map(declared, rest)):
        log.say(f"In {home} another command has begun to work meanwhile: {', '.join(rest)}")
    elif rest:
        log.say(f"In {home} this stays, which osbox did not make: {', '.join(rest)}")
    elif home.is_symlink():
        log.say(f"{home} is a link to {home.resolve()}; both stay, and nothing is left there")
    elif not home.is_mount():
        with suppress(OSError):  # another command has begun to work this very moment
            home.rmdir()


def require_root() -> None:
    if os.geteuid() != 0:
        raise UserError(
            "this needs root: it makes namespaces, bridges and mounts",
            hint="sudo " + run.line(["osbox", "…"]),
        )


def _start_private(paths: Paths, site: Site) -> Engine:
    if lostports.pending(paths):
        _stop(paths)
        lostports.settle(paths)
    pid = _private_pid(paths)
    if pid:
        return _wait(paths, site, pid)  # it is starting: who started it was killed
    _require_own_bridge(paths, site)
    _require_space(paths)
    root = engine_root.ensure(paths)
    with log.step("Start the private engine"):
        if processes.end(paths):
            log.say("Processes of an engine that died were ended")
        footprint.record(paths, site)
        with footprint.sparing_others(paths):
            engine = _wait(paths, site, _launch(paths, site, root))
            freed = lostports.remove(paths, engine.prefix)
            if freed:
                _stop(paths)
                engine = _wait(paths, site, _launch(paths, site, root))
                lostports.settle(paths)
                log.say(
                    f"The engine had died while it published ports: containers of {', '.join(freed)} were"
                    " removed; osbox up makes them anew"
                )
        return engine


def _launch(paths: Paths, site: Site, root: Path) -> int:
    init = Path(__file__).with_name("engine-init.sh")
    data = paths.engine / "data"
    data.mkdir(exist_ok=True)
    (paths.engine / "dockerd.log").unlink(missing_ok=True)
    return run.daemon(
        [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            str(init),
            str(root),
            str(paths.home),
            "dockerd",
            f"--data-root={data}",
            "--exec-root=/run/docker",
            "--pidfile=/run/docker.pid",
            f"--bridge={site.engine_bridge}",
            f"--cgroup-parent=/{processes.cgroup(paths)}",
            "--log-level=warn",
        ],
        paths.engine / "dockerd.log",
    )


def _wait(paths: Paths, site: Site, pid: int) -> Engine:
    def settled() -> Engine | bool | None:
        with suppress(asking.SilentError):  # it listens before it can answer
            return find(paths, site) or not processes.alive(pid)
        return None

    answer = waiting.happens(settled, START_SECONDS, poll=0.1)
    if isinstance(answer, Engine):
        return answer
    raise Error(
        "the private engine did not start", evidence=_log_tail(paths), hint=f"read {paths.engine}/dockerd.log"
    )


def _private_pid(paths: Paths) -> int:
    """The pid of our dockerd, proved by its data directory on its command line; 0 if it does not run."""
    try:
        pid = int((paths.engine / "dockerd.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return 0
    ours = words[0].endswith(b"dockerd") and os.fsencode(f"--data-root={paths.engine / 'data'}") in words
    return pid if ours and processes.alive(pid) else 0


def _require_own_bridge(paths: Paths, site: Site) -> None:
    """Raise UserError when an engine of another state directory runs on the interface that ours would have.

    Its name and its address are those of every site that says nothing else. Two dockerds give out the same
    addresses there, and the purge of the one would remove it from the other.
    """
    found = processes.on_bridge(paths, site.engine_bridge)
    if found:
        raise UserError(
            f"another engine runs on the interface {site.engine_bridge}",
            evidence="\n".join(
                f"dockerd, pid {pid}, with its data in {place}" for pid, place in found.items()
            ),
            hint="use that one (its OSBOX_HOME), or give this one its own names: name, bridge, veth,"
            " control_bridge, engine_bridge, and the subnets of each, in"
            f" {Paths.site_toml.at(paths.home)}",
        )


def _require_space(paths: Paths) -> None:
    paths.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(paths.home).free
    if free < MIN_FREE_BYTES:
        raise Error(
            f"only {free >> 20} MiB free under {paths.home}: the engine and its images need"
            f" {MIN_FREE_BYTES >> 30} GiB",
            hint="free some space, or set OSBOX_HOME to a directory on a larger disk",
        )


def _log_tail(paths: Paths) -> str:
    file = paths.engine / "dockerd.log"
    return run.tail(file.read_text(errors="replace")) if file.exists() else ""


def _lock(paths: Paths, *, anew: bool = True) -> AbstractContextManager[None]:
    """anew: for who starts it; who does not, stops it, which frees the disk."""
    busy = "The engine is being started or stopped"
    return lock.alone(paths.engine / "lock", busy, anew=anew, frees=not anew)
