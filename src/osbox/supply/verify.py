"""Whether the images on the engine are what was built: every layer, every package, every file, every
label."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from osbox import run
from osbox.build import accounts, provenance
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import Error, UserError
from osbox.images import contents, inventory, labels, layers, packages
from osbox.images.catalogue import Image
from osbox.images.contents import Layer
from osbox.images.packages import DEBIAN, PYTHON
from osbox.site import package
from osbox.site.site import Paths


@dataclass(frozen=True)
class Report:
    """What was found of one image.

    digest: of its whole file system, without times; files: how many were read.
    """

    image: str
    version: str
    digest: str
    files: int
    debian: int
    python: int
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems


def verify(paths: Paths, engine: Engine, images: Sequence[Image], *, version: str) -> list[Report]:
    """Hold images against their provenance, their locks and the databases of their package managers."""
    entries = docker.images(engine, *(image.tag(version) for image in images))
    read, broken = _read(engine, entries)
    generated = _generated(paths)
    return [
        (
            Report(image.name, version, "", 0, 0, 0, (broken[tag],))
            if (tag := image.tag(version)) in broken
            else _report(paths, image, version, entry=entries.get(tag), read=read, generated=generated)
        )
        for image in images
    ]


def digests(engine: Engine, images: Sequence[Image], *, version: str) -> dict[str, str]:
    """The digests of images' file systems, by tag; raises Error for one that is not built."""
    entries = docker.images(engine, *(image.tag(version) for image in images))
    missing = next((image for image in images if image.tag(version) not in entries), None)
    if missing:
        inventory.entry(engine, missing, version)
    read = layers.read(engine, list(dict.fromkeys(entry.id for entry in entries.values())), lambda _: False)
    return {tag: contents.digest(layers.tree(entry, read).entries) for tag, entry in entries.items()}


def tree(engine: Engine, image: Image, *, version: str) -> contents.Tree:
    """The whole file system of an image; raises Error if it is not built."""
    entry = inventory.entry(engine, image, version)
    return layers.tree(entry, layers.read(engine, [entry.id], lambda _: False))


def raise_for(reports: Sequence[Report]) -> None:
    """Raise the one error that sums up what differs."""
    bad = [report.image for report in reports if not report.passed]
    if bad:
        raise Error(
            f"{len(bad)} of {len(reports)} images are not what was built: {', '.join(bad)}",
            hint=f"osbox build --no-cache {' '.join(bad)} makes them anew",
        )


def _read(engine: Engine, entries: Mapping[str, ImageInfo]) -> tuple[dict[str, Layer], dict[str, str]]:
    """All layers, and why those of an image cannot be read: the engine hands out no layer whose files were
    changed in its storage."""
    try:
        return (
            layers.read(
                engine, list(dict.fromkeys(entry.id for entry in entries.values())), packages.is_wanted
            ),
            {},
        )
    except Error:
        found, broken = dict[str, Layer](), dict[str, str]()
    for tag, entry in entries.items():
        try:
            found |= layers.read(engine, [entry.id], packages.is_wanted)
        except Error as error:
            broken[tag] = f"the engine cannot read it: {run.tail(error.evidence, 1)}"
    return found, broken


def _report(
    paths: Paths,
    image: Image,
    version: str,
    *,
    entry: ImageInfo | None,
    read: Mapping[str, Layer],
    generated: Mapping[str, list[str]],
) -> Report:
    if not entry:
        return Report(image.name, version, "", 0, 0, 0, ("it is not built",))
    document = provenance.load(paths, image.tag(version))
    tree = layers.tree(entry, read)
    inside = inventory.of(tree)
    patterns = [
        pattern
        for name, rows in generated.items()
        if name == "all" or fnmatchcase(image.name, name)
        for pattern in rows
    ]
    recipe = provenance.files(document) if document else {}
    problems = [
        *_origin(entry, document),
        *_layers(entry, read),
        *_labels(image, version, entry, document),
        *accounts.locks(tree, inside),
        *_locked_files(tree, recipe, document),
    ]
    found = accounts.account(tree, inside, patterns, recipe)
    problems += found.differs
    problems += [f"{path} is of no package and no recipe" for path in found.unaccounted]
    kinds = [item.kind for item in inside]
    return Report(
        image.name,
        version,
        contents.digest(tree.entries),
        len(tree.entries),
        kinds.count(DEBIAN),
        kinds.count(PYTHON),
        tuple(problems),
    )


def _origin(entry: ImageInfo, document: Mapping[str, Any] | None) -> Iterator[str]:
    """The tag points to the image that was built."""
    if not document:
        yield "no provenance was recorded: it was not built here"
        return
    one, built = provenance.subjects(document)
    if entry.id != one:
        yield f"the tag points to {entry.id[:19]}, but {one[:19]} was built"
    elif list(entry.layers) != built:
        yield "its layers are not those that were built"


def _layers(entry: ImageInfo, read: Mapping[str, Layer]) -> Iterator[str]:
    """Every layer holds what its digest says: it was computed of what the engine handed out."""
    for number, one in enumerate(entry.layers, 1):
        if one not in read:
            yield f"layer {number} does not hold what its digest {one[:19]} says"


def _labels(
    image: Image, version: str, entry: ImageInfo, document: Mapping[str, Any] | None
) -> Iterator[str]:
    """Its labels name it, and are those it was built with."""
    found = entry.labels
    wanted = {f"{labels.OCI}title": image.name, f"{labels.OCI}version": version}
    if document:
        wanted |= document["predicate"]["buildDefinition"]["internalParameters"]["labels"]
    for name in sorted(found.keys() | wanted.keys() if document else wanted.keys()):
        if found.get(name) != wanted.get(name):
            yield f"its label {name} is {found.get(name)!r}, not {wanted.get(name)!r}"


def _locked_files(
    tree: contents.Tree, recipe: Mapping[str, str], document: Mapping[str, Any] | None
) -> Iterator[str]:
    """The locks inside are those of the release that it was built from, and the patches those of the
    recipe."""
    known = set(recipe.values())
    for path in sorted(tree.texts):
        for folder, kind in (("/locks/", "lock"), ("/patches/", "patch")):
            if document and folder in path and tree.entries[path].sha256 not in known:
                yield f"{path} is not the {kind} that it was built from"


def _generated(paths: Paths) -> dict[str, list[str]]:
    """What may be there although no package lists it, by image or pattern of images."""
    file = paths.images / "made.toml"
    try:
        table = tomllib.loads(file.read_text())
        return {
            name: [pattern for patterns in rows.values() for pattern in patterns]
            for name, rows in table.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        hint = package.REPAIR if package.read(paths.project) else "git diff images/made.toml"
        raise UserError(f"{file.relative_to(paths.project)} cannot be read: {error}", hint=hint) from error
