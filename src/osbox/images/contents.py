"""What is in an image, file by file: the layers one over the other, and a digest of them that knows no times.

Pure.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FILE, DIRECTORY, LINK = "file", "directory", "link"
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path in a layer.

    link: where a symbolic link leads; sha256 and md5: of a file's content; more: extended attributes.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    link: str = ""
    size: int = 0
    sha256: str = ""
    md5: str = ""
    more: str = ""


@dataclass(frozen=True)
class Layer:
    """One layer as it was read.

    diff_id: the digest that was computed of it; texts: the contents of the few files that are wanted; notes:
    what was noted of files while they were read.
    """

    diff_id: str
    entries: Mapping[str, Entry]
    texts: Mapping[str, bytes] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Tree:
    """The file system that a container of the image would see."""

    entries: Mapping[str, Entry]
    texts: Mapping[str, bytes]

    def text(self, path: str) -> str:
        """The text of a wanted file, symbolic links not followed; "" if it is not there."""
        return self.texts.get(path, b"").decode(errors="replace")


def merge(layers: Iterable[Layer]) -> Tree:
    """One over the other, the lowest first, with OCI's whiteouts."""
    entries: dict[str, Entry] = {}
    texts: dict[str, bytes] = {}
    for layer in layers:
        gone, emptied = _removed(layer, entries)
        if gone or emptied:
            entries = {path: entry for path, entry in entries.items() if not _is_under(path, gone, emptied)}
        for path, entry in layer.entries.items():
            if not _name(path).startswith(WHITEOUT):
                entries[path] = entry
                texts.pop(path, None)
        texts.update(layer.texts)
    return Tree(entries, {path: text for path, text in texts.items() if path in entries})


def digest(entries: Mapping[str, Entry]) -> str:
    """A digest of all but the times: path, kind, mode, owner, target, content, extended attributes."""
    total = hashlib.sha256()
    for path in sorted(entries):
        total.update((line(entries[path]) + "\n").encode(errors="surrogateescape"))
    return f"sha256:{total.hexdigest()}"


def line(entry: Entry) -> str:
    """One entry as a line; what differs between two lines differs between the two files."""
    words = (
        entry.path,
        entry.kind,
        f"{entry.mode:04o}",
        f"{entry.uid}:{entry.gid}",
        entry.link,
        entry.sha256,
        entry.more,
    )
    return "\0".join(words)


def content(layers: Sequence[str]) -> str:
    """A digest of an image's content: the same in every engine, whichever way that numbers its images."""
    return hashlib.sha256("\n".join(layers).encode()).hexdigest()


def _removed(layer: Layer, below: Mapping[str, Entry]) -> tuple[set[str], set[str]]:
    """Paths that a layer takes away, and directories that it empties."""
    gone, emptied = set(), set()
    for path, entry in layer.entries.items():
        name = _name(path)
        if name == OPAQUE:
            emptied.add(path[: -len(name) - 1])
        elif name.startswith(WHITEOUT):
            gone.add(path[: -len(name)] + name.removeprefix(WHITEOUT))
        elif path in below and below[path].kind == DIRECTORY and entry.kind != DIRECTORY:
            emptied.add(path)
    return gone, emptied


def _is_under(path: str, gone: set[str], emptied: set[str]) -> bool:
    if path in gone:
        return True
    while "/" in path:
        path = path.rpartition("/")[0]
        if path in gone or path in emptied:
            return True
    return False


def _name(path: str) -> str:
    return path.rpartition("/")[2]
