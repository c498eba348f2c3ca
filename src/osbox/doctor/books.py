"""The ledger against the machine, both ways round."""

from collections.abc import Iterator
from pathlib import Path

from osbox.cloud import compose
from osbox.doctor.finding import Facts, Finding, ok, warning
from osbox.engine import docker
from osbox.network import converge as net
from osbox.site.ledger import ledger


def check_ledger(facts: Facts) -> Iterator[Finding]:
    """What the ledger knows and is not there; what is there with our mark and the ledger does not know."""
    book, site = ledger(facts.paths.home), facts.site
    state = net.observe(net.doors(facts.paths, site, facts.engine))
    names = {link.name for link in state.links}
    there = (
        {f"link:{name}" for name in names}
        | {f"address:{name}" for name in names}
        | {f"firewall:{rule}" for rule in state.rules or ()}
    )
    looked = (
        state.made
        if state.rules is not None
        else {entry for entry in state.made if not entry.startswith("firewall:")}
    )
    gone = sorted(entry for entry in looked - there if not entry.startswith("port:"))
    gone += [
        f"link:{entry.name}"
        for entry in book.entries("link")
        if entry.details.get("part") != net.PART and _of_now(entry.details) and entry.name not in names
    ]
    for entry in gone:
        kind, _, name = entry.partition(":")
        yield warning(
            f"the ledger knows a {kind} that is not there any more: {name}",
            str(book.file),
            "osbox up, or osbox net connect",
        )
    for rule in state.rules or ():
        if f"firewall:{rule}" not in state.made:
            yield warning(
                "a firewall rule carries our mark and the ledger does not know it",
                rule,
                "osbox net disconnect, then osbox net connect",
            )
    left = _left_in_engine(facts)
    yield from left
    if not gone and not left:
        yield ok(f"what the ledger knows is there ({len(book.entries())} entries), and nothing else of ours")


def _of_now(details: object) -> bool:
    """Whether an entry is of this boot: an earlier one took its things with it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return isinstance(details, dict) and details.get("boot") == boot


def _left_in_engine(facts: Facts) -> list[Finding]:
    """Containers of this deployment that no Compose file of ours starts, and volumes without the secrets that
    open them."""
    if facts.engine is None:
        return []
    volumes = docker.ids(facts.engine, "volume", compose.label(facts.site))
    if volumes and not (facts.paths.secrets / "admin-password").exists():
        how = f"{', '.join(volumes)}: made with secrets that are not in {facts.paths.secrets}"
        return [
            warning(
                "there are volumes of this deployment and no secrets",
                how,
                "put the secrets back, or osbox down --purge",
            )
        ]
    return []
