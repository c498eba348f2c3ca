"""An OpenStack release as its folder describes it: `release.toml` by hand, upstream's `constraints.txt`, the locks made of both.

    releases/<R>/release.toml      which packages each project needs, each service held to the release's own series
                 constraints.txt   upstream's versions of everything else
                 common.lock       what two or more projects need: one layer that all their images share
                 <project>.lock    what only that project needs
                 ramdisk.lock      what runs inside the deploy ramdisk
                 SHA256SUMS        digests of all of them, so that a lock that is not of its inputs is seen
"""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from osbox.errors import UserError
from osbox.images import catalogue

DEFAULT = "2026.1"
COMMON, RAMDISK = "common", "ramdisk"
PROJECTS = tuple(sorted({image.project for image in catalogue.IMAGES if image.base == catalogue.OPENSTACK}))
GROUPS = (COMMON, *PROJECTS, RAMDISK)
"""The locks of a release by name. All but the ramdisk's are resolved together, so that their versions agree."""
FILE, CONSTRAINTS, SUMS = "release.toml", "constraints.txt", "SHA256SUMS"
INPUTS = (FILE, CONSTRAINTS)
LOCKS = tuple(f"{group}.lock" for group in GROUPS)


class Release(BaseModel):
    """What `release.toml` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^\d{4}\.[12]$")
    title: str
    python: str = Field(pattern=r"^3\.\d+$")
    """The Python of the images, which the locks are resolved for."""
    constraints: tuple[str, ...] = ()
    """Versions taken instead of upstream's for the same packages."""
    excluded: tuple[str, ...] = ()
    """Packages that are required by others, but that nothing here uses: they are left out of the locks."""
    environment: dict[str, str] = {}
    """Variables of the Compose files that this release wants otherwise than the default."""
    requirements: dict[str, tuple[str, ...]]
    """Requirements by group: `common`, each project that has images, `ramdisk`."""

    @field_validator("requirements")
    @classmethod
    def _complete(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        missing, unknown = [name for name in GROUPS if not value.get(name)], [name for name in value if name not in GROUPS]
        if missing:
            raise ValueError(f"nothing for {', '.join(missing)}")
        if unknown:
            raise ValueError(f"no project is called {', '.join(unknown)} (known: {', '.join(GROUPS)})")
        return value


def known(releases: Path) -> list[str]:
    """The releases that are here, oldest first."""
    return sorted(path.parent.name for path in releases.glob(f"*/{FILE}"))


def require(releases: Path, name: str) -> Path:
    """The folder of a release; raises UserError that names those that are here."""
    if name not in known(releases):
        raise UserError(f"no OpenStack release {name} is here", hint="known releases: " + ", ".join(known(releases)))
    return releases / name


def read(folder: Path) -> Release:
    """Read a release's `release.toml`; raises UserError naming the file and the key."""
    file = folder / FILE
    label = f"{folder.parent.name}/{folder.name}/{FILE}"
    try:
        release = Release.model_validate(tomllib.loads(file.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {label}: {getattr(error, 'strerror', '') or 'it is no text'}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{label} is not valid TOML: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()]
        raise UserError(f"{label} has wrong settings", evidence="\n".join(lines), hint="docs/releases.md has all keys") from error
    if release.name != folder.name:
        raise UserError(f"{label} says that it is release {release.name}", hint=f'name = "{folder.name}"')
    return release
