"""The labels that a build gives an image: OCI's own and ours. What is not known gets no label.

Description and licence stand in the Dockerfiles: they are true however an image is built.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from osbox import run
from osbox.images import catalogue, packages
from osbox.images.catalogue import Image
from osbox.site import package
from osbox.site.site import Paths

INPUTS = "io.osbox.inputs"
RELEASE = "io.osbox.release"
SERVICE = "io.osbox.service"
OCI = "org.opencontainers.image."
VENDOR = "OpenStack in a box"
INPUT_FOLDERS = ("images", "releases")


@dataclass(frozen=True)
class Commit:
    """What git says of the checkout, or a wheel of the one that it was built from.

    changed: files under images/ and releases/ that are not as they were committed.
    """

    revision: str
    created: str
    source: str
    changed: tuple[str, ...]


def commit(project: Path) -> Commit | None:
    """The commit that is checked out, or that a wheel was built from; None where nothing tells: no git, or no
    clone of its own."""
    carried = package.read(project)
    if carried:
        changed = package.differing(project, carried, *(f"{name}/" for name in INPUT_FOLDERS))
        return (
            Commit(carried.revision, carried.created, carried.source, changed) if carried.revision else None
        )
    if not (project / ".git").exists() or not shutil.which("git"):
        return None
    # The checkout may belong to another user than root; no lock, so that nobody's own git command is
    # disturbed.
    git = ["git", "-c", f"safe.directory={project}", "--no-optional-locks", "-C", str(project)]
    head = run.run([*git, "log", "-1", "--format=%H %cI"], check=False)
    status = run.run(
        [*git, "status", "--porcelain", "-z", "--untracked-files=all", "--", *INPUT_FOLDERS], check=False
    )
    if head.code != 0 or status.code != 0:
        return None
    revision, _, created = head.out.strip().partition(" ")
    remote = run.run([*git, "remote", "get-url", "origin"], check=False).out.strip()
    changed = tuple(entry[3:] for entry in status.out.split("\0") if entry)
    return Commit(revision, created, package.public(remote), changed)


def of(
    paths: Paths, image: Image, *, version: str, release: str, digest: str, commit: Commit | None
) -> dict[str, str]:
    """All labels of an image that is built from inputs of that digest, at that commit."""
    found = {
        f"{OCI}title": image.name,
        f"{OCI}version": version,
        f"{OCI}vendor": VENDOR,
        f"{OCI}base.name": image.base and f"{image.base}:{version}",
        INPUTS: digest,
    }
    if commit:
        dirty = "-dirty" if any(_concerns(image, name) for name in commit.changed) else ""
        found |= {
            f"{OCI}revision": commit.revision + dirty,
            f"{OCI}source": commit.source,
            f"{OCI}created": commit.created,
        }
    if catalogue.OPENSTACK in (image.name, image.base):
        found |= {RELEASE: release, SERVICE: service(paths, image, release)}
    return {name: value for name, value in found.items() if value}


def service(paths: Paths, image: Image, release: str) -> str:
    """The OpenStack service of an image with its locked version, as pip writes it (keystone==29.0.0); "" if
    it has none."""
    lock = paths.releases / release / f"{image.project}.lock"
    names = (image.project, f"openstack-{image.project}")
    found = packages.locked(lock.read_text()) if lock.is_file() else {}
    return next((f"{name}=={found[name].version}" for name in names if name in found), "")


def _concerns(image: Image, name: str) -> bool:
    """Whether a file of the checkout can be an input of an image: its own folder, the ground's, a
    release's."""
    return bool(re.match(rf"(releases|images/base|images/{re.escape(image.project)})/", name))
