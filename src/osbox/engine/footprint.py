"""What a private engine changes on the host, and its exact undo.

    record(paths, site)   before dockerd starts: the state it is going to change, into the ledger; the first
    record stays undo(paths, site)     after dockerd has ended: put that state back, touching nothing of
    others; can be run again

Docker writes packet-filter chains and rules, a few kernel settings, bridges and control groups, and takes
none of the shared ones back. docs/engine.md lists them. The filter's tools are those of the engine's root
file system: programs of two kinds (nft and legacy) do not see each other's rules.
"""

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from osbox import log, run, waiting
from osbox.engine import firewall, processes
from osbox.engine import root as engine_root
from osbox.engine.firewall import Own
from osbox.errors import Error, UserError
from osbox.site.ledger import Entry, Kind, Ledger, ledger
from osbox.site.site import Paths, Site

PART, NAME = "engine", "engine"  # what marks our entries in the ledger
FAMILIES = {"ip": "iptables", "ip6": "ip6tables"}
# A setting, and those that the kernel changes with it; a pattern stands for all interfaces.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "net/ipv4/ip_forward": ("net/ipv4/conf/*/forwarding", "net/ipv4/conf/all/accept_redirects"),
    "net/ipv6/conf/all/forwarding": ("net/ipv6/conf/*/forwarding",),
    "net/ipv6/conf/default/forwarding": (),
    "net/bridge/bridge-nf-call-iptables": (),
    "net/bridge/bridge-nf-call-ip6tables": (),
    "kernel/keys/root_maxkeys": ("kernel/keys/root_maxbytes",),
}
BUILT_IN = ("INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING")
CREATED = re.compile(rb'"AddressIPv4":"([^"]+)","BridgeIfaceCreator":1,"BridgeName":"([^"]{1,15})"')
DOCKERS = re.compile("veth[0-9a-f]{7}")
SETTLE_SECONDS = (
    5  # the kernel clears network namespaces and control groups away a moment after their last process
)


def record(paths: Paths, site: Site) -> None:
    """Write down what dockerd will change, unless that is known: a later look would take Docker's own doing
    for the host's."""
    book = ledger(paths.home)
    if not _valid(book.find("sysctl", NAME)):
        _note(book, "sysctl", NAME, {"values": _settings()})
    if not _valid(book.find("firewall", NAME)):
        seen = {family: firewall.chains(tables(paths, family)) for family in FAMILIES}
        _note(
            book,
            "firewall",
            NAME,
            {
                "chains": seen,
                "tables": sorted(_nft_tables(paths)),
                "pairs": half_made(_links("type", "veth")),
            },
        )
    _ensure_bridge(book, site)


def undo(paths: Paths, site: Site) -> list[str]:
    """Put back what record() wrote down; returns what was changed.

    The engine's processes have ended by now.
    """
    book, gone = ledger(paths.home), []
    filtered, set_to = book.find("firewall", NAME), book.find("sysctl", NAME)
    bridges = _bridges(paths, book) if _valid(filtered) else {}
    others = processes.others(paths)
    if others and _valid(filtered):
        pids = ", ".join(map(str, others))
        log.say(
            "Docker's shared firewall chains and kernel settings stay: another engine runs here (dockerd,"
            f" pid {pids})"
        )
    if filtered and _valid(filtered):
        gone += _undo_firewall(paths, site, filtered.details, bridges, shared=bool(others))
    gone += _remove_bridges(list(bridges))
    if filtered and _valid(filtered) and not others:
        gone += _remove_half_made(filtered.details)
    if set_to and _valid(set_to) and not others:
        gone += _undo_settings(set_to.details["values"])
    gone += _remove_cgroups(processes.cgroup(paths))
    for entry in [entry for entry in book.entries() if entry.details.get("part") == PART]:
        book.remove(entry.kind, entry.name)
    return gone


@contextmanager
def sparing_others(paths: Paths) -> Iterator[None]:
    """Around the start of dockerd: it empties Docker's chains, those of an engine that runs here already
    included."""
    if not processes.others(paths):
        yield
        return
    before = {family: tables(paths, family) for family in FAMILIES}
    try:
        yield
    finally:
        for family, program in FAMILIES.items():
            text = firewall.lost(before[family], tables(paths, family))
            if text:
                run_tool(paths, f"{program}-restore", "--noflush", "--wait", text=text)


# --- the ledger
# --------------------------------------------------------------------------------


def _where() -> dict[str, str]:
    """What a record is about: this boot of this machine, and this network namespace."""
    return {
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "netns": processes.namespace("thread-self"),
    }


def _valid(entry: Entry | None) -> bool:
    return (
        bool(entry)
        and entry is not None
        and all(entry.details.get(key) == value for key, value in _where().items())
    )


