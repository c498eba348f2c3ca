"""The container engine: the machine's Docker when it is recent enough, else a private one.

The private engine is a small Debian root file system (docker.io, Buildx, Compose) under `$OSBOX_HOME/engine`, with dockerd in a
mount namespace of its own. It needs nothing installed on the host, and leaves nothing there but its directory and its bridge.
"""

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from osbox import host, log, run
from osbox.errors import Error, UserError
from osbox.model.site import Paths, Site

MINIMUM = 25  # Docker 25 brought `--start-interval` of health checks
PACKAGES = ("ca-certificates", "docker-buildx", "docker-cli", "docker-compose", "docker.io", "iptables", "mount")
RECIPE = "etc/osbox-engine"  # what the root file system was made of
START_SECONDS = 90
STOP_SECONDS = 60
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
        return [*self.prefix, *map(str, words)]


def start(paths: Paths, site: Site) -> Engine:
    """The engine to use, started if need be. Starting a started one changes nothing."""
    running = find(paths, site)
    if running:
        return running
    if site.engine == "host":
        raise UserError(
            f"--engine host: no Docker engine ≥ {MINIMUM} with Buildx and Compose v2 answers", evidence=_host_says(),
            hint="start or upgrade Docker, or use --engine private",
        )  # fmt: skip
    require_root()
    _refuse_beside_old_engine()
    with _lock(paths):
        return find(paths, site) or _start_private(paths, site)


def find(paths: Paths, site: Site) -> Engine | None:
    """The running engine, or None; reads only."""
    if site.engine in ("auto", "private"):
        pid = _private_pid(paths)
        if pid:
            prefix = ("nsenter", "-t", str(pid), "-m", "--")
            version = _server_version(prefix)
            if version:
                return Engine("private", version, prefix, pid)
    # A private engine that was made before stays the one in use: two engines would mean two sets of images.
    if site.engine == "host" or (site.engine == "auto" and not (paths.engine / "data").is_dir()):
        version = _server_version(())
        if version and _recent(version) and _has_plugins():
            return Engine("host", version)
    return None


def stop(paths: Paths) -> bool:
    """Stop the private engine and what runs in it; returns whether there was one. The machine's own Docker is left alone."""
    pid = _private_pid(paths)
    if not pid:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _private_pid(paths) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _private_pid(paths):
        raise Error(f"dockerd (pid {pid}) did not end within {STOP_SECONDS} s", evidence=_log_tail(paths), hint="osbox engine stop")
    (paths.engine / "dockerd.pid").unlink(missing_ok=True)
    return True


KEPT = ("engine", "artifacts", "tools", "build-secrets")
"""What `down --purge --keep-images` leaves in the state directory: everything that can be made again, at a cost."""


def purge(paths: Paths, site: Site, *, keep_images: bool = False) -> list[str]:
    """Stop the private engine and remove its bridge and the state directory; returns what was removed.

    With keep_images, the engine's images and what was built and downloaded stay.
    """
    require_root()
    gone = ["private engine"] if stop(paths) else []
    if paths.engine.is_dir() and Path(f"/sys/class/net/{site.engine_bridge}").exists():
        run.run(["ip", "link", "delete", site.engine_bridge])
        gone.append(f"link {site.engine_bridge}")
    for entry in sorted(paths.home.iterdir()) if paths.home.is_dir() else []:
        if keep_images and entry.name in KEPT:
            continue
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        gone.append(str(entry))
    if not keep_images and paths.home.is_dir():
        paths.home.rmdir()
    return gone


def require_root() -> None:
    if os.geteuid() != 0:
        raise UserError("this needs root: it makes namespaces, bridges and mounts", hint="sudo " + run.line(["osbox", "…"]))


def _start_private(paths: Paths, site: Site) -> Engine:
    _require_space(paths)
    root = paths.engine / "root"
    if not _is_current(root):
        with log.step("Make the private engine from Debian packages"):
            _bootstrap(paths, root)
    with log.step("Start the private engine"):
        _bridge(site)
        pid = _launch(paths, site, root)
        (paths.engine / "dockerd.pid").write_text(f"{pid}\n")
        return _wait(paths, site, pid)


def _launch(paths: Paths, site: Site, root: Path) -> int:
    init = Path(__file__).with_name("engine-init.sh")
    data = paths.engine / "data"
    data.mkdir(exist_ok=True)
    (paths.engine / "dockerd.log").unlink(missing_ok=True)
    return run.daemon(
        ["unshare", "--mount", "--propagation", "private", "--", "sh", str(init), str(root), str(paths.home), str(paths.project),
         f"--data-root={data}", "--exec-root=/run/docker", "--pidfile=/run/docker.pid", f"--bridge={site.engine_bridge}",
         "--log-level=warn"],
        paths.engine / "dockerd.log",
    )  # fmt: skip


def _wait(paths: Paths, site: Site, pid: int) -> Engine:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        engine = find(paths, site)
        if engine:
            return engine
        if not Path(f"/proc/{pid}").exists() or _state(pid) == "Z":
            break
        time.sleep(0.1)
    raise Error("the private engine did not start", evidence=_log_tail(paths), hint=f"read {paths.engine}/dockerd.log")


def _bootstrap(paths: Paths, root: Path) -> None:
    """Make the root file system with mmdebstrap, in a directory that gets its name only when it is whole."""
    paths.engine.mkdir(parents=True, exist_ok=True)
    new = root.with_name("root.new")
    shutil.rmtree(new, ignore_errors=True)
    debootstrap(paths, new, PACKAGES, variant="apt")
    (new / RECIPE).write_text(_recipe())
    shutil.rmtree(root, ignore_errors=True)
    new.rename(root)


