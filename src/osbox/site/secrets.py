"""The deployment's passwords: generated once, one file each, readable by root and by the containers' fixed
user only."""

import secrets
from pathlib import Path

from osbox import files, lock
from osbox.site.site import Paths

# the user `stack` of the images (images/base/Dockerfile); Compose mounts secret files with their owner
UID = 42400
LENGTH = 24  # bytes of randomness: 192 bits
NAMES = (
    "admin-password",
    "bmc-password",
    "rabbitmq-password",
    "temp-url-key",
    "swift-hash-prefix",
    "swift-hash-suffix",
    *(f"db-{name}" for name in ("osbox", "keystone", "glance", "placement", "nova", "neutron", "ironic")),
    *(f"service-{name}" for name in ("glance", "placement", "nova", "neutron", "ironic", "swift")),
)
OWN = ("node-fingerprints",)
"""For osbox itself: no container sees them."""


def ensure(paths: Paths) -> list[str]:
    """Generate the secrets that are missing; returns their names. An existing one is never changed.

    One after the other: of two that found one missing at once, each would go on with its own.
    """
    files.private_directory(paths.secrets)
    with lock.alone(paths.secrets):
        made = missing(paths)
        for name in made:
            # No "-" in front: a password is an argument of some tool somewhere.
            write(paths.secrets / name, "p" + secrets.token_urlsafe(LENGTH))
        return made


def missing(paths: Paths) -> list[str]:
    """The names of the secrets that are not there, or empty."""
    sizes = {name: file.stat().st_size for name in (*NAMES, *OWN) if (file := paths.secrets / name).exists()}
    return [name for name in (*NAMES, *OWN) if not sizes.get(name)]


def write(file: Path, text: str) -> None:
    """Write a secret with mode 0600, whole or not at all."""
    files.write(file, text + "\n", mode=files.PRIVATE, owner=UID)


def read(paths: Paths, name: str) -> str:
    return (paths.secrets / name).read_text().strip()
