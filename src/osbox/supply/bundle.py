"""Make a bundle: one file with all that an empty machine without a network needs for `osbox demo`.

osbox-bundle/load             the way in, a shell script
             SHA256SUMS       of all that follows; `sha256sum -c` reads it
             manifest.json    osbox.supply.manifest.Manifest
             checkout.tar     the files of the checkout that git knows, or that a wheel carries
             provenance/…     the statements about the images, which `osbox images verify` compares them with
             wheels/…         the tool's libraries, as requirements.lock has them
             engine.tar.zst   the private engine's root file system
             artifacts/…      deploy ramdisk and guest image
             images.tar.zst   `docker save` of all images: a layer that several share is in it once
"""

import hashlib
import io
import os
import platform
import shutil
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import zstandard

from osbox import checksums, log, run
from osbox.build import provenance
from osbox.engine import docker
from osbox.engine import root as engine_root
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.images import contents
from osbox.site.site import Paths
from osbox.supply import checkout, wheels
from osbox.supply import manifest as manifests
from osbox.supply.checkout import Checkout
from osbox.supply.manifest import Manifest, Member

T = TypeVar("T")
LEVEL = 3  # zstd: 255 MB and 3.3 s of processor time for the images, where gzip -1 took 10.4 s for 301 MB
MIN_FREE_BYTES = 3 << 30  # a bundle has about 0.7 GB, and its parts as much
SCRIPT = Path(__file__).with_name("bundle-load")
# What Debian's packages put into the engine's root, and no more: dockerd, its client and the host leave their
# traces in it.
ROOT = ("bin", "dev", "etc", "lib", "lib64", "sbin", "usr", "var/lib/dpkg")
ROOT_EMPTY = (
    "boot",
    "home",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "var",
    "var/cache",
    "var/lib",
    "var/lock",
    "var/log",
    "var/run",
    "var/spool",
    "var/tmp",
)
ROOT_LEFT_OUT = ("etc/docker", "etc/hostname", "etc/resolv.conf", "etc/containerd")
TRIES, PAUSE_SECONDS = 3, 2.0
CHANGED = (  # all was packed, but a file was another one at its end than at its beginning, or gone
    "tar failed with exit code 1"
)


def create(
    paths: Paths,
    engine: Engine,
    file: Path,
    *,
    tags: Sequence[str],
    artifacts: Iterable[Path],
    version: str,
    release: str,
) -> Manifest:
    """Write a bundle of the images with these tags and these artefacts' directories.

    The file gets its name when it is whole, and replaces one of that name. Raises Error when the disk is full
    or a wheel cannot be had.
    """
    require_place(file)
    parts = file.with_name(file.name + ".parts")
    shutil.rmtree(parts, ignore_errors=True)
    (parts / manifests.ARTIFACTS).mkdir(parents=True)
    try:
        of = checkout.of(paths.project, parts / "checkout")
        _warn_of_changes(of)
        members = [
            _pack_checkout(of, parts),
            *_copy_provenance(paths, tags, parts),
            *wheels.fetch(paths, parts),
        ]
        with log.step("Pack engine, ramdisk and guest image"):
            members += [
                _pack_engine(paths, engine, parts),
                *(_pack_artifact(made, parts) for made in sorted(artifacts)),
            ]
        with log.step(f"Pack {len(tags)} images"):
            members.append(_pack(engine.argv("docker", "save", *tags), parts, manifests.IMAGES))
        manifest = Manifest(
            revision=of.revision,
            changed=of.changed,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=platform.machine(),
            version=version,
            release=release,
            python=wheels.pythons(),
            engine=engine_root.recipe(),
            images=_contents(engine, tags),
            files=_packed(parts),
            members=tuple(members),
        )
        with log.step(f"Write {file}"):
            _assemble(file, parts, manifest)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return manifest


def require_place(file: Path) -> None:
    """Raises UserError when no file can be made there, Error when the disk is too small for it."""
    if file.is_dir():
        raise UserError(f"{file} is a directory", hint=f"name a file in it: {file / 'osbox.tar'}")
    if not file.parent.is_dir():
        raise UserError(f"there is no directory {file.parent}", hint=f"mkdir -p {file.parent}")
    free = shutil.disk_usage(file.parent).free
    if free < MIN_FREE_BYTES:
        raise Error(
            f"only {free >> 20} MiB free under {file.parent}: making a bundle needs"
            f" {MIN_FREE_BYTES >> 20} MiB",
            hint="free some space, or name a file on a larger disk",
        )


def _settled(pack: Callable[[], T]) -> T:
    """Pack what may be in use: what changed while it was read is tried again, and named when it goes on
    changing."""
    for tried in range(1, TRIES + 1):
        try:
            return pack()
        except Error as error:
            if error.message != CHANGED:
                raise
            if tried == TRIES:
                hint = "let what writes there come to its end, then the same command again"
                raise Error(
                    f"files changed while they were packed, {TRIES} times", evidence=error.evidence, hint=hint
                ) from error
            time.sleep(PAUSE_SECONDS)
    raise AssertionError


def _contents(engine: Engine, tags: Sequence[str]) -> Mapping[str, str]:
    found = docker.images(engine, *tags)
    if gone := [tag for tag in tags if tag not in found]:
        raise Error(f"removed while the bundle was made: {', '.join(gone)}", hint="osbox build, then again")
    return {tag: contents.content(found[tag].layers) for tag in tags}


# --- the checkout
# --------------------------------------------------------------------------------


def _warn_of_changes(of: Checkout) -> None:
    if of.changed:
        log.warn(
            f"{len(of.changed)} files differ from the commit {of.revision[:12]} and go into the bundle as"
            f" they are: {', '.join(of.changed[:3])} …"
        )


