"""The folders of releases: which are here, and what a release.toml says."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from osbox import utf8
from osbox.errors import UserError
from osbox.releases.release import FILE, Release


def known(releases: Path) -> list[str]:
    """The releases that are here, oldest first."""
    return sorted(path.parent.name for path in releases.glob(f"*/{FILE}"))


def require(releases: Path, name: str) -> Path:
    """The folder of a release; raises UserError that names those that are here."""
    if name not in known(releases):
        raise UserError(
            f"no OpenStack release {name} is here", hint="known releases: " + ", ".join(known(releases))
        )
    return releases / name


def read(folder: Path) -> Release:
    """Read a release's `release.toml`; raises UserError naming the file and the key."""
    file = folder / FILE
    label = f"{folder.parent.name}/{folder.name}/{FILE}"
    try:
        release = Release.model_validate(tomllib.loads(utf8.read(file)))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{label} is not valid TOML: {error}") from error
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise UserError(
            f"{label} has wrong settings", evidence="\n".join(lines), hint="docs/releases.md has all keys"
        ) from error
    if release.name != folder.name:
        raise UserError(f"{label} says that it is release {release.name}", hint=f'name = "{folder.name}"')
    return release
