"""What is in the layers of an image, read without starting it: nothing of the build, of this machine, or that
nobody needs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from osbox.images import packages
from osbox.images.contents import DIRECTORY, FILE, LINK, Tree
from osbox.imagetests.subject import Subject

SET_ID, WORLD_WRITABLE, STICKY = 0o6000, 0o002, 0o1000
EVIDENCE = 3  # paths that a line names

# What no final image has, as shell patterns of paths (* matches / too).
LEFT = {
    "a build tool": (
        "*/bin/cc",
        "*/bin/gcc*",
        "*/bin/g++*",
        "*/bin/make",
        "*/bin/ld",
        "*/bin/pip",
        "*/bin/pip3*",
        "*/bin/uv",
        "*/bin/uvx",
        "*/bin/git",
        "opt/uv/*",
        "*/site-packages/pip/*",
        "*/site-packages/uv/*",
    ),
    "package lists or a cache": (
        "var/lib/apt/lists/*_*",
        "var/cache/apt/*.bin",
        "var/cache/apt/archives/*.deb",
        "root/.cache/*",
        "root/.config/*",
        "var/lib/stack/.cache/*",
    ),
    "settings of the build": (
        "etc/pip.conf",
        "etc/uv/*",
        "run/secrets/*",
        "etc/apt/sources.list*",
        "etc/apt/apt.conf.d/99*",
    ),
    "something temporary": ("tmp/*", "var/tmp/*", "*.dpkg-old", "*.dpkg-new"),
    "documentation": (
        "usr/share/doc/*",
        "usr/share/man/*",
        "usr/share/info/*",
        "*/site-packages/*/docs/*.rst",
    ),
    "translations": ("usr/share/locale/*", "usr/share/i18n/*", "*/site-packages/*/locale/*/LC_MESSAGES/*"),
    "tests": (
        "*/site-packages/*/tests/*",
        "*/site-packages/*/test/*",
        "*/site-packages/tests/*",
        "*/site-packages/test/*",
    ),
}
COPYRIGHT = re.compile(r"usr/share/doc/([^/]+|.*/copyright)")
LICENCE_FIELDS = ("License", "License-Expression", "License-File")


def set_id_files(subject: Subject) -> Iterator[str]:
    """No program lends its owner's rights: no setuid or setgid bit beyond the list."""
    entries = subject.read().tree.entries
    bits = (path for path, entry in entries.items() if entry.kind == FILE and entry.mode & SET_ID)
    yield from _told("has the setuid or setgid bit", _beyond(bits, subject.exceptions("setuid")))


def world_writable(subject: Subject) -> Iterator[str]:
    """Nobody but its owner and group may write to a path; all may to a directory with the sticky bit."""
    entries = subject.read().tree.entries
    paths = (
        path
        for path, entry in entries.items()
        if entry.mode & WORLD_WRITABLE
        and entry.kind in (FILE, DIRECTORY)
        and not (entry.kind == DIRECTORY and entry.mode & STICKY)
    )
    yield from _told("is writable for everybody", _beyond(paths, subject.exceptions("writable")))


def leaks(subject: Subject) -> Iterator[str]:
    """This machine is not in it: no secret, path, proxy or package source in its files, its settings or its
    history."""
    told = subject.info.config.encode() + subject.history.encode()
    yield from (
        f"its settings or its history name {what}"
        for what, needle in subject.needles.items()
        if needle in told
    )
    yield from (f"/{path} holds {what}" for path, what in subject.read().found)


def leftovers(subject: Subject) -> Iterator[str]:
    """Nothing is left of the build, and nothing is inside that nobody needs in a container."""
    entries = subject.read().tree.entries
    known = subject.exceptions("leftovers")
    for what, patterns in LEFT.items():
        found = (
            path
            for path in _matching(entries, patterns)
            if entries[path].kind != DIRECTORY and not COPYRIGHT.fullmatch(path)
        )
        yield from _told(f"is left behind ({what})", _beyond(found, known))


