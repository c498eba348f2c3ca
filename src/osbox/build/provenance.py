"""Where an image comes from: a SLSA v1 provenance statement (in-toto, JSON) for each one built, in the state
directory.

BuildKit's own attestations need a storage that keeps manifests; the graph drivers of Docker Engine keep none.
What is written here is what the tool knows at the moment of the build. It is not signed: it is as trustworthy
as the state directory.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from osbox import files as whole
from osbox.build import debian, dockerfile
from osbox.build.accounts import digest_of_link
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import Error
from osbox.images import catalogue, labels
from osbox.images.catalogue import Image
from osbox.site.site import Paths

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://docs.docker.com/reference/dockerfile"
BUILDER = "urn:osbox"  # an identity of its own, no address: anybody builds on a machine of theirs


@dataclass(frozen=True)
class Inputs:
    """What an image is made from, looked at before its build begins: the digest of all, and its files with
    their SHA-256."""

    digest: str
    files: Mapping[str, str]


def record(
    paths: Paths, engine: Engine, images: Mapping[Image, Inputs], *, version: str, release: str
) -> None:
    """Write the statements of images that were built.

    One that does not have its new inputs was not built; one whose statement has its id has been recorded
    before. An image that stands on another names it with its id, so that the chain down to Debian can be
    followed.
    """
    if not images:
        return
    tags = {
        image.tag(version): [
            name
            for name in (
                f"{image.base}:{version}" if image.base else debian.TAG,
                catalogue.BUILDER.tag(version) if image.builder else "",
            )
            if name
        ]
        for image in images
    }
    names = dict.fromkeys([*tags, *(name for needed in tags.values() for name in needed)])
    entries = docker.images(engine, *names)
    commit, versions = labels.commit(paths.project), _versions(engine)
    for image, inputs in images.items():
        tag = image.tag(version)
        entry = entries.get(tag)
        before = load(paths, tag)
        is_made = entry and entry.labels.get(labels.INPUTS) == inputs.digest
        if entry and is_made and not (before and subjects(before)[0] == entry.id):
            target = file(paths, tag)
            bases = {name: entries[name].id for name in tags[tag] if name in entries}
            document = statement(
                image, entry, bases, inputs.files, release=release, commit=commit, versions=versions
            )
            whole.write(target, json.dumps(document, indent=2) + "\n")


def statement(
    image: Image,
    entry: ImageInfo,
    bases: Mapping[str, str],
    read: Mapping[str, str],
    *,
    release: str,
    commit: labels.Commit | None,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The statement about one image.

    entry: what Docker says of it; bases: ids of what it was made from; read: its files.
    """
    own_labels = entry.labels
    names = {
        "title": own_labels.get(f"{labels.OCI}title", image.name),
        "version": own_labels.get(f"{labels.OCI}version", ""),
    }
    subject = [{"name": f"{names['title']}:{names['version']}", "digest": _digest(entry.id)}]
    subject += [
        {"name": f"layer {number}", "digest": _digest(one)} for number, one in enumerate(entry.layers, 1)
    ]
    return {
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "dockerfile": str(image.dockerfile),
                    "target": image.name,
                    **names,
                    **({"release": release} if labels.RELEASE in own_labels else {}),
                },
                "internalParameters": {
                    "inputs": own_labels.get(labels.INPUTS, ""),
                    "labels": dict(sorted(own_labels.items())),
                },
                "resolvedDependencies": _materials(bases, own_labels, read, commit),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": dict(versions)},
                "metadata": {"finishedOn": entry.created},
            },
        },
    }


def load(paths: Paths, tag: str) -> dict[str, Any] | None:
    """The statement of a tag, or None; raises Error for a file that is none."""
    try:
        return dict(json.loads(file(paths, tag).read_text()))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Error(
            f"{file(paths, tag)} is no provenance statement: {error}",
            hint=f"osbox build --no-cache {tag.partition(':')[0]}",
        ) from error


def forget(paths: Paths, tag: str) -> None:
    """The tag is gone: so is its statement."""
    with suppress(FileNotFoundError):
        file(paths, tag).unlink()


def subjects(document: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A statement's image id and layers."""
    digests = [f"sha256:{item['digest']['sha256']}" for item in document["subject"]]
    return digests[0], digests[1:]


def _materials(
    bases: Mapping[str, str],
    own_labels: Mapping[str, str],
    read: Mapping[str, str],
    commit: labels.Commit | None,
) -> list[dict[str, Any]]:
    materials: list[dict[str, Any]] = []
    revision = own_labels.get(f"{labels.OCI}revision", "")
    if commit and revision:
        materials.append(
            {
                "uri": f"git+{commit.source}" if commit.source else "git:osbox",
                "digest": {"gitCommit": revision.removesuffix("-dirty")},
                **({"annotations": {"dirty": True}} if revision.endswith("-dirty") else {}),
            }
        )
    materials += [
        {"name": tag, "uri": f"docker-image:{tag}", "digest": _digest(one)} for tag, one in bases.items()
    ]
    for name, digest in read.items():
        materials.append({"name": name, "uri": f"file:{name}", "digest": {"sha256": digest}})
    return materials


def files(document: Mapping[str, Any]) -> dict[str, str]:
    """The files of the checkout that an image was made from, with their SHA-256."""
    materials = document["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {item["name"]: item["digest"]["sha256"] for item in materials if item["uri"].startswith("file:")}


def read(paths: Paths, image: Image, release: str) -> dict[str, str]:
    """All files that an image and what it stands on are made from, with their SHA-256; a link has that of
    where it leads."""
    found: dict[str, str] = {}
    while True:
        for path in [
            paths.project / image.dockerfile,
            *dockerfile.files(paths.project, image.dockerfile, image.name, {"RELEASE": release}),
        ]:
            digest = (
                digest_of_link(str(path.readlink()))
                if path.is_symlink()
                else hashlib.sha256(path.read_bytes()).hexdigest()
            )
            found[str(path.relative_to(paths.project))] = digest
        if not image.base:
            return dict(sorted(found.items()))
        image = catalogue.BY_NAME[image.base]


def _versions(engine: Engine) -> dict[str, str]:
    """Who built: the tool, the engine, Buildx, the machine's kind."""
    buildx = docker.ask(engine, "buildx", "version", check=False).out.split()
    return {
        "osbox": installed("osbox"),
        "docker": engine.version,
        "buildx": buildx[1] if len(buildx) > 1 else "",
        "platform": platform.machine(),
    }


def _digest(identity: str) -> dict[str, str]:
    algorithm, _, value = identity.partition(":")
    return {algorithm: value}


def file(paths: Paths, tag: str) -> Path:
    """Where the statement of a tag is, or would be."""
    return paths.provenance / f"{tag.replace(':', '_')}.json"
