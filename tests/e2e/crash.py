"""Crashes of the test's own engine: of its processes, found by its control group and its files
(engine.processes), and of nobody else's."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from osbox import run
from osbox.engine import engine, footprint
from osbox.engine import processes as leftovers
from osbox.network import connect as network
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import HOME, NAME, PROJECT

PATHS = Paths(PROJECT, HOME)
EARLIER_BOOT = "00000000-0000-4000-8000-000000000000"
KILL_SECONDS = 20


def power_cut() -> None:
    """The machine as it is after a power cut and a boot: only the disk is left.

    All processes of the engine and its containers are killed at once; bridges, veths, firewall rules and
    kernel settings are as before osbox; and what the ledger says was made in an earlier boot.
    """
    site = load_site(HOME)
    deadline = time.monotonic() + KILL_SECONDS
    while found := leftovers.find(PATHS):
        assert time.monotonic() < deadline, (
            f"these do not die: {[(pid, leftovers.name(pid)) for pid in found]}"
        )
        for pid in found:
            _kill(pid)
        time.sleep(0.1)
    book = (HOME / "ledger.json").read_text()
    network.remove(PATHS, site, engine.tools(PATHS))
    footprint.undo(PATHS, site)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert boot in book
    (HOME / "ledger.json").write_text(book.replace(boot, EARLIER_BOOT))


def kill_engine() -> None:
    """dockerd dies at once; its containers live on."""
    pid = int((PATHS.engine / "dockerd.pid").read_text())
    assert leftovers.name(pid) == "dockerd"
    _kill(pid)
    while leftovers.alive(pid):
        time.sleep(0.05)


def kill_engine_as_it_publishes() -> None:
    """dockerd dies when it has published eight ports: others are half-way, nine times of ten."""
    deadline = time.monotonic() + 120
    while sum(leftovers.name(pid) == "docker-proxy" for pid in leftovers.find(PATHS)) < 8:
        assert time.monotonic() < deadline, "no port was published"
    kill_engine()


def kill_container(service: str) -> None:
    """The first process of a service's container dies, as if the kernel had ended it; Docker's restart policy
    sees that."""
    pid = _pid_of(service)
    assert pid in leftovers.find(PATHS)
    _kill(pid)


def kill_node(name: str) -> None:
    """A virtual node loses its power."""
    [pid] = [pid for pid in leftovers.find(PATHS) if f"guest={name}," in _command(pid)]
    _kill(pid)


def _pid_of(service: str) -> int:
    text = run.run(
        [Tool.program, "engine", "shell", "--", "docker", "inspect", f"{service}.{NAME}"], env=ENVIRONMENT
    ).out
    return int(json.loads(text)[0]["State"]["Pid"])


REMOUNT = """
import ctypes, os, sys
pid, place, flags = sys.argv[1], sys.argv[2].encode(), 32 | 4096 | int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
failed = libc.setns(namespace, 0x20000) or libc.mount(None, place, None, flags, None)
sys.exit(os.strerror(ctypes.get_errno()) if failed else 0)
"""
"""setns(2) into a mount namespace, and mount(2) with MS_REMOUNT, MS_BIND and, if told so, MS_RDONLY (1):
images have no mount program."""


def make_read_only(service: str, place: str, *, on: bool) -> None:
    """Remount a mount of a container: its disk becomes read-only, or writable again, for that container
    alone."""
    deadline = time.monotonic() + KILL_SECONDS
    while (
        result := run.run(
            [sys.executable, "-c", REMOUNT, str(_pid_of(service)), place, str(int(on))], check=False
        )
    ).code != 0:
        # Busy while a file is open for writing.
        assert time.monotonic() < deadline, result.err


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def disturbed(
    tool: Tool,
    line: str,
    act: Callable[[int], object],
    *words: str,
    seconds: float = 0.5,
    timeout: float = 1800,
) -> tuple[int, str]:
    """Run a command and do something some seconds after it printed a line with this text; returns exit code
    and output.

    act is called with the command's process id. Without a line, the seconds count from the start. Fails when
    it never came to it.
    """
    said, done = list[str](), threading.Event()

    def now(pid: int) -> None:
        act(pid)
        done.set()

    # A shell's background job ignores SIGINT, and what it starts does, too: the command shall not inherit
    # that.
    with run.spawn(
        ["env", "--default-signal=INT", tool.program, *words], stdout=-1, stderr=-2, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        timers = [threading.Timer(timeout, process.kill)]
        if not line:
            timers.append(threading.Timer(seconds, now, [process.pid]))
        for timer in timers:
            timer.start()
        for text in process.stdout:
            print(text, end="")
            said.append(text)
            if line and line in text and not done.is_set():
                time.sleep(seconds)
                now(process.pid)
        code = process.wait()
        for timer in timers:
            timer.cancel()
    assert done.is_set(), f"osbox {' '.join(words)} ended before: {line or f'{seconds} s'}"
    assert "Traceback" not in "".join(said)
    return code, "".join(said)


def killed_at(tool: Tool, seconds: float, *words: str) -> None:
    """Start a command and kill it after so many seconds, whatever it is at."""
    with run.spawn([tool.program, *words], env=ENVIRONMENT) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()


MOVE = """
import ctypes, os, sys
pid, place = sys.argv[1], sys.argv[2].encode()
libc = ctypes.CDLL(None, use_errno=True)
copy = libc.syscall(428, -100, place, 1)
namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
failed = copy < 0 or libc.setns(namespace, 0x20000) or libc.syscall(429, copy, b"", -100, place, 4)
sys.exit(os.strerror(ctypes.get_errno()) if failed else 0)
"""
"""open_tree(2) with OPEN_TREE_CLONE, setns(2) into a mount namespace, and move_mount(2) with
MOVE_MOUNT_F_EMPTY_PATH: a mount that was made here is then there, too. The engine's namespace hears of no
mount by itself.
"""


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[int], object]]:
    """A file system of its own in a directory, for us and for the running engine; yields what sets its size
    in bytes."""
    place.mkdir(parents=True)
    there = engine.find(PATHS, load_site(HOME))
    assert there
    run.run(["mount", "-t", "tmpfs", "-o", "size=4096,mode=755", "tmpfs", str(place)])
    try:
        run.run([sys.executable, "-c", MOVE, str(there.pid), str(place)])
        yield lambda size: run.run(["mount", "-o", f"remount,size={size}", str(place)])
    finally:
        run.run(there.argv("umount", place), check=False)
        run.run(["umount", str(place)])
        place.rmdir()
