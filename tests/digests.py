"""What a test depends on, as digests: the whole tree, or an image's inputs with the code that tests it."""

import hashlib
import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from osbox import run
from osbox.build import dockerfile, provenance
from osbox.errors import Error
from osbox.images import catalogue
from osbox.images.catalogue import Image
from osbox.releases import folder as releases
from osbox.releases import release
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.home import BASE

OF_ALL_IMAGES = ("src/osbox/", "compose/", "requirements.lock", "pyproject.toml", "tests/")
"""What the test of an image depends on besides the image; of the tests those that are in play
(`Digests.code`)."""


def of(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def of_files(project: Path, names: Iterable[str]) -> str:
    """Of files by name, mode and content; of a link, where it leads; of what is gone, that it is gone."""
    lines = []
    for name in sorted(names):
        path = project / name
        mode = path.lstat().st_mode if path.is_symlink() or path.exists() else 0
        content = (
            str(path.readlink()).encode()
            if stat.S_ISLNK(mode)
            else path.read_bytes()
            if stat.S_ISREG(mode)
            else b""
        )
        lines.append(f"{name}\0{mode:o}\0{hashlib.sha256(content).hexdigest()}")
    return of(*lines)


@dataclass
class Digests:
    """Of a checkout as it is now: the files that git knows or would add. Each is read once."""

    project: Path
    known: dict[tuple[str, str], str] = field(default_factory=dict)

    @cached_property
    def names(self) -> list[str]:
        git = ["git", "-c", "safe.directory=*", "-C", str(self.project)]
        return sorted(
            set(
                run.run([*git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]).out.split(
                    "\0"
                )
            )
            - {""}
        )

    @cached_property
    def tree(self) -> str:
        return of_files(self.project, self.names)

    def code(self, module: ModuleType) -> str:
        """osbox, and of the tests this module, those that it takes something from, and what is no test;
        nothing of end to end."""
        key = ("code", module.__name__)
        if key not in self.known:
            mine = {module.__name__, *(getattr(value, "__module__", "") for value in vars(module).values())}
            files = {
                Path(sys.modules[name].__file__ or "").resolve()
                for name in mine
                if getattr(sys.modules.get(name), "__file__", None)
            }
            self.known[key] = of_files(
                self.project,
                [
                    name
                    for name in self.names
                    if name.startswith(OF_ALL_IMAGES) and self._in_play(name, files)
                ],
            )
        return self.known[key]

    def _in_play(self, name: str, mine: set[Path]) -> bool:
        path = Path(name)
        if path.parts[0] != "tests":
            return True
        test = path.name.startswith("test_") and path.suffix == ".py"
        return (self.project / path).resolve() in mine if test else "e2e" not in path.parts

    def inputs(self, image: Image, name: str) -> str:
        """Of an image's inputs as a build takes them (osbox.images.plan), but for Debian: no engine is asked
        here."""
        key = (image.name, name)
        if key not in self.known:
            arguments = {"DEBIAN": "", "RELEASE": name, "BASE": "", "BUILDER": ""}
            self.known[key] = dockerfile.digest(
                PROJECT, image.dockerfile, image.name, arguments, dict.fromkeys(arguments, "")
            )
        return self.known[key]

    def image(self, item: pytest.Function) -> tuple[str, tuple[str, ...]]:
        """What the test of an image depends on: a digest of the files, and the tags of its images, whose
        builds are the rest (`built`)."""
        given: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        subjects = [given["image"]] if isinstance(given.get("image"), Image) else list(catalogue.IMAGES)
        images = catalogue.with_bases(subjects)
        name = next(
            (value for value in given.values() if value in releases.known(PROJECT / "releases")),
            release.DEFAULT,
        )
        version = os.environ.get("BUILD_VERSION", "latest")
        files = of(
            self.code(item.module),
            os.environ.get("OSBOX_DEBIAN", ""),
            *(self.inputs(image, name) for image in images),
        )
        return files, tuple(image.tag(version) for image in images)


def built(tag: str) -> str:
    """The image that was last built with this tag, as its provenance says: a later Debian makes another one
    of the same inputs."""
    try:
        statement = provenance.load(Paths(PROJECT, BASE), tag)
        return provenance.subjects(statement)[0] if statement else ""
    except (Error, OSError, KeyError):
        return ""
