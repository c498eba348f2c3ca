"""What a bundle packs as its checkout, and which commit that is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osbox import run
from osbox.errors import UserError
from osbox.site import package, recipes
from osbox.site.package import Package
from osbox.supply import manifest as manifests
from osbox.supply.manifest import Manifest

STAMP = ".from-bundle"  # in a checkout that came out of a bundle: that bundle's manifest
UNKNOWN = "unknown"  # of a wheel that was built without git


@dataclass(frozen=True)
class Checkout:
    """Files by name below place. changed: those that are not as in the revision."""

    place: Path
    revision: str
    names: tuple[str, ...]
    changed: tuple[str, ...]


def of(project: Path, scratch: Path) -> Checkout:
    """Of a clone the files that git tracks: others may be anybody's, and stay. A checkout from a bundle knows
    its own. Of a wheel those that it was built from, laid out in scratch as in a clone.

    Raises UserError where nothing tells which files belong to the project.
    """
    carried = package.read(project)
    if carried:
        return _of_wheel(project, carried, scratch)
    stamp = project / STAMP
    if stamp.is_file():
        origin = manifests.parse(stamp.read_bytes())
        names = tuple(sorted(name for name in origin.files if _is_there(project, name)))
        changed = (name for name in names if origin.files[name] != manifests.sha256(project / name))
        return Checkout(project, origin.revision, names, tuple(changed))
    if not (project / ".git").exists():
        raise UserError(
            f"{project} is neither a clone nor from a bundle, so nothing tells which files belong to it",
            hint="git clone",
        )
    tracked = _git(project, "ls-files", "-z").split("\0")
    return Checkout(
        project,
        _git(project, "rev-parse", "HEAD").strip(),
        tuple(sorted(name for name in tracked if name and _is_there(project, name))),
        tuple(filter(None, _git(project, "diff", "HEAD", "--name-only", "-z").split("\0"))),
    )


def others(project: Path, manifest: Manifest) -> list[str]:
    """Those of a bundle's files that are not the same here. In a wheel, which has no tests, those count that
    images and the cloud are made of."""
    tops = (*recipes.CONTEXT, *recipes.COMPOSE) if package.read(project) else ("",)
    here = dict(_digests(project, manifest, tops))
    return [
        name for name, digest in manifest.files.items() if name.startswith(tops) and here.get(name) != digest
    ]


def _digests(project: Path, manifest: Manifest, tops: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if package.read(project):
        yield from ((entry.name, entry.sha256) for entry in package.entries(project, *tops))
        return
    for name in manifest.files:
        if _is_there(project, name):
            yield name, manifests.sha256(project / name)


def _of_wheel(project: Path, carried: Package, scratch: Path) -> Checkout:
    found = list(package.entries(project, *package.CARRIED))
    scratch.mkdir(parents=True)
    recipes.lay_out(scratch, found)
    changed = package.differing(project, carried, *package.CARRIED)
    return Checkout(scratch, carried.revision or UNKNOWN, tuple(entry.name for entry in found), changed)


def _is_there(project: Path, name: str) -> bool:
    """A link in a recipe may lead nowhere but inside its image."""
    return (project / name).is_file() or (project / name).is_symlink()


def _git(project: Path, *words: str) -> str:
    # The clone may be somebody else's who became root by sudo: git would refuse.
    return run.run(["git", "-c", "safe.directory=*", "-C", str(project), *words]).out
