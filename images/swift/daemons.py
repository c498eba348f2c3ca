#!/usr/bin/env python3
"""Swift's background daemons in one process: a pass after the other, each in a child that ends and gives its
memory back.

    swift-daemons                  run for ever
    swift-daemons --once NAME…     these once, a line for each; exit code 1 when one failed or logged an error
    swift-daemons health           exit code 1 when one failed twice in a row or is overdue, and says which
    swift-daemons passes           the last pass of each, as JSON

Eleven sleeping daemons take 330 MB; a parent that has imported Swift, and forks, takes 30. The exit code of a
pass and Swift's own recon say little (0 and nothing, also of a pass that died on its first error), so each is
written down here: begin, seconds, exit code, lines of level ERROR. Before each the rings' names are looked
up anew: replicators, sharder and reaper work on devices whose address is their own (`bind_ip`) and say
nothing of others, and a container that was replaced has another address.
"""

import importlib
import json
import logging
import os
import signal
import socket
import string
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PASSES = Path("/var/cache/swift/passes.json")
TEMPLATES, CONFIGS = Path("/etc/swift/daemons"), Path("/run/osbox")
REST_SECONDS = 45
"""Before the first pass: while a cloud comes up, others have more need of the processors."""


@dataclass(frozen=True)
class Daemon:
    """place: MODULE:CLASS. server: whose configuration it reads. every: seconds from begin to begin; within:
    seconds that a pass may take."""

    name: str
    place: str
    server: str
    every: int
    within: int

    def load(self) -> Any:
        module, _, kind = self.place.partition(":")
        return getattr(importlib.import_module(module), kind)


# Every half minute what people wait for (an object that expired, a listing that lags); rarely what cares for
# the disk.
DAEMONS = (
    Daemon("object-expirer", "swift.obj.expirer:ObjectExpirer", "object", 30, 300),
    Daemon("object-updater", "swift.obj.updater:ObjectUpdater", "object", 30, 300),
    Daemon("container-updater", "swift.container.updater:ContainerUpdater", "container", 30, 300),
    Daemon("account-reaper", "swift.account.reaper:AccountReaper", "account", 60, 600),
    Daemon("container-sharder", "swift.container.sharder:ContainerSharder", "container", 300, 600),
    Daemon("account-replicator", "swift.account.replicator:AccountReplicator", "account", 600, 600),
    Daemon("container-replicator", "swift.container.replicator:ContainerReplicator", "container", 600, 600),
    Daemon("object-replicator", "swift.obj.replicator:ObjectReplicator", "object", 600, 600),
    Daemon("account-auditor", "swift.account.auditor:AccountAuditor", "account", 1800, 600),
    Daemon("container-auditor", "swift.container.auditor:ContainerAuditor", "container", 1800, 600),
    Daemon("object-auditor", "swift.obj.auditor:ObjectAuditor", "object", 3600, 3600),
)


@dataclass
class Pass:
    """The last one of a daemon. failures: of it and those before it, in a row."""

    begin: float
    seconds: float
    code: int
    errors: int
    failures: int
    cpu: float
    rss_mib: float


def main(words: list[str]) -> int:
    if words == ["health"]:
        return health()
    if words == ["passes"]:
        print(json.dumps(read(), indent=1))
        return 0
    if words[:1] == ["--once"] and set(words[1:]) <= {one.name for one in DAEMONS}:
        return once([one for one in DAEMONS if one.name in words[1:]])
    if words:
        print((__doc__ or "").partition("\n\n")[2].partition("\n\n")[0], file=sys.stderr)
        return 2
    return for_ever()


def once(daemons: list[Daemon]) -> int:
    """Not written down: the one that runs for ever writes."""
    failed = 0
    for daemon in daemons:
        done = run(daemon, 0)
        print(daemon.name, json.dumps(asdict(done)), flush=True)
        failed |= int(done.failures > 0)
    return failed


def for_ever() -> int:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the container ends with us, and with it a child
    begin = time.time()
    passes, due = dict[str, Pass](), {one.name: begin + REST_SECONDS for one in DAEMONS}
    write(passes)
    time.sleep(REST_SECONDS)
    for daemon in DAEMONS:  # once, here: the children share its pages
        daemon.load()
    while True:
        daemon = min(DAEMONS, key=lambda one: due[one.name])
        time.sleep(max(0.0, due[daemon.name] - time.time()))
        due[daemon.name] = time.time() + daemon.every
        before = passes.get(daemon.name)
        passes[daemon.name] = run(daemon, before.failures if before else 0)
        write(passes)


def run(daemon: Daemon, failures: int) -> Pass:
    """One pass in a child; what it took."""
    begin = time.time()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.setpgid(0, 0)
        os._exit(in_child(daemon, tell))
    os.close(tell)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(pid, signal.SIGKILL))
    signal.alarm(daemon.within)
    with os.fdopen(told, "rb") as lines:
        errors = len(lines.read())  # to the end: of all that the child forked, too
    _, status, used = os.wait4(pid, 0)
    signal.alarm(0)
    code = os.waitstatus_to_exitcode(status)
    return Pass(
        begin,
        round(time.time() - begin, 2),
        code,
        errors,
        failures + 1 if code or errors else 0,
        round(used.ru_utime + used.ru_stime, 2),
        round(used.ru_maxrss / 1024, 1),
    )


def in_child(daemon: Daemon, tell: int) -> int:
    """The pass; its exit code. A byte is told for each line of level ERROR."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    handle = logging.Logger.handle

    def counted(logger: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            os.write(tell, b"!")
        handle(logger, record)

    logging.Logger.handle = counted  # type: ignore[method-assign, assignment] # Swift's loggers have handlers of their own
    try:
        config = CONFIGS / f"{daemon.server}.conf"
        address = socket.gethostbyname(f"swift-{daemon.server}")
        text = (TEMPLATES / f"{daemon.server}.conf").read_text(encoding="utf-8")
        config.write_text(string.Template(text).substitute(ADDRESS=address), encoding="utf-8")
        from swift.common.daemon import run_daemon  # noqa: PLC0415 - not for health

        run_daemon(daemon.load(), str(config), section_name=daemon.name, once=True, verbose=True)
    except SystemExit as ended:  # what the updater and the auditor fork end so, in our frame
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is this pass's
        print(f"{daemon.name}: {error!r}", file=sys.stderr, flush=True)
        return 1
    return 0


def read() -> dict[str, dict[str, Any]]:
    return dict(json.loads(PASSES.read_text(encoding="utf-8"))) if PASSES.exists() else {}


def write(passes: dict[str, Pass]) -> None:
    new = PASSES.with_suffix(".new")
    new.write_text(json.dumps({name: asdict(one) for name, one in passes.items()}), encoding="utf-8")
    new.rename(PASSES)


def health() -> int:
    if not PASSES.exists():
        print("no pass was begun")
        return 1
    passes, now, wrong = read(), time.time(), []
    for daemon in DAEMONS:
        last = passes.get(daemon.name)
        late = now - (last["begin"] if last else PASSES.stat().st_mtime)
        if last and last["failures"] > 1:
            said = f"exit code {last['code']}, {last['errors']} errors"
            wrong.append(f"{daemon.name} failed {last['failures']} times in a row ({said})")
        elif last and late > 2 * daemon.every + daemon.within:
            wrong.append(f"{daemon.name} began last {late:.0f} s ago")
    print("; ".join(wrong) or "healthy")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
