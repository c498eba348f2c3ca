#!/usr/bin/env python3
"""Swift's background daemons in two lanes: in each a pass after the other, every one in a child that ends and
gives its memory back.

    swift-daemons                  run for ever
    swift-daemons --once NAME…     these once, a line for each; exit code 1 when one failed or logged an error
    swift-daemons health           exit code 1 when one failed twice in a row or is overdue, and says which
    swift-daemons passes           the last pass of each and what health has to say of it, as JSON

Eleven sleeping daemons take 330 MB; a parent that has imported Swift takes 30, and a lane that is forked of
it next to nothing. An audit reads all that there is at 10 MB/s: the auditors have a lane of their own, beside
what people wait for. The exit code of a pass and Swift's own recon say little (0 and nothing, also of a pass
that died on its first error), so each is written down here: begin, seconds, exit code, lines of level ERROR.
Before each the rings' names are looked up anew: replicators, sharder and reaper work on devices whose address
is their own (`bind_ip`) and say nothing of others, and a container that was replaced has another address.
"""

import gc
import importlib
import json
import logging
import os
import signal
import socket
import string
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

RECORDS = Path("/var/cache/swift")
TEMPLATES, CONFIGS = Path("/etc/swift/daemons"), Path("/run/osbox")
REST_SECONDS = 45
"""Before the first pass: while a cloud comes up, others have more need of the processors."""
NONE = "no pass was begun"
CHILDREN = set[int]()
"""Of this process: the lanes, or a lane's pass."""


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
QUICK = (
    Daemon("object-expirer", "swift.obj.expirer:ObjectExpirer", "object", 30, 300),
    Daemon("object-updater", "swift.obj.updater:ObjectUpdater", "object", 30, 300),
    Daemon("container-updater", "swift.container.updater:ContainerUpdater", "container", 30, 300),
    Daemon("account-reaper", "swift.account.reaper:AccountReaper", "account", 60, 600),
    Daemon("container-sharder", "swift.container.sharder:ContainerSharder", "container", 300, 600),
    Daemon("account-replicator", "swift.account.replicator:AccountReplicator", "account", 600, 600),
    Daemon("container-replicator", "swift.container.replicator:ContainerReplicator", "container", 600, 600),
    Daemon("object-replicator", "swift.obj.replicator:ObjectReplicator", "object", 600, 600),
)
# Swift's own pace for objects is 10 MB/s, 36 GB an hour. What its time ends goes on there the next time.
SLOW = (
    Daemon("account-auditor", "swift.account.auditor:AccountAuditor", "account", 1800, 600),
    Daemon("container-auditor", "swift.container.auditor:ContainerAuditor", "container", 1800, 600),
    Daemon("object-auditor", "swift.obj.auditor:ObjectAuditor", "object", 3600, 6 * 3600),
)
LANES = {"quick": QUICK, "slow": SLOW}


@dataclass
class Pass:
    """The last one of a daemon that ended.

    begin: as people write it; clock: the same on the monotonic clock, which nobody sets. failures: of it and
    those before it, in a row.
    """

    begin: float
    clock: float
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
        print(json.dumps(told(), indent=1))
        return 0
    if words[:1] == ["--once"] and set(words[1:]) <= {one.name for one in (*QUICK, *SLOW)}:
        return once([one for one in (*QUICK, *SLOW) if one.name in words[1:]])
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
    """Import Swift, fork the lanes and wait.

    Should one of them end, so does the container, and Docker starts it anew.
    """
    signal.signal(signal.SIGTERM, lambda *_: end(0))
    started, lanes = time.monotonic(), dict[int, str]()
    for lane in LANES:
        write(lane, started, {})
    time.sleep(REST_SECONDS)
    for daemon in (one for lane in LANES.values() for one in lane):  # once, here: the lanes share its pages
        daemon.load()
    # What is there now is left alone by the collector of every process below: it writes to each page that it
    # looks at, and parent and lanes took 65 MB in place of 33.
    gc.collect()
    gc.freeze()
    for lane in LANES:
        pid = fork()
        if pid == 0:
            return walk(lane, started)
        lanes[pid] = lane
    pid, status = os.wait()
    CHILDREN.discard(pid)
    code = os.waitstatus_to_exitcode(status)
    print(f"the lane {lanes[pid]} ended with exit code {code}", file=sys.stderr, flush=True)
    return end(1)


