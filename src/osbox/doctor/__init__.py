"""`osbox doctor`: what may keep a cloud from coming up or from working, looked at side by side.

It changes nothing that stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from threading import Event

from osbox import waiting
from osbox.cloud import sessions
from osbox.doctor import (
    accelerator,
    books,
    certificate,
    clock,
    database,
    finding,
    journals,
    machine,
    names,
    services,
    subnets,
    wires,
)
from osbox.doctor.finding import Check, Facts, Finding
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Paths, Site

__all__ = ["CHECKS", "Facts", "Finding", "examine", "look"]

CHECKS: dict[str, Check] = {
    "engine": machine.check_engine,
    "kernel": machine.check_kernel,
    "subnets": subnets.check_subnets,
    "ports": machine.check_ports,
    "memory": machine.check_memory,
    "disk": machine.check_disk,
    "host DNS": names.check_host,
    "services' DNS": names.check_inside,
    "nodes' DNS": names.check_nodes,
    "clock": clock.check_clock,
    "certificate": certificate.check_certificate,
    "bridge": wires.check_bridge,
    "network": wires.check_connected,
    "DHCP": wires.check_dhcp,
    "accelerator": accelerator.check_accelerator,
    "services": services.check_services,
    "database": database.check_database,
    "logs": journals.check_logs,
    "ledger": books.check_ledger,
}
"""In the order in which findings are told."""
OF_THE_ENGINE = frozenset({"ports", "memory", "services' DNS", "network", "services", "database", "logs"})
"""What goes by the engine's word: without it they would say that there is no cloud, or nothing."""


def look(paths: Paths, site: Site, base: Paths, find: Callable[[], Engine | None]) -> Facts:
    """What all checks share; reads only.

    base is where the engine is, which deployments with a name share; find asks for it. What keeps us from an
    answer of the engine is a finding, too.
    """
    try:
        engine = find()
        facts = Facts(paths, site, base, engine, finding.containers(engine, site))
    except Error as silent:
        return Facts(paths, site, base, silence=silent)
    return replace(facts, servers=_dhcp_servers(facts))


def examine(
    facts: Facts, checks: dict[str, Check], on_done: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """Run checks side by side; their findings in the checks' order. Ctrl-C is heard at once."""
    found = dict[str, Sequence[Finding]]()

    def look(name: str, check: Check, _: Event) -> None:
        found[name] = _one(name, check, facts, on_done)

    waiting.beside({name: partial(look, name, check) for name, check in checks.items()})
    return [one for name in checks for one in found[name]]


def _one(name: str, check: Check, facts: Facts, on_done: Callable[[str], None]) -> Sequence[Finding]:
    if facts.silence and name in OF_THE_ENGINE:
        on_done(name)
        return [replace(finding.unseen(name, facts.silence), check=name)]
    found, failed = list[Finding](), list[Finding]()
    try:
        for one in check(facts):
            found.append(one)
    except finding.SILENT as silent:
        failed.append(finding.unseen(name, silent))
    except Error as wrong:
        failed.append(finding.error(f"{name}: {wrong.message}", wrong.evidence, wrong.hint))
    except Exception as wrong:  # noqa: BLE001 - one check that cannot be made must not hide what the others found
        failed.append(
            finding.warning(
                f"{name} could not be looked at",
                f"{type(wrong).__name__}: {wrong}",
                "osbox -v doctor; please report it",
            )
        )
    if failed:  # what it had found wrong before counts; that the rest is well, nobody knows
        found = [*(one for one in found if one.level != "ok"), *failed]
    on_done(name)
    return [replace(one, check=name) for one in found]


def _dhcp_servers(facts: Facts) -> frozenset[str]:
    """Neutron's own DHCP servers, when it says."""
    if not {"keystone", "neutron-server"} <= facts.running:
        return frozenset()
    try:
        return sessions.dhcp_servers(sessions.connect(facts.paths, facts.site))
    except Exception:  # noqa: BLE001 - that Neutron does not answer is told by others; its server answers no stranger anyway
        return frozenset()
