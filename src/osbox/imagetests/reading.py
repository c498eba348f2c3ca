"""What the tests of images read in the layers: which files there are, and what was seen of their contents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.images import contents, layers, packages
from osbox.images.contents import Layer, Tree

TEXT_BYTES = 4096  # a zero byte among the first ones tells a binary file from a text


@dataclass(frozen=True)
class Files:
    """The file system of an image; which of its layers each path is of, the lowest is 0; and where this
    machine was found.

    found is of all layers: a later one may hide a file, but the image still holds it.
    """

    tree: Tree
    layer: Mapping[str, int]
    found: Sequence[tuple[str, str]]


def read(engine: Engine, entries: Sequence[ImageInfo], needles: Mapping[str, bytes]) -> dict[str, Files]:
    """The files of images by id, each layer read once."""
    found = layers.read(engine, [entry.id for entry in entries], is_wanted, examiner(needles))
    return {entry.id: files_of([found[one] for one in entry.layers if one in found]) for entry in entries}


def files_of(image: Sequence[Layer]) -> Files:
    """The layers of an image, the lowest first, as its file system."""
    number = {path: index for index, layer in enumerate(image) for path in layer.entries}
    found = (
        (path, what)
        for layer in image
        for path, words in layer.notes.items()
        for what in cast(tuple[str, ...], words)
    )
    return Files(contents.merge(image), number, list(dict.fromkeys(found)))


def is_wanted(path: str) -> bool:
    """The files whose text the tests read."""
    return path == packages.STATUS or bool(packages.DIST_INFO.search(path))


def examiner(needles: Mapping[str, bytes]) -> Callable[[str, bytes], tuple[str, ...] | None]:
    """Notes which needles a text file holds, by the words that they are told with."""

    def examine(_: str, content: bytes) -> tuple[str, ...] | None:
        if b"\0" in content[:TEXT_BYTES]:
            return None
        return tuple(what for what, needle in needles.items() if needle in content) or None

    return examine
