"""The files of the project that images are built of, as values."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAM, PLAIN, LINK = 0o100755, 0o100644, 0o120777
"""The modes that git knows, and so those that two clones agree on, whatever the umask was."""
IGNORED = "__pycache__"


@dataclass(frozen=True)
class Entry:
    """A file or link of the project by its name in the checkout. content: of a link, where it leads."""

    name: str
    mode: int
    content: bytes


def entries(project: Path, *tops: str) -> Iterator[Entry]:
    """The files and links that lie below these folders, and files of these names, sorted."""
    found = {
        str(path.relative_to(project)): path
        for top in tops
        for path in ((project / top).rglob("*") if top.endswith("/") else [project / top])
        if IGNORED not in path.parts
    }
    for name, path in sorted(found.items()):
        if path.is_symlink():
            yield Entry(name, LINK, str(path.readlink()).encode())
        elif path.is_file():
            yield Entry(name, PROGRAM if path.stat().st_mode & 0o100 else PLAIN, path.read_bytes())
