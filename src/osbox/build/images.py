"""Build, list and remove the images. An image whose inputs are those it was made from is done at once."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence

from osbox import log, run
from osbox.board import Board
from osbox.build import budgets, debian, dockerfile, pool, provenance
from osbox.build.pool import Outcome, Task
from osbox.build.provenance import Inputs
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import Error, UserError
from osbox.images import catalogue, labels
from osbox.images.catalogue import Image
from osbox.images.labels import INPUTS
from osbox.releases import resolve
from osbox.releases.release import DEFAULT
from osbox.site import recipes
from osbox.site.site import Paths

MIN_FREE_BYTES = 2 << 30  # stop well before dockerd itself fails for want of space
# one waits for a package while the other unpacks: a cold build took 66 s with four at a time on two, 72 s
# with two
JOBS_PER_PROCESSOR = 2
MOVING = "latest"  # the one version that every build replaces
STEP = re.compile(r"^#\d+ (\[[^\]]*\d+/\d+\] .*|\[[^\]]+\] (?:FROM|RUN|COPY) .*|exporting .*)$", re.MULTILINE)


def build(
    paths: Paths,
    engine: Engine,
    images: Sequence[Image] = catalogue.IMAGES,
    *,
    version: str = "latest",
    release: str = DEFAULT,
    jobs: int | None = None,
    no_cache: bool = False,
    replace: bool = False,
) -> None:
    """Build images and what they stand on; raises Error if any fails.

    A version but `latest` is a promise: what has it and was made of other inputs is replaced only when asked
    (UserError).
    """
    catalogue.check_version(version)
    resolve.check(paths, release)
    with pool.alone(paths):
        tasks = plan(
            paths, engine, catalogue.with_bases(images), version=version, release=release, no_cache=no_cache
        )
        if version != MOVING and not replace:
            _refuse_to_replace(engine, tasks, version)
        try:
            _build_all(paths, engine, tasks, jobs)
        finally:
            made = {task.image: Inputs(task.inputs, task.files) for task in tasks if task.argv}
            provenance.record(paths, engine, made, version=version, release=release)
    budgets.check(paths, engine, [task.image for task in tasks], version=version)


def _build_all(paths: Paths, engine: Engine, tasks: Sequence[Task], jobs: int | None) -> None:
    if any(task.argv for task in tasks):
        _require_space(paths)
    logs = {task.tag: task.log for task in tasks}
    with Board(lambda tag: current_step(pool.tail(logs[tag])) if logs[tag].exists() else "") as board:
        outcomes = pool.Builder(board, jobs or JOBS_PER_PROCESSOR * (os.cpu_count() or 1)).run(tasks)
    if any(task.argv for task in tasks):
        _remove_replaced(engine)
    raise_for(outcomes)


def _refuse_to_replace(engine: Engine, tasks: Sequence[Task], version: str) -> None:
    there = _there(engine, [task.image for task in tasks], version)
    other = [task for task in tasks if task.argv and task.tag in there and not task.image.internal]
    if other:
        names = ", ".join(task.tag for task in other)
        raise UserError(
            f"these images are there already and were made of something else: {names}",
            hint="take another BUILD_VERSION; or, to replace them: osbox build --replace --version "
            + version,
        )


def chosen(names: Sequence[str], version: str) -> list[Image]:
    """The images of those names; a retired one gets its line."""
    for name in filter(None, map(catalogue.retired, names)):
        log.out.print(f"☝️  {name}:{version} - Retired: {catalogue.RETIRED[name]}")
    if names and all(map(catalogue.retired, names)):
        return []
    return catalogue.select(names)


def plan(
    paths: Paths, engine: Engine, images: Sequence[Image], *, version: str, release: str, no_cache: bool
) -> list[Task]:
    """What to do for each image, in order; nothing for one whose label says it was made of the very same
    inputs."""
    digests = {"": debian.ensure(paths, engine)}
    at = recipes.frozen(paths)
    builder_tag, commit = catalogue.BUILDER.tag(version), labels.commit(paths.project)
    there = _there(engine, images, version)
    tasks = []
    for image in images:
        tag, file = image.tag(version), paths.build_logs / f"{image.name}.log"
        base = f"{image.base}:{version}"
        arguments = {"DEBIAN": debian.TAG, "RELEASE": release, "BASE": base, "BUILDER": builder_tag}
        builder = digests.get(catalogue.BUILDER.name, "")
        bases = {"DEBIAN": digests[""], "BASE": digests[image.base], "BUILDER": builder}
        try:
            inputs = dockerfile.digest(at.project, image.dockerfile, image.name, arguments, bases)
        except (OSError, Error) as error:
            digests[image.name] = ""
            tasks.append(Task(image, tag, (), file, problem=str(error)))
            continue
        digests[image.name] = inputs
        if not no_cache and tag in there and there[tag].labels.get(INPUTS) == inputs:
            tasks.append(Task(image, tag, (), file, inputs=inputs))
            continue
        argv = docker.build_argv(
            engine,
            at,
            image.dockerfile,
            target=image.name,
            tag=tag,
            args=_declared(at, image, arguments),
            labels=labels.of(at, image, version=version, release=release, digest=inputs, commit=commit),
            no_cache=no_cache,
        )
        files = provenance.read(at, image, release)
        tasks.append(Task(image, tag, tuple(argv), file, inputs=inputs, files=files))
    return tasks


def raise_for(outcomes: Sequence[Outcome]) -> None:
    """Raise the one error that sums up all failures, weather first."""
    bad = [outcome for outcome in outcomes if outcome.reason]
    if not bad:
        return
    names = [outcome.task.image.name for outcome in bad]
    message = f"{len(bad)} of {len(outcomes)} images failed: {', '.join(names)}"
    why = next((outcome.fault for outcome in bad if outcome.fault), None)
    if why:
        raise Error(f"{why.message}; {message}", hint=why.hint)
    first = next(outcome for outcome in bad if not outcome.reason.endswith(" failed") or outcome.task.argv)
    raise Error(
        message, hint=f"read {first.task.log}, put it right, and run: osbox build {first.task.image.name}"
    )


def clean(
    paths: Paths,
    engine: Engine,
    images: Sequence[Image] = catalogue.IMAGES,
    *,
    version: str = "latest",
    everything: bool = False,
) -> None:
    """Remove the tags of images; the build cache stays, so that the next build is quick.

    everything: the build cache and the Debian base image too. Raises Error if a container uses one of them.
    """
    catalogue.check_version(version)
    used = _used(engine)
    # What no image needs any more goes with the last of them.
    both = [*images, catalogue.BUILDER] if set(catalogue.IMAGES) <= set(images) else list(images)
    there = _there(engine, both, version)
    kept = []
    for image in both:
        tag = image.tag(version)
        if tag in used:
            kept.append(image.name)
            log.out.print(f"❌  {tag} - Failed: the container {', '.join(used[tag])} uses it")
            continue
        if tag in there:
            docker.docker(engine, "image", "rm", tag)
        provenance.forget(paths, tag)
        if not image.internal:
            log.out.print(f"🔫  {tag} - Done")
    if kept:
        raise Error(
            f"{len(kept)} of {len(images)} images are in use", hint="osbox down, then the same command again"
        )
    if everything:
        _clean_cache(paths, engine)


def _clean_cache(paths: Paths, engine: Engine) -> None:
    """Free what builds left behind.

    The machine's own engine has one cache for all its users: not ours to empty.
    """
    if docker.image(engine, debian.TAG):
        docker.docker(engine, "image", "rm", debian.TAG)
    shutil.rmtree(paths.build_logs, ignore_errors=True)
    if engine.kind == "host":
        log.warn(
            "the build cache of the machine's own Docker is shared and was kept:"
            " docker builder prune empties it"
        )
        return
    freed = docker.docker(engine, "builder", "prune", "--all", "--force").out.rstrip().rpartition("\n")[2]
    log.out.print(f"🔫  build cache - Done ({freed})")


def _require_space(paths: Paths) -> None:
    free = shutil.disk_usage(paths.home).free
    if free < MIN_FREE_BYTES:
        raise Error(
            f"only {free >> 20} MiB free under {paths.home}: a build needs {MIN_FREE_BYTES >> 20} MiB",
            hint="osbox clean --all frees the build cache; or free some space, and run the same command"
            " again",
        )


def remove_all(engine: Engine) -> list[str]:
    """Remove every image of every version and the Debian base: `osbox down --purge` on the machine's own
    Docker."""
    names = [
        *docker.ids(engine, "image", f"label={INPUTS}"),
        *docker.ids(engine, "image", f"reference={debian.TAG}"),
    ]
    if names:
        docker.docker(engine, "image", "rm", "--force", *names)
    return [f"image {name}" for name in names]


def _remove_replaced(engine: Engine) -> None:
    """Remove images of ours that lost their tag to a newer build; those that a container uses stay."""
    docker.docker(engine, "image", "prune", "--force", "--filter", f"label={INPUTS}")


def current_step(output: str) -> str:
    """The BuildKit step that a build's log was last at."""
    steps = STEP.findall(output)
    return run.tail(steps[-1], 1)[:90] if steps else ""


def _there(engine: Engine, images: Sequence[Image], version: str) -> dict[str, ImageInfo]:
    """Those of the images that are there, by tag."""
    return docker.images(engine, *(image.tag(version) for image in images))


def _used(engine: Engine) -> dict[str, list[str]]:
    """Tags that containers, running or not, were made from."""
    used: dict[str, list[str]] = {}
    for entry in docker.containers(engine, *docker.ids(engine, "container")):
        used.setdefault(entry.image, []).append(entry.name)
    return used


def _declared(paths: Paths, image: Image, arguments: Mapping[str, str]) -> dict[str, str]:
    """Those arguments that the Dockerfile knows: BuildKit complains about others."""
    known = dockerfile.parse((paths.project / image.dockerfile).read_text()).declared
    return {name: value for name, value in arguments.items() if name in known}