def _note(book: Ledger, kind: Kind, name: str, details: Mapping[str, Any]) -> None:
    book.remove(kind, name)  # of an earlier boot: what it speaks of went with it
    book.add(
        Entry(
            kind=kind, name=name, details={"part": PART, **_where(), **details}, made_by="osbox engine start"
        )
    )


# --- the packet filter
# --------------------------------------------------------------------------------


def run_tool(paths: Paths, *words: str, text: str | None = None) -> str:
    """Run one of the packet filter's tools that the private engine has, and return what it wrote."""
    prefix = engine_root.tools(paths)
    if not prefix:
        raise Error(
            "the private engine's root file system is gone, so the firewall cannot be put back",
            hint="osbox engine start",
        )
    return run.run([*prefix, *words], input=text).out


def tables(paths: Paths, family: str) -> dict[str, firewall.Table]:
    """The packet filter's tables of a family, as they are."""
    return firewall.parse(
        run_tool(paths, f"{FAMILIES[family]}-save")
    )  # reads only; `iptables -S` would make the tables


def _nft(paths: Paths, *words: str) -> list[dict[str, Any]]:
    return list(json.loads(run_tool(paths, "nft", "--json", "list", *words))["nftables"])


def _nft_tables(paths: Paths) -> set[str]:
    tables = [item["table"] for item in _nft(paths, "tables") if "table" in item]
    return {f"{table['family']} {table['name']}" for table in tables}


def _undo_firewall(
    paths: Paths,
    site: Site,
    before: Mapping[str, Any],
    bridges: Mapping[str, list[firewall.Network]],
    *,
    shared: bool,
) -> list[str]:
    own, gone = _own(paths, site, bridges), []
    for family, program in FAMILIES.items():
        todo = firewall.undo(before["chains"].get(family, {}), tables(paths, family), own, shared=shared)
        for chain in todo.kept:
            log.say(f"The {program} chain {chain} stays: rules of others are in it or lead to it")
        if todo.text:
            # One transaction for each table: a kill in between leaves it as it was, and the next run does it.
            run_tool(paths, f"{program}-restore", "--noflush", "--wait", text=todo.text)
            gone.append(f"Docker's {program} rules")
    if not shared:
        gone += [
            f"nft table {table}"
            for table in sorted(_nft_tables(paths) - set(before["tables"]))
            if _drop_table(paths, table)
        ]
    return gone


def own(paths: Paths, site: Site) -> Own:
    """What tells the rules of our engine from others', of its bridges that are there."""
    return _own(paths, site, _bridges(paths, ledger(paths.home)))


def _own(paths: Paths, site: Site, bridges: Mapping[str, list[firewall.Network]]) -> Own:
    networks = {site.engine_subnet, *(network for found in bridges.values() for network in found)}
    return Own(frozenset({site.engine_bridge, *_docker_notes(paths), *bridges}), tuple(networks))


def _drop_table(paths: Paths, table: str) -> bool:
    """Delete a table that iptables made, if only the empty built-in chains are left in it."""
    family, name = table.split(" ", 1)
    if family not in FAMILIES or name not in ("filter", "nat", "raw", "mangle", "security"):
        return False
    parts = [item for item in _nft(paths, "table", family, name) if not {"metainfo", "table"} & set(item)]
    chains = [item.get("chain", {}) for item in parts]
    if not all(chain.get("name") in BUILT_IN and chain.get("policy") == "accept" for chain in chains):
        return False
    # Chain by chain in one transaction: should a rule have come in the meantime, its chain is busy and all of
    # it stays.
    lines = [f"delete chain {table} {chain['name']}" for chain in chains] + [f"delete table {table}"]
    run_tool(paths, "nft", "--file", "-", text="\n".join(lines) + "\n")
    return True


# --- network interfaces
# --------------------------------------------------------------------------------


def _links(*words: str) -> list[dict[str, Any]]:
    return list(json.loads(run.run(["ip", "-json", "-details", "address", "show", *words]).out or "[]"))


def _addresses(link: Mapping[str, Any]) -> list[str]:
    return [
        f"{one['local']}/{one['prefixlen']}"
        for one in link.get("addr_info", [])
        if one.get("scope") == "global"
    ]


def _ensure_bridge(book: Ledger, site: Site) -> None:
    """The engine's default bridge: its own, so that a stranger's docker0 is never touched."""
    name, address = site.engine_bridge, f"{site.engine_subnet[1]}/{site.engine_subnet.prefixlen}"
    link = next((link for link in _links() if link["ifname"] == name), None)
    if link and address not in _addresses(link) and not _valid(book.find("link", name)):
        raise UserError(
            f"there is an interface {name} that osbox did not make",
            evidence=run.run(["ip", "-brief", "address", "show", name]).out,
            hint=(
                'remove it, or choose another name, engine_bridge = "NAME" in'
                f" {book.file.with_name(Paths.site_toml.name)}"
            ),
        )
    if not _valid(book.find("link", name)):
        _note(book, "link", name, {})
    if not link:
        run.run(["ip", "link", "add", name, "type", "bridge"])
    if not link or address not in _addresses(link):
        run.run(["ip", "address", "add", address, "dev", name])
    run.run(["ip", "link", "set", name, "up"])


