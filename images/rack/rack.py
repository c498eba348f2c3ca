#!/opt/sushy/bin/python3
"""The rack's first process: starts libvirtd and sushy-tools under gunicorn, and ends when either of them
does.

It reaps, too: QEMU detaches from libvirtd, and a QEMU that nobody waits for would stay a zombie; libvirt then
takes the node for one that cannot be powered off. On SIGTERM the nodes get the power button and some seconds
to shut down cleanly before they are switched off.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path("/var/lib/rack")
RUN = Path("/run/rack")
SECRET = Path("/run/secrets/bmc-password")
SOCKET = Path("/run/libvirt/libvirt-sock")
USER = "admin"
APPLICATION = "sushy_tools.emulator.main:app"
START_SECONDS = 60
LOOK_SECONDS = 0.5  # between two looks at the consoles: as exact are the times of their lines
SHUTDOWN_SECONDS = 20  # compose/rack.yaml grants 40 s in all

Children = dict[int, tuple[str, "subprocess.Popen[bytes]"]]


class RackError(Exception):
    """What went wrong, in one line."""


class Stopped(Exception):  # noqa: N818 - no error
    """Somebody asked us to end."""


def say(text: str) -> None:
    print(f"rack: {text}", file=sys.stderr, flush=True)


def main() -> int:
    children: Children = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_signal)
    try:
        until("the volume to be free", _can_lock)
        prepare()
        threading.Thread(target=note_times, daemon=True).start()
        until("an address to listen on", _can_listen)
        start(children, "libvirtd", ["libvirtd"])
        until(str(SOCKET), lambda: "" if SOCKET.exists() else "not there yet", children)
        start(
            children,
            "gunicorn",
            ["/opt/sushy/bin/gunicorn", "-c", "/etc/osbox/gunicorn.conf.py", APPLICATION],
        )
        say(f"Redfish on {os.environ['OSBOX_ADDRESS']}:{os.environ['OSBOX_REDFISH_PORT']}")
        while True:
            reap(children, block=True)
    except Stopped:
        end(children)
        return 0
    except RackError as error:
        say(str(error))
        end(children)
        return 1


def note_times() -> None:
    """Write down when the consoles were written to, for as long as we live: QEMU logs what a node says, not
    when, and most of it has no time of its own."""
    # Else a signal may come to this thread, and the one that waits for our children would not hear of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    known: dict[Path, int] = {}
    while True:
        for log in (ROOT / "console").glob("*.log"):
            with contextlib.suppress(OSError):  # it was removed; or the disk is full, and nothing grows
                note_time(log, known)
        time.sleep(LOOK_SECONDS)


def note_time(log: Path, known: dict[Path, int]) -> None:
    """Append a line `SECONDS BYTES` to NAME.times when a console has grown: so long was it, and last written
    to, at that time (since the epoch).

    known: how long each was when we last looked.
    """
    times, seen = log.with_suffix(".times"), log.stat()
    if log not in known:
        known[log] = noted(times)
    if seen.st_size < known[log]:  # of another node of this name, which is gone
        times.unlink(missing_ok=True)
        known[log] = 0
    if seen.st_size > known[log]:
        with times.open("a", encoding="utf-8") as file:
            # The newline in front: an entry that a full disk cut off does not swallow the next one.
            file.write(f"\n{seen.st_mtime:.2f} {seen.st_size}")
        known[log] = seen.st_size


def noted(times: Path) -> int:
    """The length that was written down last, by a rack before us."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(times.read_text(encoding="utf-8").splitlines()[-1].split()[1])
    return 0


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # once is enough
    raise Stopped


