"""A backup as a file: a tar of a generation, compressed by zstd, sealed by age.

osbox-backup.json   what it is of (Header), and the generation
host/…              secrets, site.toml, the administrator's key
volumes/…           databases, Keystone's keys, Swift's rings
objects.tar/000000  and so on: pieces of one tar of Swift's objects
SHA256SUMS          of all these

`age --decrypt -i KEY FILE | zstd -d | tar -x` unpacks it. Where no key was asked for, age is left out.
"""

import hashlib
import io
import json
import os
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pyrage
import zstandard

from osbox import checksums, files
from osbox.errors import Error, UserError
from osbox.generations import record
from osbox.generations.record import Generation

FORMAT = 1
HEADER, OBJECTS = "osbox-backup.json", "objects.tar"
HOST, VOLUMES = record.HOST, record.VOLUMES
TREES = (HOST, VOLUMES)
PIECE = 16 << 20  # octets in memory at a time
LEVEL = 3  # zstd's: 8.8 s of a processor a GB, where 1 takes 5.6 and leaves a tenth more
SEALED, PACKED = b"age-encryption.org/v1", b"\x28\xb5\x2f\xfd"
ZSTD = zstandard.ZstdError
OTHER_KEY = "No matching keys"  # as age says it
NO_KEY = "osbox backup key FILE makes one; --to and --key take it"

Member = tuple[tarfile.TarInfo, IO[bytes]]


@dataclass(frozen=True)
class Header:
    """name, subnet: of the deployment. site_toml: the file's text. time: UTC, ISO 8601, when it was begun."""

    name: str
    subnet: str
    site_toml: str
    time: str
    generation: Generation


def recipient(text: str) -> pyrage.x25519.Recipient:
    """Whom to seal for: a public key (age1…), or a file with it or with a whole key. Raises UserError."""
    found = Path(text).read_text(errors="replace") if Path(text).is_file() else text
    words = [word for word in found.split() if word.startswith("age1")]
    with suppress(pyrage.RecipientError):
        if words:
            return pyrage.x25519.Recipient.from_str(words[0])
    with suppress(pyrage.IdentityError):
        return identity_of(found).to_public()
    raise UserError(f"{text} is no public key of age (age1…), nor a file with one", hint=NO_KEY)


def identity(file: Path) -> pyrage.x25519.Identity:
    """The key in a file. Raises UserError."""
    try:
        return identity_of(file.read_text())
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        raise UserError(
            f"{file} has no key of age (AGE-SECRET-KEY-1…)", evidence=str(error), hint=NO_KEY
        ) from error


