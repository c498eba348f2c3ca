"""Images of the user's own: a file or an address; the first bytes say whether it is a disk at all."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from osbox import log
from osbox.contents import diskformat, download, packed
from osbox.contents.images import Upload
from osbox.errors import UserError
from osbox.site.site import Paths

CHECKSUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")
SUFFIXES = (".qcow2", ".raw", ".img")
ENDINGS = (
    *SUFFIXES,
    *(".vmdk", ".vdi", ".vhdx", ".vhd", ".vpc", ".qcow", ".qed", ".hdd", ".hds"),
    *(".tar", ".tgz", ".ova", ".zip", ".7z"),
)
"""What the name of a disk or an archive ends in beside its own name."""
CLOUD_IMAGE = "a system's cloud image (raw, qcow2, or either packed)"
HINTS = {
    "medium": f"{CLOUD_IMAGE}, or the disk that its installer wrote to in a virtual machine: a node is given"
    " a disk and starts no installer",
    "locked": "the whole disk that it is on, with its partition table: no node boots one that is encrypted"
    " from its first byte",
}


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
    file = _fetched(source, wanted, paths) if "://" in source else Path(source)
    if not file.is_file():
        raise UserError(f"there is no image {file}", hint="osbox setup --image FILE|URL --checksum SHA256")
    start, packing = (b"", "") if raw else packed.head(file)
    kind = _kind(file, start, packing, raw=raw)
    found = wanted if "://" in source else download.digest(file, wanted)  # a fetched one was held against it
    if wanted and found != wanted:
        raise download.differs(source, checksum, found)
    return Upload(
        _name(file, packing),
        file,
        kind,
        "bare",
        found[:32] + ("-raw" if raw else ""),
        {"os_type": "linux"},
        packing=packing,
        scratch=paths.tmp,
    )


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
    return next((name.removesuffix(end) for end in endings if name.endswith(end)), name) or name


def _name(file: Path, packing: str) -> str:
    """guest of guest.img.xz."""
    return _without(_without(file.name, packed.SUFFIXES if packing else ()), SUFFIXES)
