"""Fetch a file by HTTP, whole and with the right checksum, once.

It lies in `downloads/images/<digest of address and checksum>/`, so that two of one name do not meet, and has
its name when it is whole and right. A file that is there is held against its checksum whenever it is used.
"""

import hashlib
import http.client
import os
import shlex
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from osbox import lock, log
from osbox.errors import Error, UserError
from osbox.site.site import Paths

CHUNK = 1 << 20
SPARE = 1 << 30  # bytes that stay free on the disk
SILENT_SECONDS = 60
LONGEST = 255 - len(".new")  # bytes of a name, with what it has while it comes


def fetch(url: str, checksum: str, paths: Paths) -> Path:
    """The file of an address; checksum: SHA-256 or SHA-512 in hexadecimal.

    Raises UserError for an address that names no file and a checksum that differs, Error for a server that
    does not give it.
    """
    name = name_of(url)
    key = hashlib.sha256(f"{url}\n{checksum}".encode()).hexdigest()[:16]
    place = paths.downloads / "images" / key
    place.mkdir(parents=True, exist_ok=True)
    file = place / name
    with lock.alone(place, f"{name} is being fetched"):
        if file.is_file():
            if digest(file, checksum) == checksum:
                return file
            log.warn(f"{file} is not what it was when it was fetched: once more")
            file.unlink()
        new = file.with_name(f"{name}.new")
        try:
            _fetch(url, checksum, new)
            new.rename(file)
        finally:
            new.unlink(missing_ok=True)
    return file


def name_of(url: str) -> str:
    """The name of the file that an address is of, without what is asked of it."""
    if not url.startswith(("http://", "https://")):
        raise UserError(
            f"{url} is neither a file nor an http(s) address", hint="osbox setup --image FILE|URL"
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url} is no address: {error}") from error
    if "@" in parts.netloc:  # urllib takes it for a part of the host's name, and we would print it
        raise UserError(
            "an address of an image holds a user's name or password, which osbox does not send",
            hint="curl -L -u USER -o disk.raw ADDRESS; osbox setup --image disk.raw",
        )
    name = unquote(parts.path).rpartition("/")[2]
    if name.strip(".") == "":
        raise UserError(
            f"{url} names no file",
            hint=f"curl -L -o disk.raw {shlex.quote(url)}; osbox setup --image disk.raw",
        )
    if len(os.fsencode(name)) > LONGEST or not name.isprintable():
        raise UserError(
            f"{url[:200]} names a file that this machine cannot have",
            hint="curl -L -o disk.raw ADDRESS; osbox setup --image disk.raw",
        )
    return name


def digest(file: Path, like: str) -> str:
    """The checksum of a file, of the kind that another one is of; SHA-256 for none."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, kind_of(like)).hexdigest()


def kind_of(checksum: str) -> str:
    return "sha512" if len(checksum) == hashlib.sha512().digest_size * 2 else "sha256"


def differs(source: str, wanted: str, found: str, hint: str = "fetch the file anew") -> UserError:
    return UserError(
        f"the checksum of {source} differs", evidence=f"wanted {wanted}\nfound  {found}", hint=hint
    )


def _fetch(url: str, checksum: str, new: Path) -> None:
    total = hashlib.new(kind_of(checksum))
    with new.open("wb") as target:
        for chunk in _chunks(url, new):
            target.write(chunk)
            total.update(chunk)
    if total.hexdigest() != checksum:
        raise differs(url, checksum, total.hexdigest(), "look at the address and the checksum")


def _chunks(url: str, new: Path) -> Iterator[bytes]:
    """What the server gives, all of it; raises Error when that does not come."""
    hint = "look at the address and the network, then the same command again"
    try:
        with urllib.request.urlopen(url, timeout=SILENT_SECONDS) as source:  # noqa: S310 - name_of
            size, got = _announced(source, url, new), 0
            while chunk := source.read(CHUNK):
                got += len(chunk)
                yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        told = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise Error(f"{url} could not be fetched", evidence=told, hint=hint) from error
    if size is not None and got != size:
        raise Error(f"{url} ended early", evidence=f"{got} of {size} bytes came", hint=hint)


def _announced(source: http.client.HTTPResponse, url: str, new: Path) -> int | None:
    """How many bytes will come, when the server says so; raises UserError when the disk is too small."""
    length = source.headers.get("Content-Length", "")
    if not length.isdigit():
        log.say(f"Fetch {url}")
        return None
    size, free = int(length), shutil.disk_usage(new.parent).free
    log.say(f"Fetch {url} ({size >> 20} MiB)")
    if size > free - SPARE:
        raise UserError(
            f"{url} is larger than the disk takes: {size >> 20} MiB",
            evidence=f"{free >> 20} MiB are free under {new.parent}, and {SPARE >> 30} GiB stay free",
            hint="free some space, then the same command again",
        )
    return size