def _is_current(root: Path) -> bool:
    file = root / RECIPE
    return file.exists() and file.read_text() == _recipe()


def _recipe() -> str:
    return " ".join((host.SUITE, *PACKAGES))


def debootstrap(paths: Paths, target: Path, packages: tuple[str, ...], *, variant: str) -> None:
    """Make a Debian root file system (a directory, or a tar file by its name) from the host's own mirror.

    Raises Error that names the mirror's answer when packages cannot be had.
    """
    tools = _mmdebstrap(paths)
    env = {"PATH": f"{tools}/usr/bin:{os.environ['PATH']}", "TMPDIR": str(paths.home)}
    argv = [
        "perl", f"{tools}/usr/bin/mmdebstrap", f"--variant={variant}", "--mode=root", f"--include={','.join(packages)}",
        "--aptopt=Apt::Install-Recommends \"false\"", "--aptopt=Acquire::Retries \"3\"", "--aptopt=Acquire::Languages \"none\"",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
        # The mirror is this host's business: builds get it as a secret.
        "--customize-hook=rm -f \"$1\"/etc/apt/sources.list \"$1\"/etc/apt/sources.list.d/* \"$1\"/etc/apt/apt.conf.d/99mmdebstrap",
        *_keyring(tools), host.SUITE, str(target), *host.apt_mirrors(),
    ]  # fmt: skip
    run.run(argv, env=env, hint="the Debian package mirror must be reachable: try `apt-get update`")


def _mmdebstrap(paths: Paths) -> Path:
    """mmdebstrap is a Perl script: it is taken from its package without being installed on the host."""
    if shutil.which("mmdebstrap"):
        return Path("/")
    tools = paths.home / "tools"
    if not (tools / "usr/bin/mmdebstrap").exists():
        tools.mkdir(parents=True, exist_ok=True)
        wanted = ["mmdebstrap"] + ([] if Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists() else ["debian-archive-keyring"])
        for package in wanted:
            if run.run(["apt-get", "download", "-q", package], cwd=tools, check=False).code != 0:
                run.run(["apt-get", "update", "-q"], hint="`apt-get update` must work on this machine")
                run.run(["apt-get", "download", "-q", package], cwd=tools, hint=f"apt-get install {package}")
        for deb in tools.glob("*.deb"):
            run.run(["dpkg-deb", "-x", str(deb), str(tools)])
            deb.unlink()
    return tools


def _keyring(tools: Path) -> list[str]:
    own = tools / "usr/share/keyrings"
    return [f"--keyring={own}"] if own.is_dir() and tools != Path("/") else []


def _bridge(site: Site) -> None:
    if not Path(f"/sys/class/net/{site.engine_bridge}").exists():
        run.run(["ip", "link", "add", site.engine_bridge, "type", "bridge"])
        run.run(["ip", "address", "add", f"{site.engine_subnet[1]}/{site.engine_subnet.prefixlen}", "dev", site.engine_bridge])
    run.run(["ip", "link", "set", site.engine_bridge, "up"])


def _private_pid(paths: Paths) -> int:
    """The pid of our dockerd, proved by its data directory on its command line; 0 if it does not run."""
    try:
        pid = int((paths.engine / "dockerd.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return 0
    ours = words[0].endswith(b"dockerd") and f"--data-root={paths.engine / 'data'}".encode() in words
    return pid if ours and _state(pid) != "Z" else 0


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def _server_version(prefix: tuple[str, ...]) -> str:
    if not prefix and not shutil.which("docker"):
        return ""
    result = run.run([*prefix, "docker", "version", "--format", "{{json .Server.Version}}"], check=False, timeout=20)
    try:
        return str(json.loads(result.out)) if result.code == 0 else ""
    except ValueError:
        return ""


def _recent(version: str) -> bool:
    major = version.split(".", maxsplit=1)[0]
    return major.isdigit() and int(major) >= MINIMUM


def _has_plugins() -> bool:
    return all(run.run(["docker", plugin, "version"], check=False).code == 0 for plugin in ("buildx", "compose"))


def _host_says() -> str:
    if not shutil.which("docker"):
        return "docker: command not found"
    result = run.run(["docker", "version"], check=False, timeout=20)
    return run.tail(result.out + result.err)


def _refuse_beside_old_engine() -> None:
    """A second dockerd in the same network namespace rewrites the first one's firewall chains: never do that to a stranger."""
    version = _server_version(())
    if version and not (_recent(version) and _has_plugins()):
        raise Error(
            f"Docker {version} runs on this machine: too old for osbox, and a second engine beside it would rewrite its firewall chains",
            hint=f"upgrade it to Docker ≥ {MINIMUM} with Buildx and Compose v2, or stop it, and run the command again",
        )


def _require_space(paths: Paths) -> None:
    paths.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(paths.home).free
    if free < MIN_FREE_BYTES:
        raise Error(
            f"only {free >> 20} MiB free under {paths.home}: the engine and its images need {MIN_FREE_BYTES >> 30} GiB",
            hint="free some space, or set OSBOX_HOME to a directory on a larger disk",
        )


def _log_tail(paths: Paths) -> str:
    file = paths.engine / "dockerd.log"
    return run.tail(file.read_text(errors="replace")) if file.exists() else ""


@contextmanager
def _lock(paths: Paths) -> Iterator[None]:
    paths.engine.mkdir(parents=True, exist_ok=True)
    with (paths.engine / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
