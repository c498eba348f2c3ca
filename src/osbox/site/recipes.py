"""The recipes where every engine sees them: a copy in the state directory, by a digest of what is in it.

The private engine sees the state directory and nothing else of this machine, so that it is nobody's in
particular: several clones and an installed wheel may use it at the same time. Nobody edits a copy, so an
image is built of the very files whose digest it gets; and its modes are those that git knows, so it is the
same image whatever the umask of the clone was, or whatever installed the wheel.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from osbox import lock
from osbox.site import package
from osbox.site.package import Entry
from osbox.site.site import Paths

CONTEXT = (".dockerignore", "images/", "releases/")  # what builds read
COMPOSE = ("compose/",)
DIGEST_LENGTH = 16
NOTED_SECONDS, OLD_SECONDS = 3600, 86400  # a use is noted once an hour; what was not used for a day goes


def frozen(paths: Paths) -> Paths:
    """The same paths with a project that does not change: what to build from."""
    return Paths(_copy(paths, "images", CONTEXT), paths.home)


def compose(paths: Paths) -> Path:
    """The folder of the Compose files."""
    return _copy(paths, "compose", COMPOSE) / "compose"


def lay_out(target: Path, found: Sequence[Entry]) -> None:
    """Write files and links into a new directory. Their times are those of now: BuildKit takes a file of the
    same size and time for the one that it has."""
    for entry in found:
        path = target / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.mode == package.LINK:
            path.symlink_to(entry.content.decode())
        else:
            path.write_bytes(entry.content)
            path.chmod(entry.mode & 0o777)
    for directory in (
        target,
        *(path for path in target.rglob("*") if path.is_dir() and not path.is_symlink()),
    ):
        directory.chmod(0o755)


def _copy(paths: Paths, name: str, tops: Sequence[str]) -> Path:
    if paths.project.parent == paths.recipes:
        return paths.project  # it is one
    found = list(package.entries(paths.project, *tops))
    target = paths.recipes / f"{name}-{_digest(found)}"
    if not (_note_use(target) and _is_whole(target, found, tops)):
        _put(target, found, tops)
    return target


def _note_use(target: Path) -> bool:
    """Whether it is there; before it is looked at, so that nobody removes it after that."""
    if target.parent.is_dir():
        with lock.alone(target.parent), suppress(FileNotFoundError):
            if time.time() - target.stat().st_mtime > NOTED_SECONDS:
                os.utime(target)
            return True
    return False


def _is_whole(target: Path, found: Sequence[Entry], tops: Sequence[str]) -> bool:
    """Whether a copy is what it is called: a power cut may leave empty files."""
    return target.is_dir() and list(package.entries(target, *tops)) == found


def _put(target: Path, found: Sequence[Entry], tops: Sequence[str]) -> None:
    """Have the copy, whole or not at all; those that were long not used go."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=target.parent) as scratch:
        _prune(target.parent, Path(scratch))
        new = Path(scratch, "new")
        new.mkdir()
        lay_out(new, found)
        if target.is_dir() and not _is_whole(target, found, tops):
            target.rename(Path(scratch, "broken"))
        try:
            new.rename(target)
        except OSError:
            if not _is_whole(target, found, tops):  # else another osbox was quicker
                raise


def _prune(top: Path, away: Path) -> None:
    """Put away what was long not used: under the lock, so that it is not in use a moment later."""
    with lock.alone(top):
        for old in top.iterdir():
            with suppress(FileNotFoundError):  # a directory of another osbox, which put it away
                if time.time() - old.lstat().st_mtime > OLD_SECONDS:
                    old.rename(away / old.name)


def _digest(found: Sequence[Entry]) -> str:
    total = hashlib.sha256()
    for entry in found:
        total.update(f"{entry.name}\0{entry.mode:o}\0{len(entry.content)}\0".encode() + entry.content)
    return total.hexdigest()[:DIGEST_LENGTH]
