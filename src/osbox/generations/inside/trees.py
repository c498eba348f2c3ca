"""Runs in a container with the volumes of a cloud: keep what is in them, or bring it back.

    trees.py keep N     while the services that write are paused: they hold locks for as long as they are
    trees.py back N     while they are stopped; begun again after a kill, it goes on
    trees.py drop N
    trees.py take N     what was unpacked of a backup is one
    trees.py tidy N,M   what a killed run left of others than these

Databases, keys and rings are copied to /kept, without the zeros in them. Of Swift's objects, which nothing
changes in place, there are hard links, in their own volume: across two mounts there are none. Prints JSON.
Standard library only.
"""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

KEPT = Path("/kept")
COPIED = {
    "mysql": Path("/mysql/data"),
    "keystone-keys": Path("/keystone-keys"),
    "swift-rings": Path("/swift-rings"),
}
"""By their names in /kept; each a directory of a volume, or the volume itself."""
EMPTIED = (Path("/rabbitmq"), Path("/ovn"))
"""Queues of what the databases do not know then; what Neutron fills again from its own."""
INSTALLED = ".installed"
"""Says to `bootstrap` that MariaDB's volume is whole."""
DEVICE, GENERATIONS = Path("/srv/node/d1"), Path("/srv/node/.generations")
# Of Swift's: changed in place, or worthless in a copy; Swift makes them anew.
LEFT_OUT = ("hashes.pkl", "hashes.invalid", ".lock", "auditor_status")
DATABASES = ("accounts", "containers")
BLOCK = 1 << 16  # octets; a hole on the disk is of 4 KiB at least
ZEROS = bytes(BLOCK)


def main(do: str, number: str) -> None:
    begin = time.monotonic()
    counts = {"keep": keep, "back": back, "drop": drop, "take": take, "tidy": tidy}[do](GENERATIONS / number)
    print(json.dumps({**counts, "seconds": round(time.monotonic() - begin, 2)}))


def keep(target: Path) -> dict[str, int]:
    failed: list[BaseException] = []

    def beside() -> None:
        try:
            for name, source in COPIED.items():
                copy(source, KEPT / name, copied)
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    thread = threading.Thread(target=beside)
    thread.start()
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    objects = linked_tree(DEVICE, new)
    thread.join()
    if failed:
        raise failed[0]
    new.rename(target)
    return {"objects": objects}


def back(source: Path) -> dict[str, int]:
    """First all that takes time, beside what is there; then the exchange, a rename each."""
    new = DEVICE.with_name("d1.new")
    shutil.rmtree(new, ignore_errors=True)
    objects = linked_tree(source, new)
    database = COPIED["mysql"]
    fresh = database.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    copy(KEPT / "mysql", fresh, copied)
    for name in ("keystone-keys", "swift-rings"):
        empty(COPIED[name])
        copy(KEPT / name, COPIED[name], copied)
    exchange(database, fresh)
    (database.parent / INSTALLED).touch()  # a volume that is new has none: a restore's
    exchange(DEVICE, new)
    for place in filter(Path.is_dir, EMPTIED):  # a cloud of before OVN has no volume of it
        empty(place)
    os.sync()
    return {"objects": objects}


def drop(target: Path) -> dict[str, int]:
    shutil.rmtree(target, ignore_errors=True)
    return {}


def take(target: Path) -> dict[str, int]:
    """A tar of Swift's objects has its marks of time and its xattrs; what it has not are empty directories of
    locks, which Swift makes."""
    target.with_name(f"{target.name}.new").rename(target)
    return {}


def tidy(known: Path) -> dict[str, int]:
    GENERATIONS.mkdir(exist_ok=True)
    left = [place for place in GENERATIONS.iterdir() if place.name not in known.name.split(",")]
    for place in left:
        shutil.rmtree(place)
    return {"removed": len(left)}


def exchange(place: Path, new: Path) -> None:
    """What was there goes; a kill between the two renames leaves none, and the next run makes it."""
    old = place.with_name(f"{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def empty(place: Path) -> None:
    for entry in place.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def linked_tree(source: Path, target: Path) -> int:
    """A tree of Swift's: objects as links, SQLite databases (and the journals beside them) as copies."""
    objects = 0

    def link(old: Path, new: Path) -> None:
        nonlocal objects
        objects += old.suffix == ".data"
        os.link(old, new)

    target.mkdir(parents=True)
    for top in sorted(source.iterdir()):
        if top.name == "tmp":
            (target / "tmp").mkdir()
        elif top.is_dir():
            copy(top, target / top.name, copied if top.name in DATABASES else link, LEFT_OUT)
    return objects


def copy(
    source: Path, target: Path, one: Callable[[Path, Path], None], without: tuple[str, ...] = ()
) -> None:
    """A directory, file by file."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copystat(source, target)
    for entry in source.iterdir():
        if without and entry.name.startswith(without):
            continue
        if entry.is_symlink():
            (target / entry.name).symlink_to(entry.readlink())
        elif entry.is_dir():
            copy(entry, target / entry.name, one, without)
        elif entry.is_file():  # not a socket
            one(entry, target / entry.name)


def copied(source: Path, target: Path) -> None:
    """A file without the zeros in it: of MariaDB's 177 MB 13 are left."""
    with source.open("rb") as old, target.open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        while block := old.read(BLOCK):
            if block == ZEROS:
                new.seek(BLOCK, os.SEEK_CUR)
            else:
                new.write(block)
        new.truncate(size)
    shutil.copystat(source, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
