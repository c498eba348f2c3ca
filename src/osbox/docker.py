"""Docker as data: what is there is read as JSON, changes are small command lines through the one door.

Every function takes the Engine, whose prefix reaches the right client and paths.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from osbox import host, run
from osbox.engine import Engine
from osbox.model.site import Paths


def docker(engine: Engine, *words: str | Path, check: bool = True, timeout: float | None = None) -> run.Result:
    """Run `docker …` at the engine."""
    return run.run(engine.argv("docker", *words), check=check, timeout=timeout)


def inspect(engine: Engine, kind: str, *names: str) -> list[dict[str, Any]]:
    """`docker KIND inspect` of those names that exist (kind: container, image, network, volume)."""
    if not names:
        return []
    text = docker(engine, kind, "inspect", *names, check=False).out
    return list(json.loads(text or "[]"))


def ids(engine: Engine, kind: str, *filters: str) -> list[str]:
    """Names of all objects of a kind under the given `--filter`s."""
    words = ["ps", "-a"] if kind == "container" else [kind, "ls"]
    column = {"container": "{{.Names}}", "network": "{{.Name}}", "volume": "{{.Name}}", "image": "{{.Repository}}:{{.Tag}}"}[kind]
    flags = [word for item in filters for word in ("--filter", item)]
    return docker(engine, *words, *flags, "--format", column).out.split()


def build_argv(
    engine: Engine, paths: Paths, dockerfile: Path, *, target: str, tag: str = "", output: Path | None = None,
    args: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None, no_cache: bool = False,
) -> list[str]:  # fmt: skip
    """The `docker buildx build` line for one target; the host's package settings come as secrets.

    With output, the target's files are written to that directory instead of an image.
    """
    words: list[str | Path] = ["docker", "buildx", "build", "--progress=plain", "--network=host", "--provenance=false"]
    words += ["-f", paths.project / dockerfile, "--target", target]
    words += ["-t", tag] if tag else []
    words += [f"--output=type=local,dest={output}"] if output else ["--load"]
    words += ["--no-cache"] if no_cache else []
    for name in host.proxy_args():
        words += ["--build-arg", name]  # by name: the value, which may hold a password, comes from `environment`
    for name, value in (args or {}).items():
        words += ["--build-arg", f"{name}={value}"]
    for name, value in (labels or {}).items():
        words += ["--label", f"{name}={value}"]
    for name, file in host.build_secrets(paths).items():
        words += ["--secret", f"id={name},src={file}"]
    return engine.argv(*words, paths.project)


def build(engine: Engine, argv: Sequence[str], on_line: Callable[[str], None]) -> int:  # noqa: ARG001 - symmetry with docker()
    """Run a build line and hand on its output; returns the exit code."""
    return run.stream(argv, on_line, env=environment())


def environment() -> dict[str, str]:
    """What a build line needs in its environment."""
    return {"BUILDX_GIT_INFO": "false", **host.proxy_args()}  # or it complains where there is no git
