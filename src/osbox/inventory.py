"""The images that are there, as `osbox images` shows them: sizes by layer, packages. What was read once is kept by image id."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osbox import docker, layers, log
from osbox.engine import Engine
from osbox.model import catalogue, contents, packages
from osbox.model.packages import DEBIAN, PYTHON, Package
from osbox.model.site import Paths

RELEASE = "io.osbox.release"
RACK = "os-rack"
SITES = ("opt/*/lib/python3*/site-packages", "usr/local/lib/python3*/dist-packages")
FORMAT = 1  # of the kept files; another number and they are read anew


@dataclass(frozen=True)
class Known:
    """What never changes about an image id: its layers with their bytes and instructions, and its packages."""

    layers: tuple[tuple[str, int, str], ...]
    packages: tuple[Package, ...]


@dataclass(frozen=True)
class Listed:
    """An image that is there, as `osbox images` shows it. Sizes are bytes; unique: of layers that no other listed image has."""

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
    """All listed images. total: bytes of their layers, each counted once; rack: how many of them only the rack has."""

    images: tuple[Listed, ...]
    total: int
    rack: int


def listing(paths: Paths, engine: Engine) -> tuple[Listing, dict[str, Known]]:
    """The images that are there, of every version, in the catalogue's order; and what is known of them, by image id."""
    tags = docker.ids(engine, "image", "reference=os-*")
    ours = [tag for tag in dict.fromkeys(tags) if tag.partition(":")[0] in catalogue.BY_NAME]
    entries = {entry["Id"]: entry for entry in docker.inspect(engine, "image", *ours)}
    known = look(paths, engine, list(entries.values()))
    rows = [(tag, entry) for entry in entries.values() for tag in entry["RepoTags"] if tag in ours]
    order = list(catalogue.BY_NAME)
    rows.sort(key=lambda row: (row[0].partition(":")[2], order.index(row[0].partition(":")[0])))
    sizes = {one: size for item in known.values() for one, size, _ in item.layers}
    holders = Counter(one for item in known.values() for one in {row[0] for row in item.layers})
    found = tuple(_listed(tag, entry, known[entry["Id"]], holders) for tag, entry in rows)
    others = {row[0] for item in found if item.name != RACK for row in known[item.id].layers}
    of_rack = sum(size for one, size in sizes.items() if one not in others)
    return Listing(found, sum(sizes.values()), of_rack), known


def _listed(tag: str, entry: Mapping[str, Any], known: Known, holders: Mapping[str, int]) -> Listed:
    name, _, version = tag.partition(":")
    labels = entry["Config"].get("Labels") or {}
    own = sum(size for one, size, _ in known.layers if holders[one] == 1)
    kinds = Counter(package.kind for package in known.packages)
    return Listed(
        name, version, entry["Id"], sum(size for _, size, _ in known.layers), own, entry["Created"],
        entry["Config"].get("User") or "root", labels.get(RELEASE, ""), kinds[DEBIAN], kinds[PYTHON],
    )  # fmt: skip


def look(paths: Paths, engine: Engine, entries: Sequence[Mapping[str, Any]]) -> dict[str, Known]:
    """What is known of images, by id; those that were not seen before are read. entries: as `docker image inspect` gives them."""
    found = {entry["Id"]: _kept(paths, entry["Id"]) for entry in entries}
    new = [entry for entry in entries if found[entry["Id"]] is None]
    if not new:
        return {one: known for one, known in found.items() if known}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        steps = list(pool.map(lambda entry: tuple(layers.steps(engine, entry)), new))
    inside = _packages(engine, new)
    for entry, made in zip(new, steps, strict=True):
        known = Known(made, tuple(inside[entry["Id"]]))
        found[entry["Id"]] = known
        _keep(paths, entry["Id"], known)
    return {one: known for one, known in found.items() if known}


def forget(paths: Paths, ids: Iterable[str]) -> None:
    """Remove what is kept of all images but these."""
    kept = {f"{one.removeprefix('sha256:')}.json" for one in ids}
    for file in (paths.home / "inventory").glob("*.json"):
        if file.name not in kept:
            file.unlink(missing_ok=True)


def _packages(engine: Engine, entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Package]]:
    """The packages of images: straight from the engine's directories where it has such, else by reading the layers."""
    found = {entry["Id"]: _from_directories(_directories(entry)) for entry in entries}
    slow = [one for one, inside in found.items() if inside is None]
    if slow:
        with log.step(f"Read the packages of {len(slow)} images"):
            read = layers.read(engine, slow, packages.is_wanted)
        for entry in entries:
            if entry["Id"] in slow:
                tree = contents.merge(read[one] for one in layers.of(entry) if one in read)
                found[entry["Id"]] = of(tree)
    return {one: inside or [] for one, inside in found.items()}


def of(tree: contents.Tree) -> list[Package]:
    """The packages in an image's file system."""
    return [*packages.debian(tree.text(packages.STATUS)), *packages.python(tree.entries)]


def _directories(entry: Mapping[str, Any]) -> list[Path]:
    """The directories of an image's layers, the highest first, where the storage driver has one for each; else none."""
    driver = entry.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    names = [data.get("UpperDir", ""), *data.get("LowerDir", "").split(":")]
    places = [Path(name) for name in names if name]
    ok = driver.get("Name") == "overlay2" and len(places) == len(layers.of(entry)) and all(os.access(place, os.R_OK) for place in places)
    return places if ok else []


def _from_directories(places: Sequence[Path]) -> list[Package] | None:
    """The packages, read from overlay directories; None where there are none. A path that a higher layer removed is not there."""
    if not places:
        return None
    found = set[Package]()
    for index, place in enumerate(places):
        inside = [path.relative_to(place) for site in SITES for path in place.glob(f"{site}/*.*-info")]
        alive = [path for path in inside if not any(_hides(higher, path) for higher in places[:index])]
        found.update(packages.python(f"{path}/METADATA" for path in alive))
    status = next((place / packages.STATUS for place in places if (place / packages.STATUS).is_file()), None)
    return [*packages.debian(status.read_text() if status else ""), *sorted(found)]


def _hides(place: Path, path: Path) -> bool:
    """Whether a layer removes a path of a lower one: overlayfs writes a character device 0/0 in its place, or marks a directory."""
    for part in [path, *path.parents][:-1]:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(place / part)
            if re.fullmatch(r"0o2\d{4}", oct(status.st_mode)) and status.st_rdev == 0:
                return True
        with suppress(OSError):
            if part != path and os.getxattr(place / part, "trusted.overlay.opaque") == b"y":
                return True
    return False


def _kept(paths: Paths, one: str) -> Known | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        data = json.loads(_file(paths, one).read_text())
        if data["format"] == FORMAT:
            return Known(tuple((str(a), int(b), str(c)) for a, b, c in data["layers"]), tuple(Package(**row) for row in data["packages"]))
    return None


def _keep(paths: Paths, one: str, known: Known) -> None:
    file = _file(paths, one)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps({"format": FORMAT, "layers": known.layers, "packages": [asdict(item) for item in known.packages]}))
    new.rename(file)


def _file(paths: Paths, one: str) -> Path:
    return paths.home / "inventory" / f"{one.removeprefix('sha256:')}.json"