def bytecode(subject: Subject) -> Iterator[str]:
    """Every module of a virtual environment has its bytecode, and every bytecode its source, of no later
    layer.

    Python runs bytecode without a look at the source here: what a layer changes and does not compile goes on
    as it was.
    """
    files = subject.read()
    entries = files.tree.entries
    known = subject.exceptions("bytecode")
    sources = [path for path in _matching(entries, ("opt/*/lib/*.py",)) if entries[path].kind == FILE]
    compiled = {_source(path): path for path in entries if path.endswith(".pyc")}
    yield from _told("has no bytecode", _beyond((path for path in sources if path not in compiled), known))
    orphans = (path for source, path in compiled.items() if source not in entries)
    yield from _told("is bytecode without a source", _beyond(orphans, known))
    stale = (
        path
        for source, path in compiled.items()
        if source in entries and files.layer[source] > files.layer[path]
    )
    yield from _told("is bytecode of an older source", stale)


def licences(subject: Subject) -> Iterator[str]:
    """Every Debian package has its copyright file, every Python distribution a licence in its metadata or
    beside it."""
    tree = subject.read().tree
    known = subject.exceptions("licences")
    debian = [package.name for package in packages.debian(tree.text(packages.STATUS))]
    without = (name for name in debian if not _has_copyright(tree, name))
    yield from _told("has no copyright file", _beyond(without, known), prefix="the package ")
    python = (path for path in tree.texts if packages.DIST_INFO.search(path))
    bare = (path.split("/")[-2] for path in python if not _has_licence(tree, path))
    yield from _told("names no licence", _beyond(bare, known), prefix="the distribution ")


def _has_copyright(tree: Tree, package: str) -> bool:
    """A package's directory of documentation may be a link to that of another one, of the same source."""
    place = f"usr/share/doc/{package}"
    entry = tree.entries.get(place)
    if entry and entry.kind == LINK:
        place = packages.normal(entry.link if entry.link.startswith("/") else f"usr/share/doc/{entry.link}")
    return f"{place}/copyright" in tree.entries


def _has_licence(tree: Tree, metadata: str) -> bool:
    headers = packages.metadata(tree.text(metadata))
    named = any(headers.get(field, "").strip() not in ("", "UNKNOWN") for field in LICENCE_FIELDS)
    classified = any(text.startswith("License ::") for text in headers.get_all("Classifier") or [])
    folder = metadata.rpartition("/")[0]
    return (
        named
        or classified
        or any(path.startswith(folder) and "licen" in path.lower() for path in tree.entries)
    )


def _source(compiled: str) -> str:
    """The .py that a .pyc is of, by its path."""
    path = PurePosixPath(compiled)
    if path.parent.name != "__pycache__":
        return f"{path.with_suffix('')}.py"
    return str(path.parent.parent / (path.name.partition(".")[0] + ".py"))


def _matching(paths: Mapping[str, object], patterns: Sequence[str]) -> Iterator[str]:
    expression = re.compile("|".join(_expression(pattern) for pattern in patterns))
    return (path for path in paths if expression.fullmatch(path))


def _expression(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*")


def _beyond(paths: Iterator[str], known: Mapping[str, str]) -> Iterator[str]:
    """Those that no exception names."""
    return (path for path in paths if not any(fnmatchcase(path, pattern.lstrip("/")) for pattern in known))


def _told(what: str, paths: Iterator[str], prefix: str = "/") -> Iterator[str]:
    """One line for all paths with the same defect: the first ones by name, and how many more."""
    found = sorted(paths)
    if found:
        more = f" and {len(found) - EVIDENCE} more" if len(found) > EVIDENCE else ""
        names = ", ".join(
            f"{prefix}{path}" if index == 0 or prefix == "/" else path
            for index, path in enumerate(found[:EVIDENCE])
        )
        yield f"{what}: {names}{more}"
