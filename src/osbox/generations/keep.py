"""Keep a generation: all databases, Keystone's keys, Swift's objects and rings at one instant, and secrets
and site.toml with them.

Who writes objects or rows is paused meanwhile: requests wait for a second or two, and none fails.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from osbox import files, log, run
from osbox.cloud import compose
from osbox.cloud.changes import Live
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import record, things
from osbox.generations.helper import SECONDS, clear, go_on, helper, inside
from osbox.generations.inside import SCRIPTS
from osbox.generations.record import HOST, VOLUMES, Generation
from osbox.images import labels
from osbox.site.site import Paths, Site

DATABASE = "mysql"
WRITERS = (
    *("glance-api", "swift-proxy", "swift-daemons", "swift-account", "swift-container", "swift-object"),
    DATABASE,
)
"""Paused in this order. Whoever else writes into the databases waits for MariaDB."""
STAY = frozenset(
    {
        *("front", "autodns", "ipxe-httpd", "pxe-tftp"),
        *("neutron-network", "openvswitch", "ovn-controller", compose.RACK),
    }
)
"""Who has nothing of what is brought back. The entrance holds requests meanwhile; the network of nodes and
the rack go on."""
FREE_OCTETS = 512 << 20
"""That have to be free on the disk before: a generation took 15 MB, its copy beside the databases 15 more."""
PAUSED = r"""
helper=$1 program=$2 number=$3; shift 3
go_on() { [ $# -eq 0 ] || docker unpause "$@" >/dev/null 2>&1 || :; }
trap 'go_on "$@"' EXIT
trap 'exit 130' INT TERM HUP
tries=0
until [ $# -eq 0 ] || [ "$(docker inspect --format '{{.State.Paused}}' "$@" | grep -c true)" -eq $# ]; do
  tries=$((tries + 1))
  [ $tries -le 5 ] || { echo "these were not all paused: $*" >&2; exit 1; }
  docker pause "$@" >/dev/null 2>&1 || :
done
docker exec "$helper" python3 -c "$program" keep "$number"
still=$([ $# -eq 0 ] || docker inspect --format '{{.State.Paused}}' "$@" | grep -c true)
[ "${still:-0}" -eq $# ] || { echo "somebody let these go on while they were kept: $*" >&2; exit 1; }
"""
"""One process from the pause to its end: whatever becomes of us, it lets them go on. Docker gives up on
pausing a busy container now and then ("unable to freeze")."""


def keep(
    paths: Paths,
    site: Site,
    engine: Engine,
    reason: str,
    *,
    lasting: bool = False,
    needed: Sequence[int] = (),
) -> Generation:
    """Keep the cloud as it is now; what is old or too many then goes (site.toml), but for what is needed.

    lasting: it never goes by itself.

    Raises UserError when there is no cloud, Error when its database does not answer or the disk is full.
    """
    clear(site, engine)
    containers = running(site, engine)
    record.tidy(paths)
    require_space(paths)
    things.wait(engine, site)
    there, nodes = things.seen(engine, site), things.nodes(engine, site)
    number = record.next_number(paths)
    new = record.begin(paths, number)
    try:
        with log.step(f"Keep generation {number}"):
            writers = [f"{name}.{site.name}" for name in WRITERS if _runs(containers.get(name))]
            told = _volumes(paths, site, engine, new, writers)
            _of_the_host(paths, new / HOST)
            images, release, version = _images(engine, site)
            generation = Generation(
                number=number,
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                reason=reason,
                release=release,
                version=version or compose.version(paths),
                images=images,
                things=there,
                nodes=nodes,
                objects=told["objects"],
                seconds=told["seconds"],
                lasting=lasting,
            )
            tag(engine, site, generation)
            record.end(paths, new, generation)
    except BaseException:
        record.tidy(paths)  # of the volumes the next one does
        raise
    _let_go(paths, site, engine, needed)
    return generation


def running(site: Site, engine: Engine) -> Mapping[str, Live]:
    """The containers of a cloud that can be kept. Raises UserError when there is none."""
    containers = compose.live(engine, site)
    if not _runs(containers.get(DATABASE)):
        raise UserError(
            f"no cloud {site.name} runs that could be kept",
            hint="osbox up; or osbox rollback --no-keep, which leads back without it",
        )
    return containers


def _volumes(paths: Paths, site: Site, engine: Engine, new: Path, writers: Sequence[str]) -> dict[str, Any]:
    """What the helper says of the volumes, which it has kept while those who write were paused."""
    with helper(paths, site, engine, new / VOLUMES) as name:
        inside(engine, name, "tidy", ",".join(map(str, record.numbers(paths))))
        program = (SCRIPTS / "trees.py").read_text()
        words = engine.argv("sh", "-euc", PAUSED, "sh", name, program, new.stem, *writers)
        try:
            told: dict[str, Any] = json.loads(run.tail(run.run(words, timeout=SECONDS).out, 1))
        finally:  # the shell's own trap, should it be killed with us
            go_on(engine, writers)
    return told


def tag(engine: Engine, site: Site, generation: Generation) -> None:
    """Have images keep a name of their own for as long as there is the generation: a build removes those that
    lost theirs."""
    wanted = {
        (identity, _own(site, generation.number, name)) for name, identity in generation.images.values()
    }
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda one: docker.docker(engine, "tag", *one), wanted))


def _own(site: Site, number: int, name: str) -> str:
    # No name of a deployment has a _ in it: those of "lab" are not taken for those of "lab-2".
    return f"{name.partition(':')[0]}:generation_{site.name}_{number}"


def untag(engine: Engine, site: Site, number: str = "*") -> None:
    """Take the names again that images have for a generation, or for all of this deployment's."""
    own = docker.ids(engine, "image", f"reference=*:generation_{site.name}_{number}")
    if own:
        docker.docker(engine, "rmi", *own, check=False)


def _let_go(paths: Paths, site: Site, engine: Engine, needed: Sequence[int]) -> None:
    """Of those that are due all but what a way back or an upgrade began from."""
    now = datetime.now(UTC)
    for one in record.due(record.all_of(paths), site.generations, site.generation_days, now):
        if one.number not in {*needed, *record.needed(paths)}:
            remove(paths, site, engine, one.number)
            log.say(f"Generation {one.number} of {one.time} is removed: {site.generations} are kept")


def remove(paths: Paths, site: Site, engine: Engine, number: int) -> None:
    """Remove a generation; first its name, so that none that is half removed passes for a whole one, then
    what is on the host, which may be what a full disk lacks."""
    place = record.place(paths, number)
    gone = place.with_name(f"{number}.new")
    if place.is_dir():
        place.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    untag(engine, site, str(number))
    with helper(paths, site, engine, None) as name:
        inside(engine, name, "drop", str(number))


def _runs(one: Live | None) -> bool:
    return one is not None and one.state == "running"


def require_space(paths: Paths) -> None:
    """Raise Error unless there is room for another copy of the databases and what lies beside them."""
    free = shutil.disk_usage(paths.home).free
    if free < FREE_OCTETS:
        raise Error(
            f"a generation wants {FREE_OCTETS >> 20} MB on the disk of {paths.home}",
            evidence=f"{free >> 20} MB are free",
            hint="osbox generation list, and osbox generation remove of one that is not needed",
        )


def _images(engine: Engine, site: Site) -> tuple[dict[str, tuple[str, str]], str, str]:
    """By service the tag and the id of its image; the youngest release among them, and the version of its
    images."""
    names = docker.ids(engine, "container", compose.label(site))
    ending = f".{site.name}"
    found = docker.containers(engine, *(name for name in names if name.endswith(ending)))
    by_release = {one.labels.get(labels.RELEASE, ""): one.image.rpartition(":")[2] for one in found}
    release = max(by_release, default="")
    images = {one.name.removesuffix(ending): (one.image, one.image_id) for one in found}
    return images, release, by_release.get(release, "")


def _of_the_host(paths: Paths, place: Path) -> None:
    """Secrets, the administrator's key and site.toml."""
    files.private_directory(place / paths.secrets.name)
    for file in sorted(paths.secrets.glob("*")):
        files.write(place / paths.secrets.name / file.name, file.read_bytes(), mode=files.PRIVATE)
    for file in (paths.site_toml, paths.private_key, paths.stack_env):
        if file.is_file():
            files.write(place / file.name, file.read_bytes(), mode=files.PRIVATE)