def _can_lock() -> str:
    """Claim the volume for as long as we live: two libvirtds over the same nodes would start each of them
    twice."""
    descriptor = os.open(ROOT / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # never closed: the kernel does it when we end
    except BlockingIOError:
        os.close(descriptor)
        return f"another rack works on the volume at {ROOT}"
    return ""


def prepare() -> None:
    """Make the volume's directories and the password file."""
    for name in ("cache", "console", "disks", "domains", "libvirt", "log", "sushy"):
        (ROOT / name).mkdir(exist_ok=True)
    RUN.mkdir(exist_ok=True)
    try:
        password = SECRET.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise RackError(f"cannot read the secret {SECRET}: {error.strerror}") from error
    file, new = RUN / "htpasswd", RUN / "htpasswd.new"
    new.unlink(missing_ok=True)  # with the mode of whoever made it
    new.touch(mode=0o600)
    new.write_text(f"{USER}:{digest(password)}\n", encoding="utf-8")
    new.rename(file)


def digest(password: str) -> str:
    """The password as bcrypt has it.

    4 rounds are the least it knows, and every request asks it again: a password of ours is random and long,
    so that nothing is won by making guesses dear.
    """
    import bcrypt  # noqa: PLC0415 - the tests import this file without it

    if not password:
        raise RackError(f"the secret {SECRET} is empty")
    try:
        return str(bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode())
    except ValueError as error:
        raise RackError(f"the secret {SECRET} cannot be a Redfish password: {error}") from error


def _can_listen() -> str:
    address = (os.environ["OSBOX_ADDRESS"], int(os.environ["OSBOX_REDFISH_PORT"]))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return (
                f"{address[0]}:{address[1]}: {error.strerror} (is the provisioning bridge up, is the port"
                " free?)"
            )
    return ""


def until(what: str, problem: Callable[[], str], children: Children | None = None) -> None:
    """Wait until problem() is "", no longer than START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while reason := problem():
        if time.monotonic() > deadline:
            raise RackError(f"waited {START_SECONDS} s in vain for {what}: {reason}")
        reap(children or {})
        time.sleep(0.1)


def start(children: Children, name: str, argv: Sequence[str]) -> None:
    env = {**os.environ, "SUSHY_EMULATOR_CONFIG": "/etc/osbox/sushy.conf"}
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=env)
    children[process.pid] = (name, process)


def reap(children: Children, *, block: bool = False) -> None:
    """Collect who has ended, adopted QEMUs included; raises RackError when it was one of ours."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
            if not pid:
                return
            if pid in children:
                name, process = children.pop(pid)
                process.returncode = os.waitstatus_to_exitcode(status)
                raise RackError(f"{name} ended with code {process.returncode}")


def end(children: Children) -> None:
    """Close Redfish, shut the nodes down, then libvirtd: in this order nobody powers a node on again
    meanwhile."""
    _terminate(children, "gunicorn")
    if any(name == "libvirtd" for name, _ in children.values()):
        try:
            shut_down_nodes(children)
        except Exception as error:  # noqa: BLE001 - libvirt's error class; whatever it is, go on ending
            say(f"nodes were not shut down: {error}")
    _terminate(children, "libvirtd")


def shut_down_nodes(children: Children) -> None:
    import libvirt  # noqa: PLC0415

    libvirt.registerErrorHandler(lambda *_: None, None)
    power_off(libvirt.open("qemu:///system"), children)


def power_off(connection: Any, children: Children, seconds: float = SHUTDOWN_SECONDS) -> None:
    """The power button for every node, and after so many seconds the plug."""
    for domain in _active(connection):
        _ask(domain, "power button", domain.shutdown)
    deadline = time.monotonic() + seconds
    while _active(connection) and time.monotonic() < deadline:
        reap(children)
        time.sleep(0.2)
    for domain in _active(connection):
        _ask(domain, f"still on after {seconds:.0f} s, switched off", domain.destroy)


def _ask(domain: Any, what: str, act: Callable[[], Any]) -> None:
    """A node that libvirt refuses to touch must not keep the others from their orderly end: it may have gone
    off by itself since it was listed, or be paused."""
    say(f"{domain.name()}: {what}")
    try:
        act()
    except Exception as error:  # noqa: BLE001 - libvirt's error class, which the tests do not have
        say(f"{domain.name()}: refused: {error}")


def _active(connection: Any) -> list[Any]:
    return list(connection.listAllDomains(1))  # 1: VIR_CONNECT_LIST_DOMAINS_ACTIVE


def _terminate(children: Children, wanted: str) -> None:
    for pid, (name, process) in list(children.items()):
        if name == wanted:
            del children[pid]
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


if __name__ == "__main__":
    sys.exit(main())
