"""An OpenStack release as its folder describes it: `release.toml` by hand, upstream's `constraints.txt`, the
locks made of both. Pure.

releases/<R>/release.toml      which packages each project needs, each service held to the release's own
series
             constraints.txt   upstream's versions of everything else
             common.lock       what two or more projects need: one layer that all their images share
             <project>.lock    what only that project needs
             ramdisk.lock      what runs inside the deploy ramdisk
             SHA256SUMS        digests of all of them, so that a lock that is not of its inputs is seen
"""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from osbox.images import catalogue

DEFAULT = "2026.1"
COMMON, RAMDISK = "common", "ramdisk"
PROJECTS = tuple(sorted({image.project for image in catalogue.IMAGES if image.base == catalogue.OPENSTACK}))
GROUPS = (COMMON, *PROJECTS, RAMDISK)
"""The locks of a release by name.

All but the ramdisk's are resolved together, so that their versions agree.
"""
FILE, CONSTRAINTS = "release.toml", "constraints.txt"
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
        missing, unknown = (
            [name for name in GROUPS if not value.get(name)],
            [name for name in value if name not in GROUPS],
        )
        if missing:
            raise ValueError(f"nothing for {', '.join(missing)}")
        if unknown:
            raise ValueError(f"no project is called {', '.join(unknown)} (known: {', '.join(GROUPS)})")
        return value
