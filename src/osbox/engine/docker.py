"""Docker as data: what is there comes as values, changes are small command lines through the one door.

Every function takes the Engine, whose prefix reaches the right client and paths. What reads raises Error when
the engine gives no answer: that is never taken for "not there".
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osbox import files as whole
from osbox import run, utf8
from osbox.engine import asking
from osbox.engine.engine import Engine
from osbox.engine.info import ContainerInfo, ImageInfo, NetworkInfo
from osbox.site import sources
from osbox.site.site import Paths

CONFIG = "config.json"


def docker(
    engine: Engine,
    *words: str | Path,
    check: bool = True,
    timeout: float | None = None,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
) -> run.Result:
    """Have `docker …` change something at the engine; text is for its standard input."""
    return run.run(engine.argv("docker", *words), check=check, timeout=timeout, input=text, env=env)


def ask(engine: Engine, *words: str | Path, check: bool = True, seconds: float | None = None) -> run.Result:
    """Put a question to the engine, which has so many seconds for it; raises asking.SilentError when they are
    over."""
    return asking.ask(engine.argv("docker", *words), check=check, seconds=seconds)


@contextmanager
def logins(paths: Paths, engine: Engine) -> Iterator[dict[str, str]]:
    """Environment with which the client knows the registry logins (`docker login`) of whoever runs osbox.

    The private engine's client does not see that person's home: it gets a copy for the duration of the block.
    Without any login there, those hold that were made in the engine itself.
    """
    config = _settings() / CONFIG
    if engine.kind == "host" or not config.is_file():
        yield {}
        return
    scratch = paths.tmp
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="logins-", dir=scratch) as directory:
        shutil.copy(config, directory)
        yield {"DOCKER_CONFIG": directory}


@contextmanager
def direct(engine: Engine, scratch: Path) -> Iterator[dict[str, str]]:
    """Environment with which the client makes containers that know of no proxy.

    Docker's client and Compose give each container the `proxies` of a person's config.json as HTTP_PROXY and
    the like, and services would ask that proxy for one another. For the duration of the block the client has
    the same settings but for these: logins, contexts and plug-ins stay. Builds, which do need a proxy, take
    no part. The private engine's client sees no settings of a person.
    """
    if engine.kind != "host":
        yield {}
        return
    place = _settings()
    told = _told(place / CONFIG)
    if "proxies" not in told:
        yield {}
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="docker-", dir=scratch) as directory:
        for entry in place.iterdir():
            if entry.name != CONFIG:
                (Path(directory) / entry.name).symlink_to(entry.absolute())
        kept = {key: value for key, value in told.items() if key != "proxies"}
        whole.write(Path(directory) / CONFIG, json.dumps(kept), mode=whole.PRIVATE)
        yield {"DOCKER_CONFIG": directory}


def _settings() -> Path:
    """The directory of the client's settings."""
    return utf8.at_home(Path(os.environ.get("DOCKER_CONFIG") or "~/.docker"))


def _told(config: Path) -> dict[str, Any]:
    """What a person's config.json says; of one that cannot be read the client itself tells."""
    try:
        found = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def images(engine: Engine, *tags: str) -> dict[str, ImageInfo]:
    """Those of the tags that exist, each with its image, in this order."""
    found = {tag: one for one in asking.images(engine.argv("docker"), tags) for tag in one.tags}
    return {tag: found[tag] for tag in tags if tag in found}


def image(engine: Engine, name: str) -> ImageInfo | None:
    """The image of a tag or an id; None if there is none."""
    return next(iter(asking.images(engine.argv("docker"), [name])), None)


def image_ids(engine: Engine, *names: str) -> set[str]:
    """The ids of those images that exist, of tags or ids; all are asked for at once."""
    return {one.id for one in asking.images(engine.argv("docker"), names)}


def containers(engine: Engine, *names: str) -> list[ContainerInfo]:
    """Those of the names that exist."""
    return asking.containers(engine.argv("docker"), names)


def container(engine: Engine, name: str) -> ContainerInfo | None:
    """The container of a name or an id; None if there is none."""
    return next(iter(containers(engine, name)), None)


def networks(engine: Engine) -> tuple[NetworkInfo, ...]:
    """All networks of the engine, of whomever."""
    return tuple(asking.networks(engine.argv("docker"), network_ids(engine)))


def network_ids(engine: Engine, *filters: str) -> list[str]:
    """The ids of networks under the given `--filter`s: two may have one name, by which Docker then takes
    none."""
    flags = [word for item in filters for word in ("--filter", item)]
    return ask(engine, "network", "ls", "--no-trunc", *flags, "--format", "{{.ID}}").out.split()


def ids(engine: Engine, kind: str, *filters: str) -> list[str]:
    """Names of all objects of a kind under the given `--filter`s; of an image that lost its tag, the id."""
    words = ["ps", "-a"] if kind == "container" else [kind, "ls"]
    column = {
        "container": "{{.Names}}",
        "network": "{{.Name}}",
        "volume": "{{.Name}}",
        "image": '{{if eq .Tag "<none>"}}{{.ID}}{{else}}{{.Repository}}:{{.Tag}}{{end}}',
    }[kind]
    flags = [word for item in filters for word in ("--filter", item)]
    return ask(engine, *words, *flags, "--format", column).out.split()


def build_argv(
    engine: Engine,
    paths: Paths,
    dockerfile: Path,
    *,
    target: str,
    tag: str = "",
    output: Path | None = None,
    args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    no_cache: bool = False,
) -> list[str]:
    """The `docker buildx build` line for one target; the host's package settings come as secrets.

    With output, the target's files are written to that directory instead of an image.
    """
    words: list[str | Path] = [
        "docker",
        "buildx",
        "build",
        "--progress=plain",
        "--network=host",
        "--provenance=false",
    ]
    words += ["-f", paths.project / dockerfile, "--target", target]
    words += ["-t", tag] if tag else []
    words += [f"--output=type=local,dest={output}"] if output else ["--load"]
    words += ["--no-cache"] if no_cache else []
    for name in sources.proxy_args():
        words += [
            "--build-arg",
            name,
        ]  # by name: the value, which may hold a password, comes from `environment`
    for name, value in (args or {}).items():
        words += ["--build-arg", f"{name}={value}"]
    for name, value in (labels or {}).items():
        words += ["--label", f"{name}={value}"]
    for name, file in sources.build_secrets(paths).items():
        words += ["--secret", f"id={name},src={file}"]
    return engine.argv(*words, paths.project)


def build(engine: Engine, argv: Sequence[str], on_line: Callable[[str], None]) -> int:  # noqa: ARG001 - symmetry with docker()
    """Run a build line and hand on its output; returns the exit code.

    A build does not outlive us: the next one writes to the same place.
    """
    return run.stream([*run.ENDS_WITH_US, *argv], on_line, env=environment())


def environment() -> dict[str, str]:
    """What a build line needs in its environment."""
    return {"BUILDX_GIT_INFO": "false", **sources.proxy_args()}  # or it complains where there is no git
