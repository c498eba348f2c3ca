"""The private engine's processes: found by what they stand in, never by name, and ended through a handle that
cannot mean another.

dockerd, containerd, shims and proxies have the engine's root file system as theirs. A container's process has
a root in the engine's data directory, and is in the engine's control group. When dockerd dies, shims and
containers live on in its mount namespace; they must end before another dockerd takes the same data, or ports
and volumes are held twice.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from osbox import waiting
from osbox.errors import Error
from osbox.site.site import Paths

GRACE_SECONDS = 10  # what `docker stop` gives a container
DAEMON_SECONDS = 160
KILL_SECONDS = 20


def cgroup(paths: Paths) -> str:
    """The control group that all containers and builds of this state directory's engine are in."""
    return "osbox" + str(paths.home).replace("/", "-")


def find(paths: Paths) -> list[int]:
    """The processes of this engine, whether it lives or not."""
    return [pid for pid in _processes() if _is_ours(pid, paths)]


def end(paths: Paths) -> int:
    """End them all in order: dockerd, which stops its containers; containers that lost theirs; the rest.

    Returns how many there were.
    """
    there = find(paths)
    if not there:
        return 0
    if _signal(paths, signal.SIGTERM, _is_daemon):
        _wait(paths, DAEMON_SECONDS, _is_daemon)
    if _signal(paths, signal.SIGTERM, _is_first):
        _wait(paths, GRACE_SECONDS, _is_first)
    if not waiting.happens(
        lambda: not _signal(paths, signal.SIGKILL, lambda _: True), KILL_SECONDS, poll=0.1
    ):
        left = "\n".join(f"{pid} {name(pid)}" for pid in find(paths))
        raise Error(
            "processes of the private engine do not end",
            evidence=left,
            hint="look at them: ps -o pid,stat,wchan,args -p PID",
        )
    return len(there)


def others(paths: Paths) -> list[int]:
    """The dockerds of other engines whose firewall is ours, too: those in our network namespace."""
    here = namespace("thread-self")
    return [
        pid
        for pid in _processes()
        if name(pid) == "dockerd" and namespace(pid) == here and not _is_ours(pid, paths)
    ]


def on_bridge(paths: Paths, bridge: str) -> dict[int, str]:
    """Those of them whose default bridge has this name, each with its data directory."""
    found = dict[int, str]()
    for pid in others(paths):
        with suppress(OSError):
            words = dict(word.partition("=")[::2] for word in _words(pid))
            if words.get("--bridge") == bridge:
                found[pid] = words.get("--data-root", "")
    return found


def name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    return ""


def namespace(pid: int | str) -> str:
    """Which network namespace a process is in; "" if it is gone."""
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in (
            "Z",
            "X",
        )
    return False


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _is_ours(pid: int, paths: Paths) -> bool:
    if pid == os.getpid() or not alive(pid):
        return False
    with suppress(OSError):
        # `--data-root=` is what a dockerd has from its first moment, before its root is the engine's.
        return _stands_in_root(pid, paths) or _is_contained(pid, paths) or _data_root(paths) in _words(pid)
    return False


def _stands_in_root(pid: int, paths: Paths) -> bool:
    root = paths.engine / "root"
    return root.exists() and root.samefile(f"/proc/{pid}/root")


def _is_contained(pid: int, paths: Paths) -> bool:
    groups = Path(f"/proc/{pid}/cgroup").read_text(errors="surrogateescape").splitlines()
    if any(f"/{cgroup(paths)}/" in line for line in groups):
        return True
    mounts = Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").splitlines()
    root = next((line for line in reversed(mounts) if line.split(" ")[4] == "/"), "")
    return f"upperdir={paths.engine / 'data'}/".replace(" ", r"\040") in root


def _data_root(paths: Paths) -> str:
    return f"--data-root={paths.engine / 'data'}"


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="surrogateescape").split("\0")


def _is_daemon(pid: int) -> bool:
    return name(pid) == "dockerd"


def _is_first(pid: int) -> bool:
    """Whether it is a container's first process, the one that is told to stop and stops the others."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        numbers = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
        return len(numbers) > 1 and numbers[-1] == "1"
    return False


def _signal(paths: Paths, number: signal.Signals, selects: Callable[[int], bool]) -> int:
    """Send a signal to those of our processes that are wanted; returns how many got it."""
    sent = 0
    for pid in find(paths):
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                # Looked at again through what the handle holds: the number may have come to mean another
                # process.
                if _is_ours(pid, paths) and selects(pid):
                    signal.pidfd_send_signal(handle, number)
                    sent += 1
            finally:
                os.close(handle)
    return sent


def _wait(paths: Paths, seconds: float, selects: Callable[[int], bool]) -> None:
    waiting.happens(lambda: not any(selects(pid) for pid in find(paths)), seconds, poll=0.1)
