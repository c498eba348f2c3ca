"""What a wheel carries besides the package: the recipes, and what git knows of them (osbox.site.package).

hatchling calls it. The folders of the checkout stay where they are; in the wheel they stand below
osbox/project. Without git (an archive, a bundle's checkout) the wheel says that it knows no commit.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "src"))

from osbox.site import package  # what is built, which need not be installed


class BuildHook(BuildHookInterface[Any]):
    scratch: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files; an editable install reads those of the checkout."""
        if version == "editable":
            return
        root = Path(self.root)
        told = describe(root)
        self.scratch = tempfile.TemporaryDirectory()
        file = Path(self.scratch.name, package.FILE)
        file.write_text(package.render(told), encoding="utf-8")
        place = f"osbox/{package.FOLDER}/" if self.target_name == "wheel" else ""
        files = {
            str(root / name): f"{place}{name}" for name in told.files if not name.startswith(package.SOURCE)
        }
        build_data["force_include"].update({**files, str(file): f"{place}{package.FILE}"})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        if self.scratch:
            self.scratch.cleanup()


def describe(root: Path) -> package.Package:
    """What is known of the checkout at root."""
    before = package.read(root) if not (root / ".git").exists() else None
    if before:  # a source distribution: it knows
        return before
    head = git(root, "log", "-1", "--format=%H %cI").strip() if (root / ".git").exists() else ""
    revision, _, created = head.partition(" ")
    found = {entry.name: entry for entry in package.entries(root, *package.CARRIED)}
    source, changed = "", list[str]()
    if head:
        # As a build in this clone reads them: what is not committed yet belongs to it, and is told.
        new = git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *package.CARRIED).split(
            "\0"
        )
        known = {*new, *git(root, "ls-files", "-z", "--", *package.CARRIED).split("\0")}
        found = {name: entry for name, entry in found.items() if name in known}
        changed = [*new, *git(root, "diff", "HEAD", "--name-only", "-z", "--", *package.CARRIED).split("\0")]
        source = package.public(git(root, "remote", "get-url", "origin").strip())
    return package.Package(
        revision=revision,
        created=created,
        source=source,
        changed=tuple(sorted(filter(None, changed))),
        files={name: entry.sha256 for name, entry in found.items() if entry.mode != package.LINK},
        links={name: entry.content.decode() for name, entry in found.items() if entry.mode == package.LINK},
        programs=tuple(name for name, entry in found.items() if entry.mode == package.PROGRAM),
    )


def git(root: Path, *words: str) -> str:
    """What git says; "" when it is not there or does not want to."""
    # The checkout may be another user's; no lock, so that nobody's own git command is disturbed.
    argv = ["git", "-c", f"safe.directory={root}", "--no-optional-locks", "-C", str(root), *words]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, encoding="utf-8"
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