def fork() -> int:
    """As os.fork, of a child with a process group of its own that ends with us.

    Who asks us to end waits until it is written down.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid == 0:
        CHILDREN.clear()
    else:
        CHILDREN.add(pid)
    with suppress(OSError):  # both do it: neither knows who is first
        os.setpgid(pid, pid)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return pid


def end(code: int) -> NoReturn:
    """End with all children, at once: an exception that a handler raises while we fork is lost."""
    for pid in CHILDREN:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
    os._exit(code)


def walk(lane: str, started: float) -> int:
    """The passes of a lane, each when it is due; for ever."""
    passes, due = dict[str, Pass](), {one.name: time.monotonic() for one in LANES[lane]}
    while True:
        daemon = min(LANES[lane], key=lambda one: due[one.name])
        time.sleep(max(0.0, due[daemon.name] - time.monotonic()))
        due[daemon.name] = time.monotonic() + daemon.every
        before = passes.get(daemon.name)
        passes[daemon.name] = run(daemon, before.failures if before else 0)
        write(lane, started, passes)


def run(daemon: Daemon, failures: int) -> Pass:
    """One pass in a child; what it took."""
    begin, clock = time.time(), time.monotonic()
    heard, tell = os.pipe()
    pid = fork()
    if pid == 0:
        os.close(heard)
        os._exit(in_child(daemon, tell))
    os.close(tell)

    ended = list[bool]()

    def late(*_: object) -> None:
        ended.append(True)
        with suppress(ProcessLookupError):  # it ended at this very moment
            os.killpg(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, late)
    signal.alarm(daemon.within)
    with os.fdopen(heard, "rb") as lines:
        errors = len(lines.read())  # to the end: of all that the child forked, too
    _, status, used = os.wait4(pid, 0)
    signal.alarm(0)
    CHILDREN.discard(pid)
    code = os.waitstatus_to_exitcode(status)
    return Pass(
        begin,
        clock,
        round(time.monotonic() - clock, 2),
        code,
        errors,
        # What an audit's time ends is no failure: the next one goes on there.
        failures if ended and daemon in SLOW else failures + 1 if code or errors else 0,
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
        config = configure(daemon)
        from swift.common.daemon import run_daemon  # noqa: PLC0415 - not for health

        run_daemon(daemon.load(), str(config), section_name=daemon.name, once=True, verbose=True)
    except SystemExit as ended:  # what the updater and the auditor fork end so, in our frame
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is this pass's
        print(f"{daemon.name}: {error!r}", file=sys.stderr, flush=True)
        return 1
    return 0


def configure(daemon: Daemon) -> Path:
    """Write its configuration with the address that its server has now.

    A file of its own, for lanes run side by side; and whole, for the same pass may be run by hand meanwhile.
    """
    address = socket.gethostbyname(f"swift-{daemon.server}")
    text = (TEMPLATES / f"{daemon.server}.conf").read_text(encoding="utf-8")
    config = CONFIGS / f"{daemon.name}.conf"
    replace(config, string.Template(text).substitute(ADDRESS=address))
    return config


def replace(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    new.write_text(text, encoding="utf-8")
    new.rename(file)


def record(lane: str) -> Path:
    return RECORDS / f"passes-{lane}.json"


def write(lane: str, started: float, passes: dict[str, Pass]) -> None:
    found = {name: asdict(one) for name, one in passes.items()}
    replace(record(lane), json.dumps({"started": started, "passes": found}))


def told() -> dict[str, dict[str, Any]]:
    """Of each daemon the last pass that ended; `ago`: seconds since then; `wrong`: what health says of it, or
    nothing."""
    found, now = dict[str, dict[str, Any]](), time.monotonic()
    for lane, daemons in LANES.items():
        file = record(lane)
        seen = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for daemon in daemons:
            last = seen.get("passes", {}).get(daemon.name, {})
            if last:
                last["ago"] = round(max(0.0, now - last["clock"] - last["seconds"]), 1)
            since = last["clock"] if last else seen.get("started", now) + REST_SECONDS
            wrong = amiss(daemon, last, now - since) if seen else NONE
            found[daemon.name] = {"lane": lane, **last, "wrong": wrong}
    return found


def amiss(daemon: Daemon, last: dict[str, Any], late: float) -> str:
    """late: seconds since the begin of the last pass that ended, or since the first was to begin."""
    if last and last["failures"] > 1:
        return f"failed {last['failures']} times in a row (exit code {last['code']}, {last['errors']} errors)"
    # An auditor may have to wait for all others; a quick one for the longest that its lane has before it.
    within = sum(one.within for one in SLOW) if daemon in SLOW else max(one.within for one in QUICK)
    if late <= 2 * daemon.every + within:
        return ""
    return f"began last {late:.0f} s ago" if last else f"has not ended once in {late:.0f} s"


def health() -> int:
    if not any(record(lane).exists() for lane in LANES):
        print(NONE)
        return 1
    wrong = [f"{name} {one['wrong']}" for name, one in told().items() if one["wrong"]]
    print("; ".join(wrong) or "healthy")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
