"""Packed disks (xz, gzip, bzip2, zstd): their first bytes, and all of them as a file; in little memory."""

import bz2
import gzip
import io
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

from osbox.contents import diskformat
from osbox.errors import UserError

CHUNK = 1 << 20
PIECE = 1 << 8
"""What zstd is given at once: a block of 128 KiB may be packed into 4 bytes."""
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
def plain(file: Path, packing: str, place: Path) -> Iterator[Path]:
    """The disk as a file: as it is, or unpacked into a new one in `place`, which goes afterwards.

    Raises UserError for what is broken, ends early, or is larger than the disk takes.
    """
    if not packing:
        yield file
        return
    place.mkdir(parents=True, exist_ok=True)
    # Swift stores it a second time, as a rule on the same disk.
    limit = (shutil.disk_usage(place).free - SPARE) // 2
    with tempfile.TemporaryDirectory(prefix="image-", dir=place) as directory:
        target = Path(directory) / "disk"
        with _told(file):
            _unpack(file, packing, target, limit)
        yield target


def _unpack(file: Path, packing: str, target: Path, limit: int) -> None:
    size = 0
    with target.open("wb") as sink:
        for block in _blocks(file, packing):
            size += len(block)
            if size > limit:
                raise UserError(
                    f"{file.name} unpacks to more than the disk takes, {max(0, limit) >> 20} MiB",
                    evidence=f"half of what is free under {target.parent.parent}, for Swift stores it, too;"
                    f" {SPARE >> 30} GiB stay free",
                    hint="free some space, then the same command again",
                )
            if block.count(0) == len(block):  # most of a disk: it costs nothing as a hole
                sink.seek(len(block), 1)
            else:
                sink.write(block)
        sink.truncate(size)


def _blocks(file: Path, packing: str) -> Iterator[bytes]:
    if packing == "zstd":
        yield from _of_zstd(file)
        return
    with _opened(file, packing) as stream:
        while block := stream.read(CHUNK):
            yield block


def _opened(file: Path, packing: str) -> io.BufferedIOBase:
    if packing == "xz":
        return lzma.LZMAFile(file)
    return bz2.BZ2File(file) if packing == "bzip2" else gzip.GzipFile(file)


def _of_zstd(file: Path) -> Iterator[bytes]:
    """Of all frames. The library's own reader ends without a word where a file does."""
    frame = None
    with file.open("rb") as source:
        while piece := source.read(PIECE):
            while piece:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                block = frame.decompress(piece)
                if block:
                    yield block
                piece = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    if frame:
        raise EOFError("it ends before the end of the frame")


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile, EOFError, ValueError) as error:
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
