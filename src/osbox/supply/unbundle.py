"""Load a bundle: everything is checked before anything is changed, and what is there already is left
alone."""

import hashlib
import platform
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zstandard

from osbox import checksums, log, run
from osbox.build import debian, pool
from osbox.engine import docker, engine
from osbox.engine import root as engine_root
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.images import contents
from osbox.site.site import Paths, Site
from osbox.supply import checkout
from osbox.supply import manifest as manifests
from osbox.supply.manifest import Manifest, Member

SPARE_BYTES = 1 << 30
IMAGES_TWICE = 2  # dockerd unpacks the archive before it makes layers of it
CHUNK = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """An open bundle that was checked."""

    file: Path
    tar: tarfile.TarFile
    manifest: Manifest

    def read(self, member: Member) -> IO[bytes]:
        return _open(self.tar, member.name)


def load(paths: Paths, site: Site, file: Path, *, replace: bool = False) -> list[str]:
    """Load what the bundle has and this machine lacks; returns what was loaded (empty when nothing was
    lacking).

    Raises UserError for a file that is no bundle or not for this machine, or when images of a version that is
    not `latest` are here with other content (unless replace); Error when the bundle is damaged or the disk
    too small. Nothing was changed then.
    """
    engine.require_root()
    with checked(file) as opened:
        manifest, running = opened.manifest, engine.find(paths, site)
        lacking = _lacking(running, manifest)
        if not replace:
            _refuse_to_replace(running, lacking, manifest)
        wanted = not running and site.engine != "host" and manifest.engine == engine_root.recipe()
        root = wanted and not engine_root.is_current(paths.engine / "root")
        artifacts = [
            member
            for member in manifest.artifacts()
            if not (paths.artifacts / _directory_name(member)).is_dir()
        ]
        _require_space(
            paths,
            running,
            manifest,
            [*artifacts, *([manifest.member(manifests.ENGINE)] if root else [])],
            lacking,
        )
        _warn_of_another_checkout(paths, file, manifest)
        with pool.alone(paths):
            return _load(paths, site, opened, root=root, artifacts=artifacts)


def _load(paths: Paths, site: Site, opened: Bundle, *, root: bool, artifacts: Sequence[Member]) -> list[str]:
    loaded = []
    if root:
        with log.step("Unpack the private engine"), engine_root.replacing(paths) as new:
            _feed(
                ["tar", "--extract", "--directory", str(new), "--preserve-permissions", "--numeric-owner"],
                opened,
                manifests.ENGINE,
            )
        loaded.append("the private engine")
    for member in artifacts:
        with log.step(f"Unpack {_directory_name(member)}"):
            _unpack_artifact(paths, opened, member)
        loaded.append(_directory_name(member))
    _copy(
        opened, opened.manifest.wheels(), paths.wheels
    )  # a bundle can be made of this one, without a network
    running = engine.start(paths, site)
    lacking = _lacking(running, opened.manifest)
    if lacking:
        with log.step(f"Load {len(lacking)} images"):
            _feed(running.argv("docker", "load", "--quiet"), opened, manifests.IMAGES)
        _require_loaded(running, opened)
        _copy(opened, opened.manifest.provenance(), paths.provenance)
        loaded += lacking
    return loaded


# --- the file
# --------------------------------------------------------------------------------


@contextmanager
def checked(file: Path) -> Iterator[Bundle]:
    """Open a bundle, every member checked. Raises UserError when it is none, Error when it is damaged."""
    if not file.is_file():
        raise UserError(f"there is no file {file}", hint="osbox bundle create FILE makes one")
    foreign = UserError(f"{file} is no osbox bundle", hint="osbox bundle create FILE makes one")
    try:
        with tarfile.open(file, "r:") as tar:
            first = tar.next()
            if first is None or first.name != f"{manifests.TOP}/{manifests.LOAD}":
                raise foreign
            with log.step(f"Check {file}"):
                manifest = _check(file, tar)
            yield Bundle(file, tar, manifest)
    except tarfile.ReadError as error:
        if "not a" in str(error) or "empty" in str(error) or "invalid header" in str(error):
            raise foreign from error
        raise _damaged(file, "its end is missing") from error


def _check(file: Path, tar: tarfile.TarFile) -> Manifest:
    prefix = f"{manifests.TOP}/"
    names = {info.name.removeprefix(prefix) for info in tar.getmembers()}
    try:
        sums = checksums.parse(_open(tar, checksums.FILE).read().decode())
        for name, wanted in sums.items():
            if name not in names:
                raise _damaged(file, f"{name} is missing")
            if _digest(_open(tar, name)) != wanted:
                raise _damaged(file, f"{name} is not what it was")
        manifest = manifests.parse(_open(tar, manifests.MANIFEST).read())
    except (KeyError, ValueError) as error:
        raise _damaged(file, str(error)) from error
    if manifest.machine != platform.machine():
        raise UserError(
            f"{file} is for {manifest.machine}, this machine is {platform.machine()}",
            hint="make a bundle on a machine of this kind",
        )
    return manifest


