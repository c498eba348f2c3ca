"""Push images to a registry: looked at first, tagged for the moment, in parallel, each told with its
digest."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from osbox import run
from osbox.board import Board
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.images import catalogue
from osbox.images.catalogue import Image
from osbox.site.site import Paths

# host[:port][/path]: the host has a dot or a port or is localhost, or Docker takes it for a user of its own
# registry.
PLACE = re.compile(
    r"(localhost|[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9.-]+(?=:\d))(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
)
DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")
LOOK_SECONDS = 60
TAIL_LINES = 3


@dataclass(frozen=True)
class Remote:
    """An image in a registry: ids are those that an engine may know it by."""

    digest: str
    ids: frozenset[str]


@dataclass(frozen=True)
class Target:
    """An image and what it is called in the registry."""

    image: Image
    tag: str
    name: str


def push(
    paths: Paths,
    engine: Engine,
    place: str,
    images: Sequence[Image],
    *,
    version: str,
    replace: bool = False,
    jobs: int | None = None,
) -> dict[str, str]:
    """Push images; returns their digests by name. What is there already is left alone.

    Raises UserError when an image is not built, a tag is there with other content (unless replace), or the
    registry wants a login; Error when it does not answer. Nothing is sent before all of them were looked at.
    """
    place = checked(place)
    targets = [Target(image, image.tag(version), f"{place}/{image.tag(version)}") for image in images]
    have = _require(engine, targets)
    with docker.logins(paths, engine) as env, ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        try:
            there = dict(zip(targets, pool.map(partial(_look, engine, env), targets), strict=True))
            same = {
                target: remote
                for target, remote in there.items()
                if remote and have[target.tag] in remote.ids
            }
            if not replace:
                _refuse_to_replace(
                    [target for target, remote in there.items() if remote and target not in same]
                )
            return _push_all(pool, engine, env, targets, same)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def checked(place: str) -> str:
    """A registry's place as it stands in an image's name."""
    text = place.removesuffix("/")
    if not PLACE.fullmatch(text):
        raise UserError(
            f"{place} is not the name of a registry",
            hint="HOST[:PORT][/PREFIX], for example localhost:5000 or registry.example/cloud",
        )
    return text


def _push_all(
    pool: ThreadPoolExecutor,
    engine: Engine,
    env: Mapping[str, str],
    targets: Sequence[Target],
    same: Mapping[Target, Remote],
) -> dict[str, str]:
    """What others stand on goes first: a registry takes a layer that it has from there, but not one that is
    still on its way."""
    digests, failed = {}, []
    with Board() as board:
        for target, remote in same.items():
            board.end(target.name, f"📦  {target.name} - Was there: {remote.digest}")
            digests[target.name] = remote.digest
        for rank in sorted({_rank(target.image) for target in targets}):
            todo = [target for target in targets if _rank(target.image) == rank and target not in same]
            for target, result in zip(todo, pool.map(partial(_push, engine, env, board), todo), strict=True):
                if isinstance(result, Error):
                    failed.append(result)
                else:
                    digests[target.name] = result
    if failed:
        first = failed[0]
        message = f"{len(failed)} of {len(targets)} images were not pushed: {first.message}"
        raise type(first)(message, evidence=first.evidence, hint=first.hint)
    return digests


def _rank(image: Image) -> int:
    """How many images it stands on."""
    base = catalogue.BY_NAME.get(image.base)
    return 1 + _rank(base) if base else 0


def _push(engine: Engine, env: Mapping[str, str], board: Board, target: Target) -> str | Error:
    """Push one image and return its digest; an error is returned, so that the others go on."""
    board.start(target.name)
    before = docker.image(engine, target.name)
    docker.docker(engine, "tag", target.tag, target.name)
    try:
        result = docker.docker(engine, "push", target.name, check=False, env=env)
    finally:
        if before:
            docker.docker(engine, "tag", before.id, target.name)
        else:
            docker.docker(engine, "image", "rm", target.name, check=False)
    found = DIGEST.search(result.out)
    if result.code != 0 or not found:
        error = explain(target.name, result.err or result.out, engine)
        board.end(target.name, f"❌  {target.name} - Failed: {error.message}")
        return error
    board.end(target.name, f"📦  {target.name} - Done: {found[1]}")
    return found[1]


def _look(engine: Engine, env: Mapping[str, str], target: Target) -> Remote | None:
    """What the registry has under a name."""
    result = docker.docker(
        engine,
        "buildx",
        "imagetools",
        "inspect",
        "--raw",
        target.name,
        check=False,
        env=env,
        timeout=LOOK_SECONDS,
    )
    if result.code == 0:
        digest = "sha256:" + hashlib.sha256(result.out.encode()).hexdigest()
        manifest: dict[str, Any] = json.loads(result.out)
        return Remote(digest, frozenset({digest, manifest.get("config", {}).get("digest", digest)}))
    if result.err.rstrip().endswith(": not found"):
        return None
    raise explain(target.name, result.err, engine)


def explain(name: str, said: str, engine: Engine) -> Error:
    """The error behind what Docker says of a registry."""
    host, last = name.partition("/")[0], run.tail(said, TAIL_LINES)
    if re.search(
        r"401 Unauthorized|403 Forbidden|no basic auth|unauthorized|denied|authorization"
        r" failed|insufficient_scope",
        said,
    ):
        login = "docker login" if engine.kind == "host" else "osbox engine shell -- docker login"
        return UserError(
            f"the registry {host} wants a login that may push there", evidence=last, hint=f"{login} {host}"
        )
    if "no such host" in said:
        return UserError(
            f"there is no host {host.partition(':')[0]}", evidence=last, hint="look at the registry's name"
        )
    if "HTTP response to HTTPS client" in said:
        return UserError(
            f"the registry {host} speaks HTTP without TLS, which Docker takes on loopback only",
            evidence=last,
            hint="give the registry a certificate",
        )
    if "x509" in said:
        return Error(
            f"the certificate of the registry {host} is not trusted here",
            evidence=last,
            hint="add its CA to /etc/ssl/certs",
        )
    return Error(
        f"the registry {host} does not answer as it should",
        evidence=last,
        hint="see that it runs and is reached from here",
    )


def _require(engine: Engine, targets: Sequence[Target]) -> dict[str, str]:
    """The ids of the images by tag; raises UserError when some are not built."""
    found = docker.images(engine, *(target.tag for target in targets))
    have = {tag: entry.id for tag, entry in found.items()}
    lacking = [target.tag for target in targets if target.tag not in have]
    if lacking:
        raise UserError(f"images are not built: {', '.join(lacking)}", hint="osbox build")
    return have


def _refuse_to_replace(other: Sequence[Target]) -> None:
    if other:
        names = ", ".join(target.name for target in other)
        raise UserError(
            f"these tags are there with other content: {names}",
            hint="another --version; or, to replace them, --replace",
        )
