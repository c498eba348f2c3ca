"""Docker's own firewall rules, kept for the day that somebody flushes the packet filter while dockerd lives.

dockerd writes its chains when it starts and never looks at them again: after `nft flush ruleset` no container
with a published port can be started, nodes have no way out, and the chain that our own rules belong into is
not there. Starting dockerd anew would end every container.

    keep(paths, site, engine)      after a start of the engine, and `osbox up`: what Docker has there for it
    swept(paths, engine)           whether somebody flushed it since; reads only
    lost(paths, engine)            what to tell of that: which command puts it right; reads only
    put_back(paths, engine)        what is missing, in one transaction for each table

Of the private engine only. The machine's own Docker serves others, too: it is named, with what its operator
can do (osbox.engine.firewall.gone).
"""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from osbox import files, lock, waiting
from osbox.engine import asking, firewall, footprint, processes
from osbox.engine.engine import Engine
from osbox.engine.firewall import Published, Table
from osbox.errors import Error
from osbox.site.site import Paths, Site

NEIGHBOUR_SECONDS = 30  # a start takes 8 on an idle machine
USER_JUMP = "-A FORWARD -j DOCKER-USER"


def keep(paths: Paths, site: Site, engine: Engine) -> None:
    """Write down Docker's rules as they are now; nothing of an engine that is not ours, nor what somebody has
    flushed this moment."""
    if engine.kind != "private" or swept(paths, engine):
        return
    if USER_JUMP not in footprint.tables(paths, "ip").get("filter", Table({}, ())).rules:
        return  # nothing runs, and who would know a flush by what is missing?
    own = footprint.own(paths, site)
    seen = {family: firewall.dockers(footprint.tables(paths, family), own) for family in footprint.FAMILIES}
    tables = {
        family: {name: asdict(table) for name, table in found.items()} for family, found in seen.items()
    }
    whole = {"dockerd": _dockerd(engine), "tables": tables}
    files.write_changed(_file(paths), json.dumps(whole, indent=1, sort_keys=True), shared=True)


def swept(paths: Paths, engine: Engine) -> bool:
    """Whether somebody flushed the rules of our engine's Docker while it ran; reads only.

    A neighbour's dockerd, starting, empties Docker's chains, and whoever starts it gives them back a moment
    later (footprint.sparing_others): that is waited for.
    """
    if engine.kind != "private" or not _lacks(paths, engine):
        return False
    patience = NEIGHBOUR_SECONDS if processes.others(paths) else 0
    return not waiting.happens(lambda: not _lacks(paths, engine), patience)


def lost(paths: Paths, engine: Engine) -> Error | None:
    """What to tell of rules that somebody flushed, None where nobody did: with a record of them `osbox up`
    puts them back, without one the engine has to be started anew."""
    if not swept(paths, engine):
        return None
    return firewall.gone(engine.kind if is_kept(paths, engine) else "lost")


def is_kept(paths: Paths, engine: Engine) -> bool:
    """Whether there is a record of this very dockerd."""
    return bool(_kept(paths, engine))


def _lacks(paths: Paths, engine: Engine) -> bool:
    """Whether rules of Docker's are missing; where nobody wrote them down, whether what leads to DOCKER-USER
    is, of an engine in which something runs."""
    kept, bridges = _kept(paths, engine), _interfaces()
    if kept:
        return any(firewall.swept(kept[family], footprint.tables(paths, family), bridges) for family in kept)
    found = footprint.tables(paths, "ip").get("filter")
    return (found is None or USER_JUMP not in found.rules) and bool(_running(engine))


def put_back(paths: Paths, engine: Engine) -> list[str]:
    """Put back what somebody flushed; returns what was done, [] when there was nothing to do.

    Raises Error, with what to do, when nobody wrote down what there was: this dockerd was started by an osbox
    that was killed, or is older than that.
    """
    if not swept(paths, engine):
        return []
    done = []
    with lock.alone(paths.engine / "lock", "The engine is being started or stopped"):
        kept = _kept(paths, engine)
        if not kept:
            raise firewall.gone("lost")
        published, bridges = _published(engine), _interfaces()
        for family, program in footprint.FAMILIES.items():
            text = firewall.restore(kept[family], footprint.tables(paths, family), bridges, published)
            if text:
                footprint.run_tool(paths, f"{program}-restore", "--noflush", "--wait", text=text)
                done.append(
                    f"Docker's {program} rules, which somebody had flushed (policies are as they were left)"
                )
    return done


def _file(paths: Paths) -> Path:
    return paths.engine / "rules.json"


def _kept(paths: Paths, engine: Engine) -> dict[str, dict[str, Table]]:
    """What was written down of this very dockerd; {} when nothing was: another one writes its own."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        data = json.loads(_file(paths).read_text())
        if data["dockerd"] == _dockerd(engine):
            return {
                family: {
                    name: Table(dict(table["chains"]), tuple(table["rules"]))
                    for name, table in data["tables"][family].items()
                }
                for family in footprint.FAMILIES
            }
    return {}


def _dockerd(engine: Engine) -> str:
    """Which dockerd: its number may come again, but not at the same time of the same boot (proc_pid_stat(5),
    starttime)."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = Path(f"/proc/{engine.pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{boot} {engine.pid} {started}"


def _interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _published(engine: Engine) -> Published:
    return {
        (one.port.rpartition("/")[2], one.host_ip, one.host_port): container.addresses[0]
        for container in asking.containers(engine.argv("docker"), _running(engine))
        for one in container.ports
        if container.addresses
    }


def _running(engine: Engine) -> list[str]:
    return asking.ask(engine.argv("docker", "container", "ls", "--quiet")).out.split()