def _bridges(paths: Paths, book: Ledger) -> dict[str, list[firewall.Network]]:
    """Our bridges that are there, with their subnets: the engine's own by the ledger, its networks' by
    dockerd's own notes.

    dockerd removes a network's bridge with the network, but one that was killed cannot.
    """
    made = {
        entry.name for entry in book.entries("link") if entry.details.get("part") == PART and _valid(entry)
    }
    notes = _docker_notes(paths)
    links = {link["ifname"]: link for link in _links("type", "bridge") if "ifname" in link}
    return {
        name: [ipaddress.ip_interface(address).network for address in _addresses(link)]
        for name, link in links.items()
        if name in made or notes.get(name) in _addresses(link)
    }


def _docker_notes(paths: Paths) -> dict[str, str]:
    """The bridges that dockerd itself made, with the address it gave to each: plain JSON inside the pages of
    its database."""
    with suppress(FileNotFoundError):
        notes = (paths.engine / "data/network/files/local-kv.db").read_bytes()
        return {name.decode(): address.decode() for address, name in CREATED.findall(notes)}
    return {}


def _remove_bridges(names: list[str]) -> list[str]:
    waiting.happens(
        lambda: not _ports(names), SETTLE_SECONDS, poll=0.1
    )  # a container's veth goes with its network namespace
    for link in [*_ports(names), *names]:
        run.run(["ip", "link", "delete", link], check=False)  # it may go by itself at this moment
    left = [link["ifname"] for link in _links() if link["ifname"] in names]
    if left:
        raise Error(
            f"interfaces of the private engine cannot be removed: {', '.join(left)}",
            hint=f"ip link delete {left[0]}",
        )
    return [f"link {link}" for link in names]


def half_made(links: list[dict[str, Any]]) -> list[str]:
    """One end of each pair that a dockerd which was killed left: both ends are here, by Docker's names, and
    neither is in a bridge."""
    ends = {
        link["ifname"]: link
        for link in links
        if DOCKERS.fullmatch(link.get("ifname", "")) and not link.get("master")
    }
    return sorted(name for name, link in ends.items() if link.get("link") in ends and name < link["link"])


def _remove_half_made(before: Mapping[str, Any]) -> list[str]:
    """No dockerd runs in this network namespace by now; what was there before ours stays."""
    found = [
        name
        for name in half_made(_links("type", "veth"))
        if "pairs" in before and name not in before["pairs"]
    ]
    for name in found:
        run.run(["ip", "link", "delete", name], check=False)
    return [f"link {name}" for name in found]


def _ports(bridges: list[str]) -> list[str]:
    return [link["ifname"] for link in _links("type", "veth") if link.get("master") in bridges]


# --- kernel settings and control groups
# --------------------------------------------------------------------------------


def _settings() -> dict[str, str]:
    base = Path("/proc/sys")
    names = [
        name
        for first, rest in SETTINGS.items()
        for pattern in (first, *rest)
        for name in sorted(base.glob(pattern))
    ]
    return {str(name.relative_to(base)): name.read_text().strip() for name in names}


def _undo_settings(before: Mapping[str, str]) -> list[str]:
    """Only what differs is written; what hangs on a setting is looked at only when that setting is put
    back."""
    gone = []
    for first, rest in SETTINGS.items():
        if _set(first, before.get(first)):
            gone.append(f"setting {first.replace('/', '.')}")
            for name, value in before.items():
                if any(Path(name).match(pattern) for pattern in rest):
                    _set(name, value)
    return gone


def _set(name: str, value: str | None) -> bool:
    file = Path("/proc/sys") / name
    if value is None or not file.exists() or file.read_text().strip() == value:
        return False
    file.write_text(f"{value}\n")
    return True


def _is_removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.is_dir()


def _remove_cgroups(name: str, base: Path = Path("/sys/fs/cgroup")) -> list[str]:
    """Remove our control group from every hierarchy; the kernel refuses while a process is in it.

    Of version 1 a hierarchy may be there by more than one name, cpu and cpuacct as links to cpu,cpuacct.
    """
    tops = sorted({top.resolve() for top in (base / name, *base.glob(f"*/{name}")) if top.is_dir()})
    groups = [
        group
        for top in tops
        for group in sorted([top, *(path for path in top.rglob("*") if path.is_dir())], reverse=True)
    ]
    for group in groups:
        waiting.happens(partial(_is_removed, group), SETTLE_SECONDS, poll=0.1)
        if group.is_dir():
            group.rmdir()  # tells why
    return [f"control group {name}"] if tops else []
