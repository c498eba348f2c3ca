"""A bundle's table of contents: what is in the file, of which commit, for which machine, and the digest of
every member."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
TOP = "osbox-bundle"
"""The directory that every member is in."""
LOAD, MANIFEST, CHECKOUT = "load", "manifest.json", "checkout.tar"
ENGINE, IMAGES = "engine.tar.zst", "images.tar.zst"
ARTIFACTS, WHEELS, PROVENANCE = "artifacts/", "wheels/", "provenance/"


@dataclass(frozen=True)
class Member:
    """A file in the bundle. unpacked: bytes that it takes on disk when it is loaded."""

    name: str
    sha256: str
    size: int
    unpacked: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    changed: files that differ from the revision. images: a digest of the content of each, by tag. engine:
    what the engine's root file system was made of. python: the versions of Python that the wheels are for.
    """

    revision: str
    changed: tuple[str, ...]
    created: str
    machine: str
    version: str
    release: str
    python: tuple[str, ...]
    engine: str
    images: Mapping[str, str]
    files: Mapping[str, str]
    members: tuple[Member, ...]
    format: int = FORMAT

    def member(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    def artifacts(self) -> list[Member]:
        return [member for member in self.members if member.name.startswith(ARTIFACTS)]

    def wheels(self) -> list[Member]:
        return [member for member in self.members if member.name.startswith(WHEELS)]

    def provenance(self) -> list[Member]:
        return [member for member in self.members if member.name.startswith(PROVENANCE)]


def render(manifest: Manifest) -> str:
    return json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n"


def parse(text: bytes) -> Manifest:
    """Raises ValueError for what is no manifest of this format."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']}, this osbox reads {FORMAT}")
        members = tuple(Member(**member) for member in data.pop("members"))
        changed, python = tuple(data.pop("changed")), tuple(data.pop("python"))
        return Manifest(members=members, changed=changed, python=python, **data)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError("its table of contents cannot be read") from error


def sha256(file: Path) -> str:
    """Of a file's content; of a symbolic link, which may lead nowhere here: of where it leads."""
    if file.is_symlink():
        return hashlib.sha256(str(file.readlink()).encode()).hexdigest()
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
