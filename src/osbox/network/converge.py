"""The provisioning network on this machine: read it as data, change it one small act at a time.

observe(doors) -> NetState      what is there: links, the neutron namespace, the engine's firewall, the ledger
plan(state, wish)               the changes (osbox.network.plan, pure)
apply(change, state, doors)     one act; the ledger knows of it before it happens
converge(doors, wish)           the three of them, and proof from the live system that nothing is left to do
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from osbox import log, run
from osbox.engine import docker, host
from osbox.engine.engine import Engine
from osbox.engine.rules import USER_JUMP
from osbox.errors import Error
from osbox.network import netlink
from osbox.network.plan import plan
from osbox.network.values import Before, Change, Link, NetState, Wish, mark
from osbox.site.ledger import Entry, Kind, Ledger, ledger
from osbox.site.site import Paths, Site

PROGRAMS = ("ovs-vswitchd", "ovn-controller")
PART = "net"  # what marks our entries in the ledger
NOTED: Mapping[str, Kind] = {
    "add-bridge": "link",
    "add-address": "address",
    "add-veth": "link",
    "add-rule": "firewall",
    "take": "port",
}
STRUCK: Mapping[str, Kind] = {
    "delete-link": "link",
    "delete-address": "address",
    "delete-rule": "firewall",
    "give-back": "port",
}


@dataclass(frozen=True)
class Doors:
    """The ways to what is not netlink; tests open others. Without iptables the firewall is not looked at."""

    site: Site
    ledger: Ledger
    holder: str = ""
    holder_pid: Callable[[], int] = lambda: 0
    iptables: Callable[[Sequence[str]], run.Result] | None = None
    manages: Callable[[], Literal["", "private", "host"]] = lambda: ""
    """The kind of the engine, if its Docker writes firewall rules at all."""


def doors(paths: Paths, site: Site, engine: Engine | None) -> Doors:
    """The doors of a deployment.

    iptables is the engine's own: programs of two kinds do not see each other's rules.
    """
    holder, book = f"neutron-network.{site.name}", ledger(paths.home)
    if engine is None:
        return Doors(site, book, holder)

    def iptables(words: Sequence[str]) -> run.Result:
        return run.run(engine.argv("iptables", "--wait", "20", *words))

    if not engine.version:  # its tools alone (osbox.engine.engine.tools): nobody is there to ask
        return Doors(site, book, holder, iptables=iptables)

    def manages() -> Literal["", "private", "host"]:
        return "private" if engine.kind == "private" else "host" if host.manages_iptables() else ""

    return Doors(site, book, holder, lambda: _container_pid(engine, holder), iptables, manages)


def ensure_bridge(paths: Paths, site: Site) -> list[Change]:
    """The bridge with its address, which ports are published on; needs no engine.

    Returns what was changed.
    """
    return converge(doors(paths, site, None), Wish(do="bridge"), "osbox up")


def converge(doors: Doors, wish: Wish, made_by: str) -> list[Change]:
    """Make it so, saying each change; returns them.

    Raises Error if the live system does not end as wished.
    """
    state = observe(doors)
    changes = plan(state, wish)
    for change in changes:
        with log.step(change.text):
            apply(change, state, doors, made_by)
    left = plan(observe(doors), wish) if changes else []
    if left:
        raise Error(
            "the provisioning network did not become what it should be",
            evidence="\n".join(["still to do:", *(item.text for item in left)]),
            hint=(
                "does another program change these interfaces (NetworkManager)? see docs/network.md, and run"
                " it again"
            ),
        )
    return changes


def observe(doors: Doors) -> NetState:
    """Everything as it is now; changes nothing."""
    site, boot = doors.site, _boot()
    pid, inside = _inside(doors)
    entries = [one for one in doors.ledger.entries() if one.kind == "port" or one.details.get("part") == PART]
    current = _keys([one for one in entries if one.details.get("boot") == boot])
    chain, rules = _rules(doors)
    routes, policy = netlink.ways()
    return NetState(
        site=site,
        links=netlink.links(site.veth),
        holder=doors.holder,
        pid=pid,
        boot=boot,
        chain=chain,
        swept="" if chain or rules is None else doors.manages(),
        rules=rules,
        routes=routes,
        policy=policy,
        file=str(doors.ledger.file.with_name(Paths.site_toml.name)),
        inside=inside,
        made=current,
        stale=_keys(entries) - current,
        programs=_programs(pid) if pid else {},
        before={
            entry.name: Before.model_validate(entry.details) for entry in entries if entry.kind == "port"
        },
    )


def _inside(doors: Doors) -> tuple[int, tuple[Link, ...]]:
    """A process of the neutron namespace and the links in there; a container that ended between our question
    for its process and the look at it does not run."""
    pid = doors.holder_pid()
    with suppress(netlink.GoneError):
        return pid, netlink.within(pid, lambda: netlink.links(doors.site.veth)) if pid else ()
    return 0, ()


def apply(change: Change, state: NetState, doors: Doors, made_by: str) -> None:
    """Do one change: first the ledger, then the act, and when a thing is gone, the ledger again."""
    if change.do in NOTED:
        _note(change, state.boot, doors.ledger, made_by)
    if change.do in ("add-rule", "delete-rule"):
        _change_rule(doors, change)
    elif change.inside:
        netlink.within(state.pid, lambda: netlink.act(change, state.pid))
    elif change.do != "forget":
        netlink.act(change, state.pid)
    if change.do in STRUCK and not change.inside and not _is_left(change, doors):
        doors.ledger.remove(STRUCK[change.do], change.name)
        if change.do == "delete-link":
            doors.ledger.remove("address", change.name)
    elif change.do == "forget":
        entry = next((one for one in doors.ledger.entries() if f"{one.kind}:{one.name}" == change.name), None)
        if entry:
            doors.ledger.remove(entry.kind, entry.name)


def _is_left(change: Change, doors: Doors) -> bool:
    """Whether there is another copy of a rule that was removed: the ledger's one entry is for both."""
    return change.do == "delete-rule" and change.name in (_rules(doors)[1] or ())


