"""The tool's own libraries in a bundle, for each Python that the machine may have."""

import shutil
import sys
from pathlib import Path

from osbox import log, run
from osbox.site.site import Paths
from osbox.supply import manifest as manifests
from osbox.supply.manifest import Member

PYTHONS = ("3.11", "3.12", "3.13")  # Debian 12, Ubuntu 24.04, Debian 13; and the one that runs


def pythons() -> tuple[str, ...]:
    """The versions of Python that a bundle has wheels for, oldest first."""
    running = "{}.{}".format(*sys.version_info[:2])
    return tuple(sorted({*PYTHONS, running}, key=lambda version: [int(part) for part in version.split(".")]))


def fetch(paths: Paths, parts: Path) -> list[Member]:
    """The wheels of requirements.lock, by their hashes; those of an earlier bundle are not fetched again."""
    kept, target = paths.wheels, parts / manifests.WHEELS
    kept.mkdir(parents=True, exist_ok=True)
    for version in pythons():
        with log.step(f"Wheels for Python {version}"):
            words = [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
                *("--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version", version),
                *("--requirement", str(paths.project / "requirements.lock")),
                *("--find-links", str(kept), "--dest", str(target)),
            ]
            if run.run([*words, "--no-index"], check=False).code != 0:
                run.run(
                    words,
                    hint="see that pip reaches its index (pip config list), then the same command again",
                )
    for wheel in target.iterdir():
        shutil.copy2(wheel, kept)
    sizes = {wheel: wheel.stat().st_size for wheel in sorted(target.iterdir())}
    return [
        Member(f"{manifests.WHEELS}{wheel.name}", manifests.sha256(wheel), size, size)
        for wheel, size in sizes.items()
    ]
