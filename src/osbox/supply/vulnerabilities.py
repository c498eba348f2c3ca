"""Known vulnerabilities of packages, from databases that the operator put into $OSBOX_HOME/vulnerabilities:
no network is used.

A database is an export of OSV (osv.dev): a zip file with a JSON document for each vulnerability, as all.zip
of an ecosystem is published. Those of PyPI and Debian are used. An index of them is made once and again when
a file changes.
"""

import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debian.debian_support import Version as DebianVersion
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion
from packaging.version import Version as PythonVersion

from osbox import log
from osbox.errors import UserError
from osbox.images.packages import DEBIAN, PYTHON, Package
from osbox.site.site import Paths

ECOSYSTEMS = {"PyPI": PYTHON, "Debian:13": DEBIAN}  # OSV's name for the Debian that images are made of
INDEX = "vulnerabilities.sqlite"
FORMAT = 1


@dataclass(frozen=True)
class Finding:
    """One vulnerability of one package.

    fixed: the first version without it, or ""; severity: a word, a CVSS vector, or "".
    """

    package: str
    version: str
    id: str
    fixed: str
    severity: str
    aliases: tuple[str, ...] = ()


class Database:
    """The index over the operator's files."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def of(self, packages: Iterable[Package]) -> list[Finding]:
        """What is known of these packages, each vulnerability once, however many names it has."""
        with closing(sqlite3.connect(self._file)) as index:
            found = [finding for package in packages for finding in _of_one(index, package)]
        return sorted(found, key=lambda item: (item.package, item.id))


def find(paths: Paths) -> Database | None:
    """The database at hand, its index brought up to date; None when there is none.

    Raises UserError for a file that is none.
    """
    files = sorted(paths.vulnerabilities.glob("*.zip"))
    if not files:
        return None
    state = json.dumps(
        [FORMAT, [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]]
    )
    index = paths.inventory / INDEX  # what is in the other directory is the operator's
    if not index.is_file() or _state(index) != state:
        with log.step("Index the databases of vulnerabilities"):
            _make(index, files, state)
    return Database(index)


def _state(index: Path) -> str:
    try:
        with closing(sqlite3.connect(index)) as made:
            return str(made.execute("SELECT value FROM state").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return ""


def _make(index: Path, files: Iterable[Path], state: str) -> None:
    index.parent.mkdir(parents=True, exist_ok=True)
    new = index.with_suffix(".new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new)) as made:
        made.execute("CREATE TABLE advisory (kind TEXT, name TEXT, text TEXT)")
        made.execute("CREATE TABLE state (value TEXT)")
        for file in files:
            made.executemany("INSERT INTO advisory VALUES (?, ?, ?)", _advisories(file))
        made.execute("CREATE INDEX by_name ON advisory (kind, name)")
        made.execute("INSERT INTO state VALUES (?)", (state,))
        made.commit()
    new.rename(index)


def _advisories(file: Path) -> Iterator[tuple[str, str, str]]:
    """The rows of one export: kind and name of the package, and what is said of it."""
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield from _rows(json.loads(archive.read(name)))
    except (zipfile.BadZipFile, ValueError, KeyError) as error:
        raise UserError(
            f"{file} is no OSV export: {error}",
            hint="take all.zip of PyPI or Debian as OSV publishes it, or remove the file",
        ) from error


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if document.get("withdrawn"):
        return
    for affected in document.get("affected", []):
        package = affected.get("package", {})
        kind = ECOSYSTEMS.get(package.get("ecosystem", ""))
        if kind:
            name = str(canonicalize_name(package["name"])) if kind == PYTHON else package["name"]
            short = {
                "id": document["id"],
                "aliases": [*document.get("aliases", []), *document.get("upstream", [])],
                "severity": _severity(document, affected),
                "versions": affected.get("versions", []),
                "ranges": [
                    item["events"] for item in affected.get("ranges", []) if item.get("type") == "ECOSYSTEM"
                ],
            }
            yield kind, name, json.dumps(short)


def _severity(document: Mapping[str, Any], affected: Mapping[str, Any]) -> str:
    words = [
        (affected.get("ecosystem_specific") or {}).get("urgency"),
        (document.get("database_specific") or {}).get("severity"),
        *(item.get("score") for item in [*affected.get("severity", []), *document.get("severity", [])]),
    ]
    return next((str(word).lower() if str(word).isalpha() else str(word) for word in words if word), "")


def _of_one(index: sqlite3.Connection, package: Package) -> list[Finding]:
    name, version = (
        (package.source, package.source_version)
        if package.kind == DEBIAN
        else (package.name, package.version)
    )
    found: list[Finding] = []
    for (text,) in index.execute(
        "SELECT text FROM advisory WHERE kind = ? AND name = ?", (package.kind, name)
    ):
        advisory = json.loads(text)
        fixed = affected(package.kind, version, advisory)
        if fixed is not None:
            found.append(
                Finding(
                    package.name,
                    package.version,
                    advisory["id"],
                    fixed,
                    advisory["severity"],
                    tuple(advisory["aliases"]),
                )
            )
    return _once(found)


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """One of those that are the same under several names: the one that knows the fix, then the first."""
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda item: (not item.fixed, item.id)):
        names = {finding.id, *finding.aliases}
        if not any(names & {other.id, *other.aliases} for other in kept):
            kept.append(finding)
    return kept


def affected(kind: str, version: str, advisory: Mapping[str, Any]) -> str | None:
    """Whether a version is affected: the version that fixes it ("" if none does), or None if it is not
    affected."""
    order: Callable[[str], Any] = DebianVersion if kind == DEBIAN else PythonVersion
    try:
        mine = order(version)
        for events in advisory["ranges"]:
            fix = _in_range(mine, events, order)
            if fix is not None:
                return fix
    except (InvalidVersion, ValueError):
        return "" if version in advisory["versions"] else None
    return "" if version in advisory["versions"] and not advisory["ranges"] else None


def _in_range(mine: Any, events: Iterable[Mapping[str, str]], order: Callable[[str], Any]) -> str | None:
    """OSV's rule: affected from `introduced` on (0 is before all), until `fixed` or after `last_affected`."""
    inside, introduced = False, False
    for event in events:
        if "introduced" in event:
            inside = introduced = event["introduced"] == "0" or mine >= order(event["introduced"])
        elif "fixed" in event and introduced:
            if mine < order(event["fixed"]):
                return event["fixed"]
            inside = introduced = False
        elif "last_affected" in event and mine > order(event["last_affected"]):
            inside = introduced = False
    return "" if inside else None