def identity_of(text: str) -> pyrage.x25519.Identity:
    """The key in a text, as age-keygen writes it, with comments."""
    lines = [line for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-")]
    return pyrage.x25519.Identity.from_str(lines[0] if lines else "")


class Writer:
    """Members one after the other, and their checksums in the end."""

    def __init__(self, sink: IO[bytes]) -> None:
        self.tar = tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - end() closes it
        self.sums: dict[str, str] = {}
        self.octets = 0

    def header(self, header: Header) -> None:
        self.text(HEADER, json.dumps({"format": FORMAT, **asdict(header)}, indent=1).encode())

    def text(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), files.PRIVATE
        self._add(info, io.BytesIO(content))

    def tree(self, name: str, place: Path) -> None:
        """A directory, with the links in it as they are (Swift's rings have one to their swift.conf)."""
        for path in sorted(place.rglob("*")):
            info = self.tar.gettarinfo(path, f"{name}/{path.relative_to(place)}")
            if info.isdir() or info.issym():
                self.tar.addfile(info)
            elif info.isreg():
                with path.open("rb") as source:
                    self._add(info, source)

    def pieces(self, name: str, source: IO[bytes]) -> None:
        """A stream of unknown length."""
        number = 0
        while piece := source.read(PIECE):
            self.text(f"{name}/{number:06}", piece)
            number += 1

    def end(self) -> None:
        """The checksums; without them the file is not whole."""
        self.text(checksums.FILE, checksums.render(self.sums).encode())
        self.tar.close()

    def _add(self, info: tarfile.TarInfo, source: IO[bytes]) -> None:
        counted = _Counted(source)
        self.tar.addfile(info, counted)
        self.sums[info.name] = counted.digest.hexdigest()
        self.octets += info.size


class _Counted(io.RawIOBase):
    """What is read of a file, with its SHA-256. name: of the backup that it is in, which may be damaged."""

    def __init__(self, source: IO[bytes], name: str = "") -> None:
        self.source, self.name, self.digest = source, name, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        try:
            found = self.source.read(size)
        except (tarfile.TarError, EOFError, ZSTD) as error:
            raise damaged(self.name, str(error)) from error
        self.digest.update(found)
        return found


def read(source: IO[bytes], name: str) -> Iterator[Member]:
    """The members of a backup, each with its content, the header first; all have been compared with their
    checksums when it ends. Raises Error for a file that is cut or changed."""
    sums, told = dict[str, str](), None
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for info in tar:
                content = _Counted((info.isreg() and tar.extractfile(info)) or io.BytesIO(), name)
                if info.name == checksums.FILE:
                    told = checksums.parse(content.read().decode())
                    continue
                yield info, content  # type: ignore[misc]  # reads like one
                while content.read(1 << 20):
                    pass
                if info.isreg():
                    sums[info.name] = content.digest.hexdigest()
        while source.read(1 << 20):  # to the end of what is packed and sealed, which has checksums, too
            pass
    except (tarfile.TarError, EOFError, ValueError, ZSTD) as error:
        raise damaged(name, str(error)) from error
    if told is None:
        raise damaged(name, "it ends before its checksums")
    if other := sorted(key for key in {*told, *sums} if told.get(key) != sums.get(key)):
        raise damaged(name, f"not as its checksums say: {', '.join(other[:5])}")


def header(content: IO[bytes], name: str) -> Header:
    """What the first member says. Raises UserError for what no osbox wrote, or a newer one."""
    try:
        found: dict[str, Any] = dict(json.loads(content.read()).items())
        wanted = found.pop("format")
        if wanted != FORMAT:
            raise UserError(
                f"{name} is a backup of format {wanted}, and this osbox knows {FORMAT}",
                hint="a newer osbox reads it",
            )
        return Header(**{**found, "generation": record.read(found["generation"])})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{name} is no backup of osbox", evidence=str(error)) from error


def damaged(name: str, why: str) -> Error:
    return Error(
        f"the backup {name} is damaged or cut",
        evidence=why,
        hint="another copy of it; nothing was changed here",
    )


# --- sealed and packed


@contextmanager
def writing(file: Path | None, recipients: Sequence[pyrage.x25519.Recipient]) -> Iterator[IO[bytes]]:
    """What is written becomes a file, when all of it is there; None: standard output. Without recipients it
    is not sealed."""
    with _place(file) as sink, _sealing(sink, recipients) as clear:
        packer = zstandard.ZstdCompressor(level=LEVEL, threads=os.cpu_count() or 1, write_checksum=True)
        with packer.stream_writer(clear, closefd=False) as packed:
            yield packed


@contextmanager
def _place(file: Path | None) -> Iterator[IO[bytes]]:
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    new = file.with_name(f"{file.name}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, files.PRIVATE), "wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        new.rename(file)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def _sealing(sink: IO[bytes], recipients: Sequence[pyrage.x25519.Recipient]) -> Iterator[IO[bytes]]:
    if not recipients:
        yield sink
        return
    reader, writer = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    with _Beside(lambda: pyrage.encrypt_io(reader, sink, list(recipients)), reader) as thread:
        try:
            with writer:
                yield writer
        except BrokenPipeError:  # by the thread's own reason, which is raised
            thread.join()
            if not thread.failed:
                raise


@contextmanager
def opened(file: Path, key: Path | None) -> Iterator[IO[bytes]]:
    """The tar in a backup. Raises UserError for what is none, or for which the key is not here or another."""
    try:
        source = file.open("rb")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    with source:
        begin = source.read(len(SEALED))
        source.seek(0)
        if begin.startswith(PACKED):
            with zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=False) as clear:
                yield clear
            return
        if begin != SEALED:
            raise UserError(f"{file} is no backup of osbox", hint="osbox backup create makes one")
        if key is None:
            raise UserError(f"{file} is sealed", hint="the file with its key: --key FILE")
        with _unsealed(source, file, identity(key)) as clear:
            yield clear


@contextmanager
def _unsealed(source: IO[bytes], file: Path, key: pyrage.x25519.Identity) -> Iterator[IO[bytes]]:
    reader, writer = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    thread = _Beside(lambda: pyrage.decrypt_io(source, writer, [key]), writer)
    try:
        with thread, reader, zstandard.ZstdDecompressor().stream_reader(reader) as clear:
            yield clear
    except (Error, ZSTD, pyrage.DecryptError, OSError):
        # What was read may be wrong only because it ended early.
        failed = thread.failed
        if isinstance(failed, pyrage.DecryptError) and OTHER_KEY in str(failed):
            raise UserError(f"{file} is sealed for another key", evidence=str(failed)) from failed
        if failed and not isinstance(failed, BrokenPipeError):
            raise damaged(str(file), str(failed)) from failed
        raise


class _Beside(threading.Thread):
    """Does something beside the block, closes its end of a pipe, and raises its error after the block."""

    def __init__(self, do: Callable[[], object], end: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.do, self.end = do, end
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            with self.end:
                self.do()
        except BaseException as error:  # noqa: BLE001 - raised by __exit__
            self.failed = error

    def __enter__(self) -> "_Beside":
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.join()
        # Nobody reads on, for the header was enough.
        if self.failed and kind is None and not isinstance(self.failed, BrokenPipeError):
            raise self.failed
