"""The services' logs since their containers started: errors, brought together and counted."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from osbox.doctor import logscan
from osbox.doctor.finding import SILENT, Facts, Finding, ok, unseen, warning
from osbox.doctor.logscan import Group, Harmless
from osbox.engine import docker
from osbox.errors import Error

LINES = 20_000  # of each log's end: hours of a busy service; what is older is counted as of before
AT_ONCE = 4
SECONDS = 8.0
SHOWN = 3  # groups of a service; the rest is counted


def check_logs(facts: Facts) -> Iterator[Finding]:
    """One finding for each service that told of errors which are not known to be harmless."""
    engine, known, passed = facts.engine, harmless(), 0
    if engine is None or not facts.running:
        return

    def read(service: str) -> list[Group] | Error:
        try:
            return logscan.groups(service, _lines(facts, service), known)
        except SILENT as silent:
            return silent

    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = dict(zip(sorted(facts.running), pool.map(read, sorted(facts.running)), strict=True))
    yield from (unseen(f"the log of {name}", one) for name, one in told.items() if isinstance(one, Error))
    found = {name: groups for name, groups in told.items() if not isinstance(groups, Error)}
    for service, groups in found.items():
        bad = [group for group in groups if not group.harmless]
        passed += sum(group.count for group in groups if group.harmless)
        if bad:
            yield _told(service, bad)
    if found and not any(not group.harmless for groups in found.values() for group in groups):
        known_lines = f"{passed} lines that are known to mean nothing" * bool(passed)
        yield ok(f"the logs of {len(found)} services tell of no error since they started", known_lines)


def _told(service: str, groups: list[Group]) -> Finding:
    number = sum(group.count for group in groups)
    lines = [
        f"{group.count} × {group.text}  ({group.first}{f' to {group.last[11:]}' if group.count > 1 else ''})"
        for group in groups[:SHOWN]
    ]
    more = len(groups) - SHOWN
    lines += [f"and {more} other kinds"] * (more > 0)
    what = f"{service} has told of {number} error{'s' * (number > 1)} since it started"
    return warning(what, "\n".join(lines), f"osbox logs {service}")


def _lines(facts: Facts, service: str) -> list[str]:
    assert facts.engine is not None  # noqa: S101 - for the type checker
    words = [
        "logs",
        "--timestamps",
        "--since",
        facts.containers[service].state.started_at,
        "--tail",
        str(LINES),
        f"{service}.{facts.site.name}",
    ]
    result = docker.docker(facts.engine, *words, check=False, timeout=SECONDS)
    return (result.out + result.err).splitlines()


@cache
def harmless() -> tuple[Harmless, ...]:
    """The list that stands beside this module."""
    return logscan.read_harmless(Path(__file__).with_name("harmless.toml").read_text())
