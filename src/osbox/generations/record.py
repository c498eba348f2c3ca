"""What is written down of each generation, and where it lies."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from osbox import files, log
from osbox.errors import Error, UserError
from osbox.site import secrets
from osbox.site.site import Paths

RECORD = "generation.json"
GOING_BACK, UPGRADE, RESTORE = "going-back.json", "upgrade.json", "restore"
VOLUMES, HOST = "volumes", "host"
"""In a generation's directory: what is kept of the volumes, readable by the images' user; of the state
directory, root's alone."""
Things = Mapping[str, Mapping[str, str]]
"""By kind (server, user, image, …) the id of each and its name."""
Nodes = Mapping[str, tuple[str, str]]
"""By Ironic's uuid: the provision state, and the server's id or ""."""


@dataclass(frozen=True)
class Generation:
    """number: from 1. time: UTC, ISO 8601. release, version: of the images that ran; images: by service the
    tag and the id of its image. objects: how many Swift had. seconds: how long writers were paused. lasting:
    it never goes by age or number."""

    number: int
    time: str
    reason: str
    release: str
    version: str
    images: Mapping[str, tuple[str, str]]
    things: Things
    nodes: Nodes
    objects: int = 0
    seconds: float = 0.0
    lasting: bool = False


@dataclass(frozen=True)
class GoingBack:
    """A way back that is under way: to which generation, from which (0: that was not kept), and how nodes
    were before. exchanged: what the generation has is there, and only the services are to come up."""

    to: int
    origin: int
    nodes: Nodes = field(default_factory=dict)
    exchanged: bool = False


@dataclass(frozen=True)
class Upgrade:
    """One that is under way: from which generation, and to which release."""

    origin: int
    release: str


def place(paths: Paths, number: int) -> Path:
    """The directory of a generation."""
    return paths.generations / str(number)


def all_of(paths: Paths) -> list[Generation]:
    """All that are whole, the oldest first."""
    return sorted(_read(paths), key=lambda one: one.number)


def find(paths: Paths, number: int | None) -> Generation:
    """The one of that number, the last without one; raises UserError."""
    known = all_of(paths)
    if not known:
        raise UserError("there is no generation to go back to", hint="osbox generation create keeps one")
    found = [one for one in known if number in (None, one.number)]
    if not found:
        numbers = ", ".join(str(one.number) for one in known)
        raise UserError(
            f"there is no generation {number}", hint=f"there are {numbers}: osbox generation list"
        )
    return found[-1]


def next_number(paths: Paths) -> int:
    """One more than all that are there, also of what a killed run left."""
    names = [entry.name.removesuffix(".new") for entry in _entries(paths)]
    return max((int(name) for name in names if name.isdigit()), default=0) + 1


def numbers(paths: Paths) -> list[int]:
    """Of all that have their names, also those whose record cannot be read."""
    return sorted(int(entry.name) for entry in _entries(paths) if entry.name.isdigit())


def needed(paths: Paths) -> set[int]:
    """Those that a way back or an upgrade which is under way may have to go to."""
    way, upgrade = going_back(paths), upgrading(paths)
    return {*((way.to, way.origin) if way else ()), *((upgrade.origin,) if upgrade else ())}


