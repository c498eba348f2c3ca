"""The files that bare metal boots from: deploy ramdisk and guest image, built from images/ramdisk and
images/guest.

A built file lies in `artifacts/<kind>-<hash of everything it was made of>/`, so that none is made twice, and
the directory gets its name when all of it is there.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from osbox import lock, log, run
from osbox.build import debian
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.releases import resolve
from osbox.site import recipes
from osbox.site.site import Paths, Site

BASE_FILES = (
    "apt-install",
    "dpkg-exclude",
    "packages-builder.txt",
    "uv-run",
    "uv.lock.txt",
)  # of images/base
FACTS = "artifact.json"  # beside the files: what they are, written last
HASH_LENGTH = 12
OLD_SECONDS = 86400
GIB = 1 << 30
GUEST_SPARE = GIB  # what a server needs beside the image's own files to be of any use


@dataclass(frozen=True)
class Recipe:
    """What an artefact is made of: images/<kind>, more files and the build arguments."""

    kind: Literal["guest", "ramdisk"]
    args: dict[str, str]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Ramdisk:
    """The kernel and the initramfs that Ironic boots a node with."""

    kernel: Path
    initramfs: Path


@dataclass(frozen=True)
class Guest:
    """A raw whole-disk image, as Glance wants to know it."""

    path: Path
    checksum: str
    """SHA-256 in hexadecimal."""
    size: int
    min_disk_gib: int


def ramdisk(
    engine: Engine,
    paths: Paths,
    site: Site,
    *,
    on_line: Callable[[str], None],
    release: str,
    kernel: str = "cloud",
    firmware: bool = False,
) -> Ramdisk:
    """The deploy ramdisk, as build_ramdisk has it, of a release whose locks fit and with the Debian that it
    stands on."""
    resolve.check(paths, release)
    debian.ensure(paths, engine)
    with log.step("Deploy ramdisk"):
        return build_ramdisk(
            engine,
            paths,
            site,
            debian=debian.TAG,
            on_line=on_line,
            release=release,
            kernel=kernel,
            firmware=firmware,
        )


def guest(
    engine: Engine, paths: Paths, site: Site, *, on_line: Callable[[str], None], kernel: str = "cloud"
) -> Guest:
    """The Debian guest image, as build_guest has it, with the Debian that it stands on."""
    debian.ensure(paths, engine)
    with log.step("Guest image"):
        return build_guest(engine, paths, site, debian=debian.TAG, on_line=on_line, kernel=kernel)


def build_ramdisk(
    engine: Engine,
    paths: Paths,
    site: Site,  # noqa: ARG001 - verbs take it
    *,
    debian: str,
    on_line: Callable[[str], None],
    release: str,
    kernel: str = "cloud",
    firmware: bool = False,
) -> Ramdisk:
    """The deploy ramdisk, built unless it is there already.

    debian is the base image's name, release the OpenStack release whose agent it has.
    For real hardware: kernel `generic` instead of `cloud`, and non-free firmware.
    """
    args = {"DEBIAN": debian, "RELEASE": release, "KERNEL": kernel, "FIRMWARE": str(int(firmware))}
    at = recipes.frozen(paths)
    directory = _made(engine, at, Recipe("ramdisk", args, (at.releases / release / "ramdisk.lock",)), on_line)
    return Ramdisk(kernel=directory / "kernel", initramfs=directory / "initramfs")


def build_guest(
    engine: Engine,
    paths: Paths,
    site: Site,  # noqa: ARG001 - verbs take it
    *,
    debian: str,
    on_line: Callable[[str], None],
    kernel: str = "cloud",
) -> Guest:
    """The Debian guest image, built unless it is there already."""
    recipe = Recipe("guest", {"DEBIAN": debian, "KERNEL": kernel})
    directory = _made(engine, recipes.frozen(paths), recipe, on_line)
    facts = json.loads((directory / FACTS).read_text())["files"]["debian.raw"]
    size = int(facts["size"])
    min_disk = -(-(size + GUEST_SPARE) // GIB)
    return Guest(directory / "debian.raw", checksum=facts["sha256"], size=size, min_disk_gib=min_disk)


def _made(engine: Engine, paths: Paths, recipe: Recipe, on_line: Callable[[str], None]) -> Path:
    """The directory of an artefact that is whole; those of its kind that were long not used are gone."""
    inputs = [
        *_tree(paths.images / recipe.kind),
        *(paths.images / "base" / name for name in BASE_FILES),
        *recipe.files,
    ]
    # The base image is named by tag: what the tag means now belongs to the inputs.
    identity = {**recipe.args, "base": _image_id(engine, recipe.args["DEBIAN"])}
    directory = paths.artifacts / f"{recipe.kind}-{input_hash(paths.project, inputs, identity)}"
    with lock.alone(paths.lock(recipe.kind), f"The {recipe.kind} is being built"):
        if not (directory / FACTS).is_file():
            _build(engine, paths, recipe, directory, on_line)
        os.utime(directory)
        _remove_others(directory, recipe.kind)
    return directory


def input_hash(root: Path, files: Iterable[Path], args: dict[str, str]) -> str:
    """A short hash of files (names below root, contents, x bits) and build arguments."""
    digest = hashlib.sha256(json.dumps(args, sort_keys=True).encode())
    for file in sorted(set(files)):
        content = file.read_bytes()
        digest.update(f"\n{file.relative_to(root)} {file.stat().st_mode & 0o111:o} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:HASH_LENGTH]


def _build(
    engine: Engine, paths: Paths, recipe: Recipe, directory: Path, on_line: Callable[[str], None]
) -> None:
    """Build into a directory of another name and rename it when it is whole."""
    new = directory.with_name(directory.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    dockerfile = Path("images") / recipe.kind / "Dockerfile"
    argv = docker.build_argv(engine, paths, dockerfile, target=recipe.kind, output=new, args=recipe.args)
    record = paths.logs / f"build-{recipe.kind}.log"
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("w") as file:

        def keep(line: str) -> None:
            file.write(line + "\n")
            on_line(line)

        code = docker.build(engine, argv, keep)
    if code != 0:
        shutil.rmtree(new, ignore_errors=True)
        raise Error(
            f"the {recipe.kind} could not be built",
            evidence=run.tail(record.read_text()),
            hint=f"read {record}",
        )
    facts = {"kind": recipe.kind, "args": recipe.args, "files": _describe(new)}
    (new / FACTS).write_text(json.dumps(facts, indent=2) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    new.rename(directory)


def _describe(directory: Path) -> dict[str, dict[str, str | int]]:
    files = sorted(file for file in directory.iterdir() if file.is_file())
    return {file.name: {"size": file.stat().st_size, "sha256": _sha256(file)} for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _tree(directory: Path) -> list[Path]:
    return [file for file in directory.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _image_id(engine: Engine, name: str) -> str:
    found = docker.image(engine, name)
    return found.id if found else ""


def _remove_others(directory: Path, kind: str) -> None:
    """Older builds of the same arguments go when they were not used for a day: another checkout's may be in
    use. The other kernel's, say, stays."""
    ours = re.compile(rf"{kind}-[0-9a-f]{{{HASH_LENGTH}}}(\.new)?")
    for other in directory.parent.iterdir():
        if other != directory and ours.fullmatch(other.name):
            args = _args(other)
            old = time.time() - other.stat().st_mtime > OLD_SECONDS
            if args is None or (args == _args(directory) and old):
                shutil.rmtree(other, ignore_errors=True)


def _args(directory: Path) -> object:
    """The build arguments of an artefact; None when it is not whole."""
    facts = directory / FACTS
    return json.loads(facts.read_text())["args"] if facts.is_file() else None
