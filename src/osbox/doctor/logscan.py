"""Lines of service logs that tell of errors: found, brought together where they say the same, counted.

Pure.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

# Each service has words of its own: oslo.log, MariaDB and gunicorn; nginx and RabbitMQ; Open vSwitch; Python.
TELLS = re.compile(
    r"(?:^|[\s|\[])(?:ERROR|CRITICAL|FATAL|EMER|ERR)(?:[\s|\]:]|$)|\[(?:error|crit|alert|emerg|critical)\]"
)
TRACEBACK = "Traceback (most recent call last)"
# oslo.log: time, process, level, logger, then the request in brackets; the lines of a traceback have no
# brackets.
OSLO = re.compile(r"\d{4}-\d\d-\d\d [\d:.]+ \d+ (?P<level>[A-Z]+) [\w.-]+ ?(?P<rest>.*)")
BAD = ("ERROR", "CRITICAL")
CONTEXT = re.compile(r"^\[[^\]]*\] ?")
STAMP = re.compile(r"^\[?\d{4}[-/]\d\d[-/]\d\d[T ]+[\d:.,+]+Z?( [+-]\d{4})?\]?\s*(?:\|\d+\|)?")
# What differs from one occurrence to the next: identifiers, addresses, numbers.
VARYING = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|0x[0-9a-f]+|\b[0-9a-f]{12,}\b|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|\d+(?:[.:]\d+)*"
)
LONGEST = 300  # characters of a line that are shown


@dataclass(frozen=True)
class Group:
    """Errors of a service that say the same: the first of them, how many, the first and the last time
    (UTC)."""

    service: str
    text: str
    count: int
    first: str
    last: str
    harmless: str = ""
    """Why it means nothing, when that is known."""


@dataclass(frozen=True)
class Harmless:
    """A line that is known to mean nothing: its service, a pattern that is searched for in the text, the
    reason."""

    service: str
    pattern: re.Pattern[str]
    reason: str


def read_harmless(text: str) -> tuple[Harmless, ...]:
    """The list as TOML: [[line]] with service, pattern and reason."""
    return tuple(
        Harmless(item["service"], re.compile(item["pattern"]), item["reason"])
        for item in tomllib.loads(text)["line"]
    )


def groups(service: str, lines: Iterable[str], harmless: Sequence[Harmless]) -> list[Group]:
    """The errors among lines that each begin with the time they were written (`docker logs --timestamps`),
    the most frequent first."""
    found: dict[str, Group] = {}
    for when, text in _events(lines):
        key = VARYING.sub("#", text)
        seen = found.get(key)
        reason = next(
            (item.reason for item in harmless if item.service == service and item.pattern.search(text)), ""
        )
        found[key] = (
            replace(seen, count=seen.count + 1, last=when)
            if seen
            else Group(service, text[:LONGEST], 1, when, when, reason)
        )
    return sorted(found.values(), key=lambda group: -group.count)


def _events(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Time and text of each error.

    A traceback is one: by oslo.log's line before it, or else by the exception that ends it.
    """
    since = ""
    for line in lines:
        when, _, text = line.rstrip("\n").partition(" ")
        head = OSLO.match(text)
        if since:
            if text and not text.startswith((" ", "\t")):
                yield since, text
                since = ""
        elif text.startswith(TRACEBACK):
            since = when[:19]
        elif head and head["level"] in BAD and head["rest"].startswith("["):
            yield when[:19], CONTEXT.sub("", head["rest"])
        elif not head and TELLS.search(text):
            yield when[:19], STAMP.sub("", text)
