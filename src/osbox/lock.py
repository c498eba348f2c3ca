"""One at a time: a lock on a file or a directory that ends with the process that holds it, and says who that
is."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from osbox import log
from osbox.errors import UserError

MODE = 0o644
FULL = (errno.ENOSPC, errno.EDQUOT)
LONGEST = 200  # bytes of who holds it


class RemovedError(UserError):
    """While we waited for a lock, the directory that it is in was removed."""


@contextmanager
def alone(
    place: Path, busy: str = "", who: str = "", *, anew: bool = True, frees: bool = False
) -> Iterator[None]:
    """Hold the lock on a file, made when it is missing, or on a directory that is there; whoever comes second
    waits.

    busy: what a second one says when it has to wait, `busy (osbox up, process 123): this one goes on when it
    has ended`; of a directory it does not know who holds it. who: what the holder of a file calls itself
    there. anew: make the directory of a file again when it was removed while we waited; else RemovedError is
    raised. frees: who holds it is about to free the disk, and goes on without a file where there is no room
    for one: what is not there nobody holds. Ctrl-C is heard meanwhile. Not to be taken twice by one process.
    """
    directory, descriptor = place.is_dir(), -1
    try:
        descriptor = _held(place, busy, directory=directory, anew=anew)
    except OSError as error:
        if not frees or error.errno not in FULL:
            raise
    try:
        if descriptor >= 0 and not directory:
            with suppress(OSError):  # a full disk: who waits is not told for whom, but it waits
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, f"{who}{', ' if who else ''}process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)  # and the lock with it


def _held(place: Path, busy: str, *, directory: bool, anew: bool) -> int:
    """A descriptor that holds the lock.

    A file that was removed while we waited (osbox down --purge) locks nothing: the one that lies there now
    does.
    """
    waited = False
    while True:
        if waited and not anew and not place.parent.is_dir():
            raise RemovedError(f"{place.parent} was removed while this waited", hint="osbox up")
        if not directory:
            place.parent.mkdir(parents=True, exist_ok=True)
        # Not truncated when it is opened: it says who holds it.
        descriptor = os.open(place, os.O_RDONLY if directory else os.O_RDWR | os.O_CREAT, MODE)
        try:
            _wait(descriptor, "" if directory else place.name, busy)
            if directory or _is_at(descriptor, place):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        waited = True


def _is_at(descriptor: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False


def _wait(descriptor: int, name: str, busy: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if busy:
            holder = os.pread(descriptor, LONGEST, 0).decode(errors="replace").strip() if name else ""
            log.say(f"{busy} ({holder or 'another process'}): this one goes on when it has ended")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
