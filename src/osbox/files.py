"""Write a file whole or not at all: whoever is killed, or finds the disk full, leaves the old one.

Text is UTF-8 whatever the locale.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

PRIVATE, PUBLIC, PRIVATE_DIRECTORY, PUBLIC_DIRECTORY = 0o600, 0o644, 0o700, 0o755


def write(
    file: Path,
    content: str | bytes,
    *,
    mode: int | None = None,
    owner: int | None = None,
    shared: bool = False,
) -> None:
    """Have a file with this content, on the disk before it has its name; its directory is made when it is
    missing. Of a link it is written where that leads.

    mode: without one that of the file that was there, or 0644. owner: the user and group it is given, ours
    without one. shared: several processes may be writing it at once, each for itself. Raises OSError, after
    which the old file is as it was.
    """
    if file.is_symlink():
        file = Path(
            os.path.realpath(file)
        )  # the new one lies beside it: across disks it could not be renamed
    if mode is None:
        mode = mode_of(file) if file.exists() else PUBLIC
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}.new" if shared else f"{file.name}.new")
    try:
        _write(new, content.encode() if isinstance(content, str) else content, mode)
        if owner is not None:
            os.chown(new, owner, owner)
        new.rename(file)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
    sync(file.parent)  # a rename is only as durable as its directory


def write_changed(file: Path, content: str | bytes, *, mode: int = PUBLIC, shared: bool = False) -> bool:
    """As `write`, unless the file is that already, mode included; returns whether it was written."""
    if is_so(file, content, mode=mode):
        return False
    write(file, content, mode=mode, shared=shared)
    return True


def is_so(file: Path, content: str | bytes, *, mode: int = PUBLIC) -> bool:
    """Whether there is a file with this content and mode."""
    wanted = content.encode() if isinstance(content, str) else content
    return file.is_file() and mode_of(file) == mode and file.read_bytes() == wanted


def mode_of(file: Path) -> int:
    """The permissions of what is there."""
    return file.stat().st_mode & 0o777


def private_directory(place: Path) -> None:
    """Have a directory for its owner alone, also where one was there that others could read."""
    place.mkdir(parents=True, exist_ok=True)
    if mode_of(place) != PRIVATE_DIRECTORY:
        place.chmod(PRIVATE_DIRECTORY)


def new(file: Path) -> IO[bytes]:
    """A file for its owner alone, to be written. Raises FileExistsError for one that is there."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb")


def _write(new: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, mode)  # it may have been there, and the umask is a person's
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)


def sync(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
