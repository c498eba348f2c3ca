"""The container that has a cloud's volumes in its hands while they are kept or brought back, and letting
those go on that were paused for it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from osbox import log
from osbox.cloud import compose
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.generations.inside import SCRIPTS
from osbox.images.catalogue import BY_NAME, GROUND
from osbox.site import secrets
from osbox.site.site import LABEL, Paths, Site

MOUNTS: Mapping[str, str] = {
    "mysql-data": "/mysql",
    "keystone-keys": "/keystone-keys",
    "swift-rings-data": "/swift-rings",
    "swift-devs-data": "/srv/node",
    "rabbitmq-data": "/rabbitmq",
    "ovn-data": "/ovn",
}
"""Where it has which volume."""
SECONDS = 600
"""Of one thing that it does: objects are linked, 2 000 in a second on a busy machine."""


@contextmanager
def helper(paths: Paths, site: Site, engine: Engine, kept: Path | None) -> Iterator[str]:
    """A container that has the volumes, as the images' user and without any capability or network, for the
    block; its name. kept: what it has as /kept."""
    name = clear(site, engine)
    there = docker.ids(engine, "volume", compose.label(site))  # Docker would make those that are not
    prefix = compose.volume_prefix(site)
    volumes = [f"--volume={prefix}{key}:{at}" for key, at in MOUNTS.items() if f"{prefix}{key}" in there]
    volumes += [f"--volume={kept}:/kept"] if kept else []
    words = ("--rm", "--init", *volumes, "--entrypoint=sleep", image(paths, GROUND), str(SECONDS * 2))
    with container(site, engine, name, *words):
        yield name


@contextmanager
def container(site: Site, engine: Engine, name: str, *words: str) -> Iterator[None]:
    """A container of the images' user, without any capability or network, for the block. words: more of
    `docker run`'s, the image and its command."""
    restraints = ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    # The label has `osbox down`, and the next `osbox up`, find one that was left by a kill: it holds volumes.
    user = (f"--user={secrets.UID}:{secrets.UID}", f"--label={LABEL}={site.name}", "--pull=never")
    docker.docker(engine, "run", "--detach", f"--name={name}", *restraints, *user, *words)
    try:
        yield
    finally:
        docker.docker(engine, "rm", "--force", "--volumes", name, check=False)


def image(paths: Paths, name: str) -> str:
    """The tag of an image that the cloud was last brought up with."""
    found = BY_NAME[name]
    return found.tag(compose.last(paths, found.variable) or compose.version(paths))


def clear(site: Site, engine: Engine) -> str:
    """Remove the helper of a run that was killed, and let those go on that it had paused; the name that it
    has."""
    name = f"generation.{site.name}"
    docker.docker(engine, "rm", "--force", name, check=False)
    go_on(engine, docker.ids(engine, "container", compose.label(site), "status=paused"))
    return name


def go_on(engine: Engine, names: Sequence[str]) -> None:
    """Let containers go on, whether they were paused or not."""
    if names:
        docker.docker(engine, "unpause", *names, check=False)


def inside(engine: Engine, name: str, do: str, what: str) -> None:
    """Have the helper do something (osbox.generations.inside.trees)."""
    program = (SCRIPTS / "trees.py").read_text()
    words = ("exec", name, "python3", "-c", program, do, what)
    begin = time.monotonic()
    docker.docker(engine, *words, timeout=SECONDS)
    log.command(f"# {do} took {time.monotonic() - begin:.1f} s")
