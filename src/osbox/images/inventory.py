"""The images that are there, as `osbox images` shows them: sizes by layer, packages.

What was read once is kept by image id.
"""

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

from osbox import log
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import Error
from osbox.images import catalogue, contents, facts, layers, packages
from osbox.images.catalogue import Image
from osbox.images.labels import RELEASE
from osbox.images.packages import DEBIAN, PYTHON, Package
from osbox.site.site import Paths

RACK = "os-rack"
SITES = ("opt/*/lib/python3*/site-packages", "usr/local/lib/python3*/dist-packages")


Steps = list[
    tuple[str, int, str]
]  # an image's layers, the lowest first: digest, bytes, the instruction that made it


@dataclass(frozen=True)
class Listed:
    """An image that is there, as `osbox images` shows it.

    Sizes are bytes; unique: of layers that no other listed image has.
    """

    name: str
    version: str
    id: str
    bytes: int
    unique: int
    created: str
    user: str
    release: str
    debian: int
    python: int


@dataclass(frozen=True)
class Listing:
    """All listed images.

    total: bytes of their layers, each counted once; rack: how many of them only the rack has.
    """

    images: tuple[Listed, ...]
    total: int
    rack: int


def listing(paths: Paths, engine: Engine) -> tuple[Listing, dict[str, list[Package]]]:
    """The images that are there, of every version, in the catalogue's order; and their packages, by image
    id."""
    tags = docker.ids(engine, "image", "reference=os-*")
    ours = [tag for tag in dict.fromkeys(tags) if tag.partition(":")[0] in catalogue.BY_NAME]
    there = docker.images(engine, *ours)
    entries = {entry.id: entry for entry in there.values()}
    made, inside = (
        steps(paths, engine, list(entries.values())),
        contained(paths, engine, list(entries.values())),
    )
    order = list(catalogue.BY_NAME)
    rows = sorted(
        there.items(), key=lambda row: (row[0].partition(":")[2], order.index(row[0].partition(":")[0]))
    )
    holders = Counter(one for item in made.values() for one in {row[0] for row in item})
    found = tuple(_listed(tag, entry, made[entry.id], inside[entry.id], holders) for tag, entry in rows)
    total, rack = unique(
        {item.name + item.version: made[item.id] for item in found if item.name != RACK},
        {item.name + item.version: made[item.id] for item in found if item.name == RACK},
    )
    facts.forget(paths, entries)
    return Listing(found, total + rack, rack), inside


def unique(images: Mapping[str, Steps], more: Mapping[str, Steps]) -> tuple[int, int]:
    """Bytes of the layers of images, each layer counted once; and how many more come with the other
    images."""
    first = {one: size for item in images.values() for one, size, _ in item}
    second = {one: size for item in more.values() for one, size, _ in item if one not in first}
    return sum(first.values()), sum(second.values())


def _listed(
    tag: str, entry: ImageInfo, steps: Steps, inside: list[Package], holders: Mapping[str, int]
) -> Listed:
    name, _, version = tag.partition(":")
    own = sum(size for one, size, _ in steps if holders[one] == 1)
    kinds = Counter(package.kind for package in inside)
    return Listed(
        name,
        version,
        entry.id,
        sum(size for _, size, _ in steps),
        own,
        entry.created,
        entry.user or "root",
        entry.labels.get(RELEASE, ""),
        kinds[DEBIAN],
        kinds[PYTHON],
    )


def steps(paths: Paths, engine: Engine, entries: Sequence[ImageInfo]) -> dict[str, Steps]:
    """The layers of images, by id."""
    found = {entry.id: facts.kept(paths, entry.id, "layers") for entry in entries}
    new = [entry for entry in entries if found[entry.id] is None]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for entry, made in zip(new, pool.map(lambda entry: layers.steps(engine, entry), new), strict=True):
            found[entry.id] = made
            facts.keep(paths, entry.id, "layers", made)
    return {one: [(str(a), int(b), str(c)) for a, b, c in rows or []] for one, rows in found.items()}


def contained(paths: Paths, engine: Engine, entries: Sequence[ImageInfo]) -> dict[str, list[Package]]:
    """The packages of images, by id: straight from the engine's directories where it has such, else by
    reading the layers."""
    kept = {entry.id: facts.kept(paths, entry.id, "packages") for entry in entries}
    found = {one: [Package(*row) for row in rows] for one, rows in kept.items() if rows is not None}
    slow = []
    for entry in entries:
        if entry.id not in found:
            inside = _from_directories(_directories(entry))
            found |= {entry.id: inside} if inside is not None else {}
            slow += [entry] if inside is None else []
    if slow:
        with log.step(f"Read the packages of {len(slow)} images"):
            read = layers.read(engine, [entry.id for entry in slow], packages.is_wanted)
        found |= {entry.id: of(layers.tree(entry, read)) for entry in slow}
    for one, inside in found.items():
        if kept[one] is None:
            facts.keep(paths, one, "packages", [astuple(package) for package in inside])
    return found


def entry(engine: Engine, image: Image, version: str) -> ImageInfo:
    """What Docker says of an image; raises Error if it is not there."""
    found = docker.image(engine, image.tag(version))
    if not found:
        raise Error(
            f"{image.tag(version)} is not built",
            hint=f"osbox build {image.name}" + (f" --version {version}" if version != "latest" else ""),
        )
    return found


def of(tree: contents.Tree) -> list[Package]:
    """The packages in an image's file system."""
    return [*packages.debian(tree.text(packages.STATUS)), *packages.python(tree.entries)]


def _directories(entry: ImageInfo) -> list[Path]:
    """The directories of an image's layers, the highest first, where the storage driver has one for each;
    else none."""
    places = [Path(name) for name in entry.directories]
    ok = len(places) == len(entry.layers) and all(os.access(place, os.R_OK) for place in places)
    return places if ok else []


def _from_directories(places: Sequence[Path]) -> list[Package] | None:
    """The packages, read from overlay directories; None where there are none.

    A path that a higher layer removed is not there.
    """
    if not places:
        return None
    found = set[Package]()
    for index, place in enumerate(places):
        inside = [path.relative_to(place) for site in SITES for path in place.glob(f"{site}/*.*-info")]
        here = [path for path in inside if not _is_whiteout(f"{place}/{path}")]
        alive = [path for path in here if not any(_hides(higher, path) for higher in places[:index])]
        found.update(packages.python(f"{path}/METADATA" for path in alive))
    status = next((place / packages.STATUS for place in places if (place / packages.STATUS).is_file()), None)
    return [*packages.debian(status.read_text() if status else ""), *sorted(found)]


def _hides(place: Path, path: Path) -> bool:
    """Whether a layer removes a path of a lower one, or a directory that it is in."""
    return _is_whiteout(f"{place}/{path}") or _cuts(str(place), str(path.parent))


@cache
def _cuts(place: str, folder: str) -> bool:
    """Whether a layer removes a directory, empties it, or does so with one above."""
    if folder == ".":
        return False
    with suppress(OSError):
        if os.getxattr(f"{place}/{folder}", "trusted.overlay.opaque") == b"y":
            return True
    return _is_whiteout(f"{place}/{folder}") or _cuts(place, str(Path(folder).parent))


def _is_whiteout(path: str) -> bool:
    """overlayfs writes a character device 0/0 in the place of what a layer removes."""
    with suppress(FileNotFoundError, NotADirectoryError):
        status = os.lstat(path)
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
    return False
