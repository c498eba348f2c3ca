"""What package managers wrote down about themselves in an image: dpkg's database, Python's dist-info
directories, locks. Pure."""

import base64
import csv
import fnmatch
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from functools import lru_cache

from debian.deb822 import Deb822
from packaging.utils import canonicalize_name

STATUS = "var/lib/dpkg/status"
DIST_INFO = re.compile(r"(?:site|dist)-packages/([^/]+)-([^/-]+)\.(?:dist|egg)-info/(?:METADATA|PKG-INFO)$")
PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
OF_DEBIAN = "usr/lib/python3/dist-packages/"
DEBIAN, PYTHON = "debian", "python"
PATCH = ".patch"


@dataclass(frozen=True, order=True)
class Package:
    """One installed package. source, source_version: Debian's source package, which advisories name.

    place: the dist-info directory of a Python one; "" for Debian's.
    """

    kind: str
    name: str
    version: str
    source: str = ""
    source_version: str = ""
    place: str = ""


@dataclass(frozen=True)
class Locked:
    """One line of a lock: version, and the digests of the archives that may be installed."""

    name: str
    version: str
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Patch:
    """A change of ours to a Python package, as its header tells (DEP-3).

    bug: the address of upstream's report.
    """

    name: str
    package: str
    summary: str
    bug: str
    fixed: str
    diff: str


def is_wanted(path: str) -> bool:
    """The files that the functions here read."""
    name = path.rpartition("/")[2]
    return (
        path in (STATUS, "var/lib/dpkg/diversions", "usr/lib/os-release")
        or (path.startswith("var/lib/dpkg/info/") and name.endswith((".md5sums", ".list")))
        or (path.startswith("etc/dpkg/dpkg.cfg.d/"))
        or (".dist-info/" in path and name in ("RECORD", "METADATA"))
        or (".egg-info/" in path and name == "PKG-INFO")
        or (path.startswith("opt/") and name.endswith((".lock", PATCH)))
        or (path.startswith("usr/share/doc/") and name == "copyright")
    )


@lru_cache(maxsize=64)  # images that stand on one another have the same file
def debian(status: str) -> list[Package]:
    """The installed packages of a dpkg status file."""
    found = []
    for entry in Deb822.iter_paragraphs(status.splitlines(keepends=True), use_apt_pkg=False):
        if entry.get("Status", "").split()[-1:] != ["installed"]:
            continue
        name, version = entry["Package"], entry["Version"]
        source, _, rest = entry.get("Source", name).partition(" ")
        found.append(Package(DEBIAN, name, version, source, rest.strip("() ") or version))
    return sorted(found)


def python(paths: Iterable[str]) -> list[Package]:
    """The Python distributions outside Debian's own directory, by the names of their dist-info
    directories."""
    found = []
    for path in paths:
        match = DIST_INFO.search(path)
        if match and not path.startswith(OF_DEBIAN):
            found.append(
                Package(PYTHON, canonicalize_name(match[1]), match[2], place=path.rpartition("/")[0])
            )
    return sorted(found)


def locked(text: str) -> dict[str, Locked]:
    """A hash-locked requirements file, by name."""
    found = dict[str, Locked]()
    for part in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        match = PINNED.match(part)
        if match:
            name = str(canonicalize_name(match[1]))
            found[name] = Locked(name, match[2], tuple(HASH.findall(part)))
    return found


def patch(name: str, text: str) -> Patch:
    """A patch under a header as images/base/apply_patches.py takes it."""
    header = metadata(text)
    said = {key: str(header[key] or "") for key in ("X-Package", "Description", "Bug", "Applied-Upstream")}
    _, _, diff = text.partition("\n--- ")
    summary = said["Description"].splitlines()[0] if said["Description"] else ""
    return Patch(
        name,
        str(canonicalize_name(said["X-Package"])),
        summary,
        said["Bug"],
        said["Applied-Upstream"],
        f"--- {diff}",
    )


def recorded(text: str, place: str) -> Iterator[tuple[str, str]]:
    """The files of a dist-info's RECORD: path in the image, and the hexadecimal SHA-256 ("" where none is
    written)."""
    site = place.rpartition("/")[0]
    for row in csv.reader(io.StringIO(text)):
        if row:
            algorithm, _, value = row[1].partition("=")
            plain = base64.urlsafe_b64decode(value + "==").hex() if algorithm == "sha256" else ""
            yield normal(f"{site}/{row[0]}" if not row[0].startswith("/") else row[0]), plain


def md5sums(text: str) -> Iterator[tuple[str, str]]:
    """The files of a dpkg md5sums file: path as the package has it, and the hexadecimal MD5."""
    for entry in text.splitlines():
        value, _, path = entry.partition("  ")
        yield path, value


def conffiles(status: str) -> Iterator[tuple[str, str]]:
    """The configuration files that packages brought: path, and the hexadecimal MD5 they came with."""
    for entry in Deb822.iter_paragraphs(status.splitlines(keepends=True), use_apt_pkg=False):
        for row in entry.get("Conffiles", "").strip().splitlines():
            words = row.split()
            if words and words[-1] not in ("obsolete", "remove-on-upgrade", "newconffile"):
                yield words[0].lstrip("/"), words[1]


def excluded(rules: str) -> list[str]:
    """The patterns of dpkg's path-exclude lines, the leading slash taken away.

    What a later path-include takes back counts as excluded, too: Debian itself was installed under stricter
    rules.
    """
    lines = (line.strip().partition("=") for line in rules.splitlines())
    return [value.lstrip("/") for key, _, value in lines if key == "path-exclude"]


def is_excluded(path: str, patterns: Iterable[str]) -> bool:
    """Whether dpkg may have left a file out."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def diversions(text: str) -> dict[str, str]:
    """Where dpkg-divert moved files: from the path in a package to the one on the disk, for all but the
    package that diverts."""
    rows = text.splitlines()
    return {rows[index].lstrip("/"): rows[index + 1].lstrip("/") for index in range(0, len(rows) - 2, 3)}


def metadata(text: str) -> "Message[str, str]":
    """The headers of a METADATA file."""
    return HeaderParser().parsestr(text, headersonly=True)


def normal(path: str) -> str:
    """A path without ./ and ../, from the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
