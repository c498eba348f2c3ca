"""A generation as one file, and a file as a generation again.

A restore is the way back to what the file has, on a cloud that may be new and of another name.
"""

import json
import os
import shutil
import tarfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO

import pyrage

from osbox import files, log, run
from osbox.cloud import compose
from osbox.engine.engine import Engine
from osbox.errors import UserError
from osbox.generations import archive, keep, record, scratch
from osbox.generations.archive import HEADER, HOST, OBJECTS, VOLUMES, Header, Member
from osbox.generations.helper import helper, inside
from osbox.generations.inside.trees import GENERATIONS
from osbox.generations.record import Generation
from osbox.site import secrets
from osbox.site.site import Paths, Site

SLACK = timedelta(minutes=5)
"""That a clock may be behind: Swift takes a later write for an older one only as long as it is."""
MARIADB = f"{VOLUMES}/mysql"
"""Its files in a backup."""
ATTRIBUTES = ("--xattrs", "--xattrs-include=user.*")
"""Swift has an object's name and size there."""


@dataclass(frozen=True)
class Told:
    """What a backup has. members: files; octets: of them, unpacked."""

    header: Header
    members: int
    octets: int


def create(
    paths: Paths, site: Site, engine: Engine, file: Path | None, recipients: Sequence[pyrage.x25519.Recipient]
) -> int:
    """Keep the cloud as it is now and write it into a file (None: standard output); the octets before they
    were packed. Raises as keep.keep, and OSError."""
    # It goes in the end, and none that is there for its sake.
    generation = keep.keep(paths, site, engine, "for a backup", needed=record.numbers(paths))
    try:
        place = record.place(paths, generation.number)
        kept_site = place / HOST / paths.site_toml.name
        text = kept_site.read_text() if kept_site.is_file() else ""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with log.step("Write the backup"), archive.writing(file, recipients) as sink:
            writer = archive.Writer(sink)
            writer.header(Header(site.name, str(site.subnet), text, now, generation))
            for name in archive.TREES:
                writer.tree(name, place / name)
            with (
                helper(paths, site, engine, None) as name,
                run.reading(_packing(engine, name, generation)) as source,
            ):
                writer.pieces(OBJECTS, source)
            writer.end()
    finally:
        keep.remove(paths, site, engine, generation.number)
    return writer.octets


def verify(file: Path, key: Path | None, into: Path | None = None) -> Told:
    """Read a backup to its end. Raises UserError for what is none or has another key, Error for one that is
    damaged.

    into: where MariaDB's files of it are unpacked.
    """
    number = octets = 0
    with _opened(file, key) as (found, members):
        for info, content in members:
            if into and info.name.startswith(MARIADB):
                _member(info, content, into, secrets.UID)
            number += info.isreg()
            octets += info.size
    return Told(found, number, octets)


def open_databases(
    paths: Paths, site: Site, engine: Engine, file: Path, key: Path | None
) -> tuple[Told, list[str]]:
    """The same, and what MariaDB finds in its files otherwise than the backup says of itself (a kind of thing
    and how many a line). Raises Error when MariaDB cannot open them."""
    tag = scratch.require_image(paths, engine)
    keep.require_space(paths)
    new = record.begin(paths, record.next_number(paths))
    try:
        told = verify(file, key, new)
        there = scratch.seen(site, engine, tag, new / MARIADB)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return told, [
        f"{kind}: {len(there.get(kind, {}))} in its databases, and {len(named)} named"
        for kind, named in told.header.generation.things.items()
        if named != there.get(kind, {})
    ]


def header(file: Path, key: Path | None) -> Header:
    """What a backup says of itself."""
    with _opened(file, key) as (found, _):
        return found


def require_fits(found: Header, site: Site, release: str, now: datetime) -> None:
    """Raise UserError for a backup that the images here, Swift's policies here or this machine's clock do not
    fit.

    release: of the images that shall run; a younger one migrates what is restored.
    """
    policies = tuple(tomllib.loads(found.site_toml).get("swift_policies", Site().swift_policies))
    if policies != site.swift_policies:
        raise UserError(
            f"objects of the backup are in the storage policies {', '.join(policies)},"
            f" and here are {', '.join(site.swift_policies)}",
            hint=f"swift_policies = {json.dumps(policies)} in site.toml",
        )
    made = datetime.fromisoformat(found.time)
    if now < made - SLACK:
        raise UserError(
            f"this machine's clock is behind the backup: {now:%Y-%m-%d %H:%M}, and it was made at"
            f" {made:%Y-%m-%d %H:%M} UTC",
            evidence="Swift ignores what is written at a time before that of what it has",
            hint="set the clock, then the same command again",
        )
    was = found.generation.release
    if was and release and release < was:
        raise UserError(
            f"the backup is of {was}, and the images here are of {release}: no database goes back",
            hint=f"osbox build --release {was} --version {was}, then the same with --version {was}",
        )