def _note(change: Change, boot: str, book: Ledger, made_by: str) -> None:
    made = {"part": PART, "value": change.value, "boot": boot}
    details = change.before.model_dump(mode="json") if change.before else made
    entry = Entry(kind=NOTED[change.do], name=change.name, details=details, made_by=made_by)
    known = book.find(entry.kind, entry.name)
    if known and known.details.get("boot") != boot:
        book.remove(entry.kind, entry.name)  # of an earlier boot: that thing went with it
    book.add(entry)


def _change_rule(doors: Doors, change: Change) -> None:
    if doors.iptables is None:
        raise Error("the engine does not run, so its firewall cannot be changed", hint="osbox engine start")
    table, chain, *words = change.name.split()
    # In front: DOCKER-USER ends with a RETURN.
    doors.iptables(["-t", table, "-I" if change.do == "add-rule" else "-D", chain, *words])


def _rules(doors: Doors) -> tuple[bool, tuple[str, ...] | None]:
    """Whether there is a chain DOCKER-USER that is gone through, and the rules that carry our mark."""
    if doors.iptables is None:
        return False, None
    seen = {table: doors.iptables(["-t", table, "-S"]).out.splitlines() for table in ("filter", "nat")}
    ours = tuple(
        f"{table} {' '.join(words[1:])}"
        for table, lines in seen.items()
        for words in map(shlex.split, lines)
        if words[0] == "-A" and ("--comment", mark(doors.site)) in pairwise(words)
    )
    return {"-N DOCKER-USER", USER_JUMP} <= set(seen["filter"]), ours


def _programs(pid: int) -> dict[str, int]:
    """Count the programs we care for in this network namespace."""
    home = _namespace(pid)
    processes = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    found = [_program(one) for one in processes if home and _namespace(one) == home]
    return {name: found.count(name) for name in PROGRAMS if name in found}


def _program(pid: int) -> str:
    """Which of PROGRAMS a process is: by the first words of its command line, for Python's are called
    python."""
    with suppress(OSError):
        words = re.split(rb"[\0 ()]+", Path(f"/proc/{pid}/cmdline").read_bytes())[:3]
        names = {word.rpartition(b"/")[2].decode(errors="replace").rstrip(":") for word in words}
        return next((name for name in PROGRAMS if name in names), "")
    return ""


def _namespace(pid: int) -> str:
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def _container_pid(engine: Engine, name: str) -> int:
    """Raises Error when the engine gives no answer: that is never taken for "does not run"."""
    found = docker.container(engine, name)
    return found.state.pid if found and found.state.running else 0


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _keys(entries: Sequence[Entry]) -> frozenset[str]:
    return frozenset(f"{entry.kind}:{entry.name}" for entry in entries)
