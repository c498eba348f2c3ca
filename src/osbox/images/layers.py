"""The layers of images, read from the engine: `docker save` writes each one once, whatever storage the engine
has.

No program of the image runs, and no container is made. What is read is hashed on the way, so that a layer is
known by what it holds, not by what the engine says that it holds.
"""

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, cast

from osbox import run
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.images import contents
from osbox.images.contents import DIRECTORY, FILE, LINK, Entry, Layer

BLOCK = 1 << 20
Examine = Callable[[str, bytes], object]
"""Looks at a file's path and content; what it returns, if anything, is noted in the layer."""
BLOB = re.compile(r"(^|/)(blobs/sha256/[0-9a-f]{64}|layer\.tar)$")
KINDS = {
    tarfile.DIRTYPE: DIRECTORY,
    tarfile.SYMTYPE: LINK,
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "pipe",
}
SETTINGS = "ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME"
METADATA_ONLY, NO_LAYER = (
    re.compile(rf"^(?:/bin/sh -c #\(nop\) +)?(?:{words})\b") for words in (SETTINGS, f"{SETTINGS}|WORKDIR")
)


class _Hashing(io.RawIOBase):
    """A stream that is hashed while it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self.sha256.update(data)
        return len(data)


def read(
    engine: Engine, ids: Sequence[str], selects: Callable[[str], bool], examine: Examine | None = None
) -> dict[str, Layer]:
    """All layers of images by their digests; selects says which files' contents to keep.

    Raises Error when the engine cannot read them.

    The engine itself refuses to hand out a layer whose files were changed in its storage.
    """
    if not ids:
        return {}
    found: dict[str, Layer] = {}
    argv = engine.argv("docker", "save", *ids)
    with run.reading(argv) as stream:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK) as archive:
            for member in archive:
                body = archive.extractfile(member) if member.isreg() and BLOB.search(member.name) else None
                if body:
                    layer = _layer(body, selects, examine)
                    if layer:
                        found[layer.diff_id] = layer
        while stream.read(BLOCK):
            pass
    return found


def tree(image: ImageInfo, found: Mapping[str, Layer]) -> contents.Tree:
    """The file system of an image, of those of its layers that were read."""
    return contents.merge(found[one] for one in image.layers if one in found)


def _layer(body: IO[bytes], selects: Callable[[str], bool], examine: Examine | None = None) -> Layer | None:
    """A layer's tar, compressed or not; None for the JSON documents that lie beside the layers."""
    start = io.BufferedReader(cast(io.RawIOBase, body), BLOCK)
    magic = start.peek(2)[:2]
    if magic[:1] == b"{":
        return None
    plain = gzip.GzipFile(fileobj=start) if magic == b"\x1f\x8b" else start
    hashing = _Hashing(cast(IO[bytes], plain))
    stream = io.BufferedReader(hashing, BLOCK)
    entries, texts, notes = dict[str, Entry](), dict[str, bytes](), dict[str, object]()
    with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK) as archive:
        for member in archive:
            entry, content = _entry(archive, member, entries, (lambda _: True) if examine else selects)
            entries[entry.path] = entry
            if content is not None and selects(entry.path):
                texts[entry.path] = content
            note = examine(entry.path, content) if examine and content is not None else None
            if note is not None:
                notes[entry.path] = note
    while stream.read(BLOCK):
        pass
    return Layer(f"sha256:{hashing.sha256.hexdigest()}", entries, texts, notes)


def _entry(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    before: Mapping[str, Entry],
    selects: Callable[[str], bool],
) -> tuple[Entry, bytes | None]:
    path = member.name.removeprefix("./").strip("/")
    more = ",".join(
        f"{key}={value}"
        for key, value in sorted(member.pax_headers.items())
        if key.startswith("SCHILY.xattr.")
    )
    entry = Entry(path, KINDS.get(member.type, FILE), member.mode, member.uid, member.gid, more=more)
    if member.islnk():
        target = before.get(member.linkname.removeprefix("./").strip("/"))
        return (replace(target, path=path) if target else entry), None
    if not member.isreg():
        device = f"{member.devmajor}:{member.devminor}" if member.isdev() and not member.isfifo() else ""
        return replace(entry, link=member.linkname or device), None
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    kept = list[bytes]() if selects(path) else None
    for block in _blocks(archive.extractfile(member)):
        sha256.update(block)
        md5.update(block)
        if kept is not None:
            kept.append(block)
    whole = replace(entry, size=member.size, sha256=sha256.hexdigest(), md5=md5.hexdigest())
    return whole, b"".join(kept) if kept is not None else None


def _blocks(source: IO[bytes] | None) -> Iterator[bytes]:
    while source and (block := source.read(BLOCK)):
        yield block


def steps(engine: Engine, image: ImageInfo) -> list[tuple[str, int, str]]:
    """An image's layers, the lowest first: digest, bytes, and the instruction that made it."""
    text = docker.ask(engine, "history", "--no-trunc", "--human=false", "--format", "json", image.id).out
    return paired(image, [json.loads(row) for row in reversed(text.splitlines())])


def paired(image: ImageInfo, history: Sequence[Mapping[str, str]]) -> list[tuple[str, int, str]]:
    """Layers with the steps of a history that made them.

    The engine tells sizes by step, not by layer; most steps made none.

    Of an image from elsewhere, for which the two do not fit together, all is one piece.
    """
    for metadata in (
        METADATA_ONLY,
        NO_LAYER,
    ):  # the classic builder makes no layer for WORKDIR where the directory is there
        instructions = [row for row in history if int(row["Size"]) or not metadata.match(row["CreatedBy"])]
        if len(instructions) == len(image.layers):
            pairs = zip(image.layers, instructions, strict=True)
            return [(one, int(row["Size"]), row["CreatedBy"]) for one, row in pairs]
    return [(image.id, image.size, "")]