def _damaged(file: Path, what: str) -> Error:
    return Error(
        f"{file} is damaged: {what}", hint="copy it again, or make it anew: osbox bundle create FILE"
    )


def _open(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(f"{manifests.TOP}/{name}")
    if found is None:
        raise KeyError(name)
    return found


def _digest(source: IO[bytes]) -> str:
    total = hashlib.sha256()
    while chunk := source.read(CHUNK):
        total.update(chunk)
    return total.hexdigest()


# --- before anything is changed
# --------------------------------------------------------------------------------


def _lacking(running: Engine | None, manifest: Manifest) -> list[str]:
    """Tags that are not here, or have another content."""
    have = _contents(running, manifest.images) if running else {}
    return [tag for tag, content in manifest.images.items() if have.get(tag) != content]


def _contents(running: Engine, tags: Mapping[str, str]) -> dict[str, str]:
    return {tag: contents.content(entry.layers) for tag, entry in docker.images(running, *tags).items()}


def _refuse_to_replace(running: Engine | None, lacking: Sequence[str], manifest: Manifest) -> None:
    """`latest` and the Debian base move; any other version is a promise, as for osbox build."""
    here = set(_contents(running, manifest.images)) if running and manifest.version != "latest" else set()
    other = [tag for tag in lacking if tag in here and tag != debian.TAG]
    if other:
        raise UserError(
            f"these images are here with other content: {', '.join(other)}",
            hint="to replace them: the same with --replace",
        )


def _require_space(
    paths: Paths, running: Engine | None, manifest: Manifest, todo: Sequence[Member], lacking: Sequence[str]
) -> None:
    images = manifest.member(manifests.IMAGES).unpacked * IMAGES_TWICE if lacking else 0
    need = sum(member.unpacked for member in todo) + images
    need = need + SPARE_BYTES if running else max(need + SPARE_BYTES, engine.MIN_FREE_BYTES)
    place = next(place for place in (paths.home, *paths.home.parents) if place.exists())
    free = shutil.disk_usage(place).free
    if (todo or lacking) and free < need:
        raise Error(
            f"only {free >> 20} MiB free under {place}: loading this bundle needs {need >> 20} MiB",
            hint="free some space, or set OSBOX_HOME to a directory on a larger disk",
        )


def _warn_of_another_checkout(paths: Paths, file: Path, manifest: Manifest) -> None:
    other = checkout.others(paths.project, manifest)
    if other:
        log.warn(
            f"{len(other)} files of this checkout are not the bundle's ({', '.join(other[:3])} …): what is"
            f" made of them is built anew, which needs a network. The bundle's own checkout: tar -xf {file}"
            f" {manifests.TOP}/{manifests.LOAD}; {manifests.TOP}/{manifests.LOAD} {file}"
        )


# --- the changes
# --------------------------------------------------------------------------------


def _feed(argv: Sequence[str], opened: Bundle, name: str) -> None:
    """Decompress a member into a process."""
    with opened.read(opened.manifest.member(name)) as source, run.feeding(argv) as sink:
        zstandard.ZstdDecompressor().copy_stream(source, sink)


def _directory_name(member: Member) -> str:
    """The directory that an artefact is unpacked to."""
    return member.name.removeprefix(manifests.ARTIFACTS).removesuffix(".tar.zst")


def _unpack_artifact(paths: Paths, opened: Bundle, member: Member) -> None:
    """Into a directory of another name, which gets its own when it is whole."""
    target = paths.artifacts / _directory_name(member)
    new = target.with_name(target.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    _feed(
        ["tar", "--extract", "--directory", str(new), "--strip-components=1", "--no-same-owner"],
        opened,
        member.name,
    )
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def _copy(opened: Bundle, members: Sequence[Member], target: Path) -> None:
    """Members as they are, those that are there already left out."""
    target.mkdir(parents=True, exist_ok=True)
    for member in members:
        file = target / Path(member.name).name
        if not file.exists() or manifests.sha256(file) != member.sha256:
            with opened.read(member) as source, file.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _require_loaded(running: Engine, opened: Bundle) -> None:
    lacking = _lacking(running, opened.manifest)
    if lacking:
        raise Error(
            f"Docker loaded {opened.file} without an error, but {', '.join(lacking)} is not there",
            hint="osbox images",
        )