def _pack_checkout(of: Checkout, parts: Path) -> Member:
    listed = parts / "names"
    listed.write_text("".join(f"{name}\0" for name in of.names))
    # Modes as they are: images are made of them, too.
    target = parts / manifests.CHECKOUT
    _settled(
        lambda: run.run(
            [
                "tar",
                "--create",
                "--file",
                str(target),
                "--directory",
                str(of.place),
                "--owner=0",
                "--group=0",
                "--numeric-owner",
                "--mtime=@0",
                "--format=gnu",
                "--no-recursion",
                "--null",
                f"--files-from={listed}",
            ]
        )
    )
    return Member(manifests.CHECKOUT, manifests.sha256(target), target.stat().st_size, target.stat().st_size)


def _packed(parts: Path) -> dict[str, str]:
    """The packed checkout's files with their SHA-256 (as manifests.sha256 has it): those that lie there may
    be others by now."""
    with tarfile.open(parts / manifests.CHECKOUT) as tar:
        return {info.name: _sha256(tar, info) for info in tar}


def _sha256(tar: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    content = None if info.issym() else tar.extractfile(info)
    if content is None:
        return hashlib.sha256(info.linkname.encode()).hexdigest()
    total = hashlib.sha256()
    while chunk := content.read(1 << 20):
        total.update(chunk)
    return total.hexdigest()


# --- wheels
# --------------------------------------------------------------------------------


def _copy_provenance(paths: Paths, tags: Sequence[str], parts: Path) -> list[Member]:
    (parts / manifests.PROVENANCE).mkdir()
    members = []
    for file in filter(Path.is_file, sorted(provenance.file(paths, tag) for tag in tags)):
        copy = parts / manifests.PROVENANCE / file.name
        shutil.copyfile(file, copy)  # a build may write another one now
        size = copy.stat().st_size
        members.append(Member(f"{manifests.PROVENANCE}{file.name}", manifests.sha256(copy), size, size))
    return members


# --- what is compressed
# --------------------------------------------------------------------------------


def _pack(argv: Sequence[str], parts: Path, name: str) -> Member:
    """Compress what a process writes."""
    target = parts / name

    def pack() -> tuple[int, int]:
        with target.open("wb") as sink, run.reading(argv) as source:
            return zstandard.ZstdCompressor(level=LEVEL, threads=os.cpu_count() or 1).copy_stream(
                source, sink
            )

    unpacked, size = _settled(pack)
    return Member(name, manifests.sha256(target), size, unpacked)


def _pack_engine(paths: Paths, engine: Engine, parts: Path) -> Member:
    root = paths.engine / "root"
    if engine.kind == "private" and not engine_root.is_current(root):
        raise UserError(
            "the engine that runs was made by another osbox",
            hint="osbox engine stop, then the same command again",
        )
    engine_root.ensure(paths)
    return _pack(root_argv(root, parts / "empty"), parts, manifests.ENGINE)


def root_argv(root: Path, empty: Path) -> list[str]:
    """The command that writes an engine's root as a tar, also while the engine runs.

    empty: a new directory for what it needs.
    """
    there = [name for name in ROOT if (root / name).exists() or (root / name).is_symlink()]
    return [
        "tar",
        "--create",
        "--numeric-owner",
        "--sort=name",
        "--format=gnu",
        *(f"--exclude=./{name}" for name in ROOT_LEFT_OUT),
        "--directory",
        str(empty),
        "--no-recursion",
        *(f"./{name}" for name in _make_empty(root, empty)),
        "--directory",
        str(root),
        "--recursion",
        *(f"./{name}" for name in there),
    ]


def _make_empty(root: Path, empty: Path) -> list[str]:
    """The directories that are packed empty, made anew: of a live one, which changes under tar's eyes, tar
    would complain."""
    empty.mkdir()
    made = [name for name in ROOT_EMPTY if (root / name).is_dir() or (root / name).is_symlink()]
    for name in made:
        live, new = root / name, empty / name
        if live.is_symlink():
            new.symlink_to(live.readlink())
        else:
            new.mkdir()
            shutil.copymode(live, new)
        os.chown(new, live.lstat().st_uid, live.lstat().st_gid, follow_symlinks=False)
    return made


def _pack_artifact(directory: Path, parts: Path) -> Member:
    return _pack(
        [
            "tar",
            "--create",
            "--directory",
            str(directory.parent),
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--sort=name",
            "--format=gnu",
            directory.name,
        ],
        parts,
        f"{manifests.ARTIFACTS}{directory.name}.tar.zst",
    )


def _assemble(file: Path, parts: Path, manifest: Manifest) -> None:
    text = manifests.render(manifest).encode()
    digests = {manifests.LOAD: manifests.sha256(SCRIPT), manifests.MANIFEST: hashlib.sha256(text).hexdigest()}
    sums = checksums.render(digests | {member.name: member.sha256 for member in manifest.members}).encode()
    new = file.with_name(file.name + ".new")
    with tarfile.open(new, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in (
            (manifests.LOAD, SCRIPT.read_bytes()),
            (checksums.FILE, sums),
            (manifests.MANIFEST, text),
        ):
            _add(
                tar, name, len(content), io.BytesIO(content), mode=0o755 if name == manifests.LOAD else 0o644
            )
        for member in manifest.members:
            with (parts / member.name).open("rb") as source:
                _add(tar, member.name, member.size, source)
    new.rename(file)


def _add(tar: tarfile.TarFile, name: str, size: int, source: io.BufferedIOBase, *, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(f"{manifests.TOP}/{name}")
    info.size, info.mode = size, mode
    tar.addfile(info, source)
