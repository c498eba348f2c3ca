"""Packed disks (xz, gzip, bzip2, zstd): their first bytes, and all of them as a file; in little memory."""

import bz2
import lzma
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from osbox import log
from osbox.contents import diskformat
from osbox.errors import UserError

LONGEST_REST = 1 << 20  # bytes; signatures and what is signed with them are a few thousand
CHUNK = 1 << 20
UNPACK: Mapping[str, Callable[[], Any]] = {
    "xz": partial(lzma.LZMADecompressor, lzma.FORMAT_XZ),
    "gzip": partial(zlib.decompressobj, wbits=16 + zlib.MAX_WBITS),
    "bzip2": bz2.BZ2Decompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
PIECE = {"xz": 1 << 16, "gzip": 1 << 12, "bzip2": 1 << 16, "zstd": 1 << 8}
"""What is unpacked at once. zlib and zstd know no limit of what comes of it: up to 1032 times as much, and
blocks of 128 KiB that are packed into 4 bytes."""
MAGIC = {
    packing: tuple(
        one.magic for one in diskformat.MAGIC if (one.kind.name, one.kind.use) == (packing, "packed")
    )
    for packing in UNPACK
}
"""What a frame begins with; also those of zstd that are skipped."""
LONGEST = max(len(magic) for magics in MAGIC.values() for magic in magics)
SPARE = 1 << 30
"""Bytes that stay free on the disk."""
SUFFIXES = (".xz", ".gz", ".zst", ".zstd", ".bz2")


def head(file: Path) -> tuple[bytes, str]:
    """The first HEAD bytes of the disk in a file, and the packing that it is in, or "".

    Raises UserError for what is packed and broken.
    """
    with file.open("rb") as stream:
        start = stream.read(diskformat.HEAD)
    kind = diskformat.look(start)
    if kind.use != "packed":
        return start, ""
    first = b""
    with _told(file):
        for block in _blocks(file, kind.name):
            first += block
            if len(first) >= diskformat.HEAD:
                break
    return first[: diskformat.HEAD], kind.name


@contextmanager
def plain(file: Path, packing: str, place: Path) -> Iterator[BinaryIO]:
    """The disk, to be read: as it is, or unpacked into a file in `place` that has no name, so that nothing is
    left of it however the process ends.

    Raises UserError for what is broken, ends early, or is larger than the disk takes.
    """
    if not packing:
        with file.open("rb") as stream:
            yield stream
        return
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=place) as disk:
        with _told(file):
            _unpack(file, packing, disk, place)
        yield disk


def _unpack(file: Path, packing: str, disk: BinaryIO, place: Path) -> None:
    # Swift stores it a second time, as a rule on the same disk.
    limit = (shutil.disk_usage(place).free - SPARE) // 2
    size = 0
    for block in _blocks(file, packing, partial(_tell_rest, file, packing)):
        size += len(block)
        if size > limit:
            raise UserError(
                f"{file.name} unpacks to more than the disk takes, {max(0, limit) >> 20} MiB",
                evidence=f"half of what is free under {place}, for Swift stores it, too;"
                f" {SPARE >> 30} GiB stay free",
                hint="free some space, then the same command again",
            )
        if block.count(0) == len(block):  # most of a disk: it costs nothing as a hole
            disk.seek(len(block), os.SEEK_CUR)
        else:
            disk.write(block)
    disk.truncate(size)
    disk.seek(0)


def _tell_rest(file: Path, packing: str, size: int) -> None:
    log.warn(
        f"{file.name}: the last {size} bytes are not packed by {packing} and no part of the disk: left out"
    )


def _blocks(file: Path, packing: str, on_rest: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """Of all frames (members, streams), one after the other; zeros may stand between and after them.

    What follows a whole one and is none is left out, and on_rest told how much: an image of OpenWrt has its
    signature there. gzip and bzip2 do the same. Raises EOFError for one that ends early, and for more than a
    signature: the first bytes of a part were damaged, and the disk would be cut off there.
    """
    with file.open("rb") as source:
        more = True
        while more:
            yield from _frame(source, packing)
            more = _is_frame_next(source, packing)
        rest = os.fstat(source.fileno()).st_size - source.tell()
        if rest > LONGEST_REST:
            raise EOFError(f"{rest} bytes at its end are no part that can be unpacked")
        if rest:
            on_rest(rest)


def _frame(source: BinaryIO, packing: str) -> Iterator[bytes]:
    """The content of the frame that begins here; the source is behind it afterwards."""
    # Python's own files of these formats end without a word at the first thing that is no frame.
    frame = UNPACK[packing]()
    while not frame.eof:
        if not (piece := source.read(PIECE[packing])):
            raise EOFError("it ends before its end is marked")
        if isinstance(frame, (lzma.LZMADecompressor, bz2.BZ2Decompressor)):
            yield frame.decompress(piece, CHUNK)
            while not (frame.eof or frame.needs_input):
                yield frame.decompress(b"", CHUNK)
        else:
            yield frame.decompress(piece)
    source.seek(-len(frame.unused_data), os.SEEK_CUR)


def _is_frame_next(source: BinaryIO, packing: str) -> bool:
    """Whether another frame begins here or after some zeros; the source is before whatever is not zero."""
    while (piece := source.read(CHUNK)) and not piece.strip(b"\0"):
        pass
    rest = piece.lstrip(b"\0")
    source.seek(-len(rest), os.SEEK_CUR)
    start = source.read(LONGEST)
    source.seek(-len(start), os.SEEK_CUR)
    if start and any(magic.startswith(start) and magic != start for magic in MAGIC[packing]):
        raise EOFError("it ends in the first bytes of another part")
    return start.startswith(MAGIC[packing])


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError, EOFError, ValueError) as error:
        raise _broken(file, error) from error
    except OSError as error:
        if error.errno is None:  # what bz2 finds
            raise _broken(file, error) from error
        raise


def _broken(file: Path, error: Exception) -> UserError:
    return UserError(
        f"{file.name} cannot be unpacked: it is broken or not whole",
        evidence=str(error),
        hint="fetch it anew",
    )