def tidy(paths: Paths) -> None:
    """Remove what a run left that was killed, or ended by a full disk."""
    for left in paths.generations.glob("*.new"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def begin(paths: Paths, number: int) -> Path:
    """An empty directory for a generation, not yet under its name."""
    files.private_directory(paths.generations)
    tidy(paths)
    new = paths.generations / f"{number}.new"
    files.private_directory(new)
    files.private_directory(new / HOST)
    volumes = new / VOLUMES
    files.private_directory(volumes)
    os.chown(volumes, secrets.UID, secrets.UID)
    return new


def end(paths: Paths, new: Path, generation: Generation) -> None:
    """It is whole, on the disk too, and has its name."""
    os.sync()
    _write(new, generation)
    new.rename(place(paths, generation.number))
    files.sync(paths.generations)


def going_back(paths: Paths) -> GoingBack | None:
    """The way back that was begun and has not ended."""
    file = paths.generations / GOING_BACK
    if not file.is_file():
        return None
    found = _json(file)
    return GoingBack(**{**found, "nodes": _nodes(found["nodes"])})


def set_out(paths: Paths, way: GoingBack) -> None:
    files.write(paths.generations / GOING_BACK, json.dumps(asdict(way)), mode=files.PRIVATE)


def arrived(paths: Paths) -> None:
    """The way back has ended; and with it an upgrade from there."""
    end_upgrade(paths)
    (paths.generations / GOING_BACK).unlink(missing_ok=True)


def begin_upgrade(paths: Paths, upgrade: Upgrade) -> None:
    files.write(paths.generations / UPGRADE, json.dumps(asdict(upgrade)), mode=files.PRIVATE)


def upgrading(paths: Paths) -> Upgrade | None:
    """The upgrade that was begun, and is not proved."""
    file = paths.generations / UPGRADE
    return Upgrade(**_json(file)) if file.is_file() else None


def end_upgrade(paths: Paths) -> None:
    (paths.generations / UPGRADE).unlink(missing_ok=True)


def begin_restore(paths: Paths) -> None:
    """From here on the cloud is no more than what a backup is restored onto."""
    files.private_directory(paths.generations)
    files.write(paths.generations / RESTORE, "", mode=files.PRIVATE)


def restoring(paths: Paths) -> bool:
    """Whether a restore was begun, and nothing else has had the cloud since."""
    return (paths.generations / RESTORE).is_file()


def end_restore(paths: Paths) -> None:
    (paths.generations / RESTORE).unlink(missing_ok=True)


def last(paths: Paths, generation: Generation) -> Generation:
    """Have a generation never go by itself; as it is then."""
    found = replace(generation, lasting=True)
    _write(place(paths, found.number), found)
    return found


def _write(directory: Path, generation: Generation) -> None:
    files.write(directory / RECORD, json.dumps(asdict(generation), indent=1), mode=files.PRIVATE)


def due(known: Sequence[Generation], number: int, days: int, now: datetime) -> list[Generation]:
    """Those that go: of those that osbox kept by itself all but the youngest so many, and those that are
    older than so many days; never the youngest of all. Pure."""
    passing = [one for one in sorted(known, key=lambda one: one.number) if not one.lasting]
    youngest = max((one.number for one in known), default=0)
    old = [one for one in passing if now - datetime.fromisoformat(one.time) > timedelta(days=days)]
    many = passing[: max(0, len(passing) - number)]
    return [one for one in passing if one in [*old, *many] and one.number != youngest]


def require_none_under_way(paths: Paths) -> None:
    """Raise Error while a way back was begun and has not ended: the cloud is neither one nor the other."""
    way = going_back(paths)
    if way:
        other = f"; osbox rollback {way.origin} takes it back" if way.origin else ""
        raise Error(
            f"the cloud is on its way back to generation {way.to}, which was interrupted",
            hint=f"osbox rollback {way.to} goes on{other}",
        )


def octets(paths: Paths, number: int) -> int:
    """What a generation takes of the disk, without the objects that it shares with Swift."""
    found = place(paths, number).rglob("*")
    return sum(file.lstat().st_blocks * 512 for file in found)


def read(found: Mapping[str, Any]) -> Generation:
    """A generation as JSON has it. Raises KeyError, TypeError, AttributeError or ValueError for what is
    none."""
    images = {name: (one[0], one[1]) for name, one in found["images"].items()}
    return Generation(**{**found, "images": images, "nodes": _nodes(found["nodes"])})


def _json(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise Error(
            f"{file} cannot be read", evidence=str(error), hint="remove it when you know what was under way"
        ) from error
    return found


def _entries(paths: Paths) -> list[Path]:
    return list(paths.generations.iterdir()) if paths.generations.is_dir() else []


def _read(paths: Paths) -> Iterator[Generation]:
    for entry in _entries(paths):
        file = entry / RECORD
        if entry.name.isdigit() and file.is_file():
            try:
                yield read(json.loads(file.read_text()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                why = f"generation {entry.name} cannot be read ({error!r:.80})"
                log.warn(f"{why}: there is no way back to it; osbox generation remove {entry.name}")


def _nodes(found: Mapping[str, Any]) -> Nodes:
    return {uuid: (state, server) for uuid, (state, server) in found.items()}
