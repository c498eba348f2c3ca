"""What MariaDB says of its connections, queries and locks: what of it is too much. Pure.

QUERY   what it is asked, in one go
read    its answer, as values
told    what is amiss, each with what shows it and the next command
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from osbox import plain

LONG_SECONDS = 5  # a control plane's queries take milliseconds
ASKED_SECONDS = 5
QUERY = f"""
SET max_statement_time = {ASKED_SECONDS};
SELECT 'number', VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS
 WHERE VARIABLE_NAME IN ('uptime', 'questions', 'slow_queries', 'threads_connected', 'max_used_connections',
 'connection_errors_max_connections', 'access_denied_errors', 'aborted_connects',
 'innodb_row_lock_time_max', 'innodb_row_lock_waits', 'innodb_deadlocks');
SELECT 'number', VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES
 WHERE VARIABLE_NAME IN ('max_connections', 'long_query_time');
SELECT 'user', USER, COUNT(*) FROM information_schema.PROCESSLIST GROUP BY USER;
SELECT 'query', ID, USER, TIME, STATE, LEFT(INFO, 1000) FROM information_schema.PROCESSLIST
 WHERE COMMAND IN ('Query', 'Execute') AND TIME >= {LONG_SECONDS} AND ID <> CONNECTION_ID()
 ORDER BY TIME DESC LIMIT 20;
"""  # noqa: S608 - of numbers that stand here
# Of the schemas' first statements, and of a disk that was busy once, some are slow in every cloud.
SLOW_AT_LEAST, SLOW_SHARE = 20, 0.001
NEARLY_FULL = 0.8
LOCK_SECONDS = 10  # InnoDB gives up after 50
SHOWN, LONGEST = 3, 200

ESCAPED = re.compile(r"\\(.)", re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "0": "\0"}
# A statement may be cut within one, and even between a backslash and what it stands before.
QUOTED = re.compile(
    r"""'(?:[^'\\]|\\(?:.|\Z)|'')*(?:'|\Z)|"(?:[^"\\]|\\(?:.|\Z)|"")*(?:"|\Z)|`[^`]*(?:`|\Z)|\b0x[0-9a-f]+""",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Statement:
    """One that runs, for so many seconds; its text without values, which may be secrets."""

    number: int
    user: str
    seconds: int
    state: str
    text: str


@dataclass(frozen=True)
class Load:
    """MariaDB's answer: counters since it started, limits, connections by user, what runs long now."""

    numbers: dict[str, float] = field(default_factory=dict)
    users: dict[str, int] = field(default_factory=dict)
    statements: tuple[Statement, ...] = ()

    def __getitem__(self, name: str) -> float:
        return self.numbers.get(name, 0)


@dataclass(frozen=True)
class Remark:
    """A finding, as values."""

    level: Literal["ok", "warning", "error"]
    what: str
    evidence: str
    next: str = ""


def read(answer: str) -> Load:
    """Of `mariadb --batch --skip-column-names`; lines of another kind are left out."""
    numbers, users, statements = dict[str, float](), dict[str, int](), list[Statement]()
    for line in answer.split("\n"):
        match [_unescaped(word) for word in line.split("\t")]:
            case ["number", name, value]:
                numbers[name.lower()] = float(value)
            case ["user", name, value]:
                users[plain.text(name)] = int(value)
            case ["query", number, user, seconds, state, text]:
                one = Statement(
                    int(number), plain.text(user), int(seconds), plain.text(state), without_values(text)
                )
                statements.append(one)
            case _:
                pass
    return Load(numbers, users, tuple(statements))


def _unescaped(word: str) -> str:
    return ESCAPED.sub(lambda found: ESCAPES.get(found[1], found[1]), word)


def without_values(text: str) -> str:
    """A statement on one line, with a question mark for each string: it may be a password of a BMC."""
    text = QUOTED.sub(lambda found: found[0] if found[0].startswith("`") else "?", text)
    line = " ".join(plain.text(text).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def told(load: Load, client: str) -> Iterator[Remark]:
    """What is amiss, or that nothing is. client: the words that reach MariaDB's own client."""
    amiss = [*_connections(load), *_queries(load, client), *_locks(load, client)]
    yield from amiss
    if not amiss:
        yield Remark(
            "ok",
            "the database answers without delay",
            f"{_slow(load)}; {_in_use(load)} connections; no query of {LONG_SECONDS} s or more now",
        )


def _connections(load: Load) -> Iterator[Remark]:
    now, limit = load["threads_connected"], load["max_connections"]
    refused, denied = load["connection_errors_max_connections"], load["access_denied_errors"]
    fewer = "osbox up --workers N, with a smaller N: each process of an API has connections of its own"
    if limit and now >= NEARLY_FULL * limit:
        most = sorted(load.users.items(), key=lambda item: -item[1])
        what = f"{_in_use(load)} connections to the database are in use"
        who = ", ".join(f"{user} {count}" for user, count in most)
        yield Remark("error" if now >= limit else "warning", what, who, fewer)
    elif refused:
        what = f"the database had no connection left for {refused:.0f} that asked for one"
        used = f"up to {load['max_used_connections']:.0f} of {limit:.0f} were in use, {_since(load)}"
        yield Remark("warning", what, used, fewer)
    if denied:
        what = f"the database refused {denied:.0f} logins: wrong user or password"
        seen = f"{_since(load)}; {load['aborted_connects']:.0f} connections ended before a login"
        yield Remark("warning", what, seen, 'osbox plan; the logs that say "Access denied" tell whose')


def _queries(load: Load, client: str) -> Iterator[Remark]:
    slow = load["slow_queries"]
    if slow >= SLOW_AT_LEAST and slow >= SLOW_SHARE * load["questions"]:
        then = "osbox doctor while it is slow names them; vmstat 1 tells whether disk or processor are busy"
        yield Remark("warning", "the database is slow", f"{_slow(load)}, {_since(load)}", then)
    if load.statements:
        shown, more = load.statements[:SHOWN], len(load.statements) - SHOWN
        lines = [f"{one.seconds} s, {one.user}, {one.state or 'no state'}: {one.text}" for one in shown]
        lines += [f"and {more} more"] * (more > 0)
        what = f"a query to the database has been running for {load.statements[0].seconds} s"
        yield Remark("warning", what, "\n".join(lines), f"{client} --execute='SHOW FULL PROCESSLIST'")


def _locks(load: Load, client: str) -> Iterator[Remark]:
    seconds = load["innodb_row_lock_time_max"] / 1000
    if seconds >= LOCK_SECONDS:
        waits, deadlocks = load["innodb_row_lock_waits"], load["innodb_deadlocks"]
        what = f"a transaction waited {seconds:.0f} s for a row that another one held"
        seen = f"waits: {waits:.0f}, deadlocks: {deadlocks:.0f}, {_since(load)}"
        then = f"{client} --execute='SHOW ENGINE INNODB STATUS' says who holds what, while one waits"
        yield Remark("warning", what, seen, then)


def _slow(load: Load) -> str:
    counts = f"{load['slow_queries']:,.0f} of {load['questions']:,.0f} queries"
    return f"{counts} took more than {load['long_query_time']:g} s"


def _in_use(load: Load) -> str:
    return f"{load['threads_connected']:.0f} of {load['max_connections']:.0f}"


def _since(load: Load) -> str:
    hours, minutes = divmod(int(load["uptime"]) // 60, 60)
    return f"since it started {hours} h {minutes} min ago" if hours else f"since it started {minutes} min ago"