def unpack(paths: Paths, site: Site, engine: Engine, file: Path, key: Path | None) -> Generation:
    """Have a generation of what is in a file, in a cloud whose volumes are there. It is whole or not there.

    Raises as verify does.
    """
    number = record.next_number(paths)
    new = record.begin(paths, number)
    try:
        with helper(paths, site, engine, new / VOLUMES) as name:
            inside(engine, name, "tidy", ",".join(map(str, record.numbers(paths))))
            found = _unpack(file, key, new, _unpacking(engine, name, number))
            inside(engine, name, "take", str(number))
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    _take_site(paths, new / HOST)
    generation = replace(
        found.generation,
        number=number,
        reason=f"the backup {file.name} of {found.name}",
        images={},  # those that are here
        version=compose.version(paths),
        lasting=True,
    )
    record.end(paths, new, generation)
    return generation


def _unpack(file: Path, key: Path | None, new: Path, feed: list[str]) -> Header:
    with ExitStack() as stack, _opened(file, key) as (found, members):
        objects: IO[bytes] | None = None
        for info, content in members:
            top = PurePosixPath(info.name).parts[0]
            if top == OBJECTS:
                objects = objects or stack.enter_context(run.feeding(feed))
                shutil.copyfileobj(content, objects, 1 << 20)
            elif top in archive.TREES:
                _member(info, content, new, secrets.UID if top == VOLUMES else 0)
            elif info.name != HEADER:
                raise UserError(f"{file} is no backup of osbox", evidence=f"it has {info.name}")
    return found


@contextmanager
def _opened(file: Path, key: Path | None) -> Iterator[tuple[Header, Iterator[Member]]]:
    """What a backup says of itself, and its members, that one too. Raises as verify does."""
    with archive.opened(file, key) as source:
        members = archive.read(source, str(file))
        first = next(members, None)
        if first is None:
            raise archive.damaged(str(file), "it is empty")
        info, content = first
        if info.name != HEADER:
            raise UserError(f"{file} is no backup of osbox", evidence=f"it begins with {info.name}")
        yield archive.header(content, str(file)), chain((first,), members)


def _member(info: tarfile.TarInfo, content: IO[bytes], new: Path, owner: int) -> None:
    """A file, directory or link below; nothing else is in a backup, and no way out of the place: a link is
    for who reads a volume, and nothing is written through one."""
    parts = PurePosixPath(info.name).parts
    place = new / info.name
    below = [one for one in (place, *place.parents) if one != new and one.is_relative_to(new)]
    links = any(one.is_symlink() for one in below)
    known = info.isdir() or info.isreg() or (info.issym() and parts[0] == VOLUMES)
    if ".." in parts or info.name.startswith("/") or links or not known:
        raise UserError("this is no backup of osbox", evidence=f"it has {info.name}")
    place.parent.mkdir(parents=True, exist_ok=True)
    if info.issym():
        place.symlink_to(info.linkname)
        os.chown(place, owner, owner, follow_symlinks=False)
        return
    if info.isdir():
        place.mkdir(exist_ok=True)
    else:
        with files.new(place) as target:
            shutil.copyfileobj(content, target, 1 << 20)
    os.chown(place, owner, owner)
    place.chmod(info.mode & 0o777)


def _take_site(paths: Paths, host: Path) -> None:
    """What this machine's files say of names, addresses and links holds here, not the backup's."""
    for file in (paths.site_toml, paths.stack_env):
        kept = host / file.name
        if file.is_file():
            files.write(kept, file.read_bytes(), mode=files.PRIVATE)
        else:
            kept.unlink(missing_ok=True)


def _packing(engine: Engine, helper: str, generation: Generation) -> list[str]:
    words = ("tar", "--create", *ATTRIBUTES, f"--directory={GENERATIONS}/{generation.number}", ".")
    return engine.argv("docker", "exec", helper, *words)


def _unpacking(engine: Engine, helper: str, number: int) -> list[str]:
    place = f"{GENERATIONS}/{number}.new"
    line = f"mkdir -p {place} && exec tar --extract {' '.join(ATTRIBUTES)} --directory={place}"
    return engine.argv("docker", "exec", "--interactive", helper, "sh", "-ec", line)
