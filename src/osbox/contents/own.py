"""Images of the user's own: a file or an address; the first bytes say whether it is a disk at all."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from osbox import log, utf8
from osbox.contents import diskformat, download, packed
from osbox.contents.images import GUEST, KERNEL, RAMDISK, Upload
from osbox.errors import UserError
from osbox.site.site import Paths

CHECKSUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")
SUFFIXES = (".qcow2", ".raw", ".img")
ENDINGS = (
    *SUFFIXES,
    *(".vmdk", ".vdi", ".vhdx", ".vhd", ".vpc", ".qcow", ".qed", ".hdd", ".hds"),
    *(".tar", ".tgz", ".ova", ".zip", ".7z", ".rar", ".lz4", ".lz", ".lzo", ".z"),
)
"""What the name of a disk or an archive ends in beside its own name."""
CLOUD_IMAGE = "a system's cloud image (raw, qcow2, or either packed)"
HINTS = {
    "medium": f"{CLOUD_IMAGE}, or the disk that its installer wrote to in a virtual machine: a node is given"
    " a disk and starts no installer",
    "locked": "the whole disk that it is on, with its partition table: no node boots one that is encrypted"
    " from its first byte",
    "secret": "the same disk unencrypted (qemu-img convert, with its secret): a node has no key for it",
}
RESERVED = (KERNEL, RAMDISK, GUEST)
"""What osbox's own images are called."""
LONGEST_NAME = 255 - len("-before")  # Glance's limit, and what one that was replaced is called


def images(
    sources: Sequence[str], checksums: Sequence[str], paths: Paths, *, raw: bool = False
) -> list[Upload]:
    """All of a person's images, each with the checksum of its place.

    Raises UserError as `image` does, and for two of one name: the second would take the first one's place.
    """
    if len(checksums) > len(sources):
        raise UserError(
            f"{len(checksums)} checksums are given for {len(sources)} images",
            hint="osbox setup --image FILE --checksum SHA256: a --checksum for each --image, in order",
        )
    found = dict[str, Upload]()
    for number, source in enumerate(sources):
        upload = image(source, checksums[number] if number < len(checksums) else "", paths, raw=raw)
        if upload.name in found:
            raise UserError(
                f"two images would be called {upload.name}",
                evidence=f"{found[upload.name].file}\n{upload.file}",
                hint="give one of the files another name: an image is called as its file is",
            )
        found[upload.name] = upload
    return list(found.values())


def image(source: str, checksum: str, paths: Paths, *, raw: bool = False) -> Upload:
    """An image of the user's: a file or a URL, with its SHA-256 or SHA-512 (required for a URL).

    raw: take it for a disk as it is. Raises UserError when the source is missing, the checksum differs, or it
    is no disk that a node could be given.
    """
    wanted = checksum.lower()
    if wanted and not CHECKSUM.fullmatch(wanted):
        raise UserError(
            f"--checksum {checksum} is neither a SHA-256 nor a SHA-512",
            hint="sha256sum FILE, or the SHA256SUMS beside it on its server: 64 digits of 0-9 and a-f",
        )
    file = _fetched(source, wanted, paths) if "://" in source else _found(source)
    start, packing = (b"", "") if raw else packed.head(file)
    kind = _kind(file, start, packing, raw=raw)
    found = wanted if "://" in source else download.digest(file, wanted)  # a fetched one was held against it
    if wanted and found != wanted:
        raise download.differs(source, checksum, found)
    return Upload(
        _usable(_name(file, packing), file),
        file,
        kind,
        "bare",
        found[:32] + ("-raw" if raw else ""),
        {"os_type": "linux"},
        packing=packing,
        scratch=paths.tmp,
    )


def _found(source: str) -> Path:
    """A file of this machine, with a name that an image can have."""
    file, hint = utf8.at_home(Path(source)), "osbox setup --image FILE|URL --checksum SHA256"
    try:
        if file.is_file():
            return file
        there = file.exists()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}", hint=hint) from error
    raise UserError(f"{file} is no file, so no image" if there else f"there is no image {file}", hint=hint)


def _usable(name: str, file: Path) -> str:
    """The name, when Glance can have an image of it that is a person's own."""
    other = "give the file another name: the image is called as it is"
    if name in RESERVED:
        raise UserError(f"{name} is what an image of osbox's own is called", evidence=str(file), hint=other)
    if len(name) > LONGEST_NAME:
        raise UserError(
            f"{file.name} is too long a name for an image: {LONGEST_NAME} characters at most", hint=other
        )
    if not name.isprintable():  # what is not UTF-8 is none of it either
        raise UserError(f"{file.name!r} is no name for an image: not all of it can be printed", hint=other)
    return name


def _fetched(url: str, checksum: str, paths: Paths) -> Path:
    download.name_of(url)
    if not checksum:
        raise UserError(
            "an image from a URL needs its checksum",
            hint=f"osbox setup --image {shlex.quote(url)} --checksum SHA256",
        )
    return download.fetch(url, checksum, paths)


def _kind(file: Path, start: bytes, packing: str, *, raw: bool) -> str:
    """Glance's word for the disk; raises UserError when it is none."""
    if raw:
        return "raw"
    kind = diskformat.look(start)
    inside = f", packed by {packing}" if packing else ""
    if kind.use == "bare":
        log.warn(f"{file.name} is {kind.words}{inside}, with no partition table: will nodes boot it?")
    if kind.use in ("disk", "bare"):
        return kind.name
    words = f"packed twice: {kind.words}" if kind.use == "packed" else f"{kind.words}{inside}"
    raise UserError(
        f"{file.name} is no disk for nodes: it is {words}"
        if kind is not diskformat.UNKNOWN
        else f"{file.name} is no disk for nodes: it has {words}{inside}",
        evidence=f"it begins with: {diskformat.shown(start)}" if start else f"{file.stat().st_size} bytes",
        hint=_hint(file, kind.use, packing),
    )


def _hint(file: Path, use: diskformat.Use, packing: str) -> str:
    """What to do with a file that is no disk: lines for a shell where there are some, with its own name."""
    whole = _without(file.name, packed.SUFFIXES if packing else ())
    stem = _without(whole, ENDINGS)
    if use == "packed":
        inner = whole if whole != file.name else f"{stem}-unpacked"
        return f"{packing} -dc {_word(file)} > {_word(inner)}; osbox setup --image {_word(inner)}"
    if use == "unpack":
        place = stem if stem != file.name else f"{stem}-unpacked"
        return f"unpack it to {_word(place)}/, then osbox setup --image with the disk that is in it"
    if use == "convert":
        target = next(name for name in (f"{stem}.raw", f"{stem}-converted.raw") if name != whole)
        source, before = _word(file), ""
        if packing:  # qemu-img would take it for a raw disk
            source = _word(whole if whole != file.name else f"{stem}-unpacked")
            before = f"{packing} -dc {_word(file)} > {source}; "
        line = f"qemu-img convert -O raw {source} {_word(target)}; osbox setup --image {_word(target)}"
        return before + line
    if use in HINTS:
        return HINTS[use]
    return f"{CLOUD_IMAGE}; osbox setup --image {_word(file)} --raw, if nodes' disks shall have it as it is"


def _word(name: Path | str) -> str:
    """A file as a word for a shell; one that begins with a dash is no option."""
    return shlex.quote(f"./{name}" if str(name).startswith("-") else str(name))


def _without(name: str, endings: Sequence[str]) -> str:
    """The name without the first of the endings that it has, in capitals or not."""
    return next((name[: -len(end)] for end in endings if name.lower().endswith(end)), name) or name


def _name(file: Path, packing: str) -> str:
    """guest of guest.img.xz."""
    return _without(_without(file.name, packed.SUFFIXES if packing else ()), SUFFIXES)
