"""Keep a generation: all databases, Keystone's keys, Swift's objects and rings at one instant, and secrets
and site.toml with them.

Who writes objects or rows is paused meanwhile: requests wait for a second or two, and none fails.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from osbox import files, log, run
from osbox.cloud import compose
from osbox.cloud.plan import release
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import record, things
from osbox.generations.inside import SCRIPTS
from osbox.generations.record import HOST, VOLUMES, Generation
from osbox.site import secrets
from osbox.site.site import LABEL, Paths, Site

WRITERS = (
    *("glance-api", "swift-proxy", "swift-daemons", "swift-account", "swift-container", "swift-object"),
    "mysql",
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
MOUNTS: Mapping[str, str] = {
    "mysql-data": "/mysql",
    "keystone-keys": "/keystone-keys",
    "swift-rings-data": "/swift-rings",
    "swift-devs-data": "/srv/node",
    "rabbitmq-data": "/rabbitmq",
    "ovn-data": "/ovn",
}
"""Where the helper has which volume."""
FREE_OCTETS = 512 << 20
"""That have to be free on the disk before: a generation took 15 MB, its copy beside the databases 15 more."""
SECONDS = 600
"""Of the helper: objects are linked, 2 000 in a second on a busy machine."""
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
"""
"""One process from the pause to its end: whatever becomes of us, it lets them go on. Docker gives up on
pausing a busy container now and then ("unable to freeze")."""


def keep(paths: Paths, site: Site, engine: Engine, reason: str, *, lasting: bool = False) -> Generation:
    """Keep the cloud as it is now; what is old or too many then goes (site.toml).

    lasting: it never goes by itself.

    Raises UserError when there is no cloud, Error when its database does not answer or the disk is full.
    """
    containers = compose.live(engine, site)
    if "mysql" not in containers:
        raise UserError(f"there is no cloud {site.name} to keep", hint="osbox up")
    _require_space(paths)
    there, nodes = things.seen(engine, site), things.nodes(engine, site)
    number, version = record.next_number(paths), compose.version(paths)
    new = record.begin(paths, number)
    with log.step(f"Keep generation {number}"):
        running = [f"{name}.{site.name}" for name in WRITERS if _runs(containers.get(name))]
        with helper(paths, site, engine, new / VOLUMES) as name:
            inside(engine, name, "tidy", ",".join(str(one.number) for one in record.all_of(paths)))
            program = (SCRIPTS / "trees.py").read_text()
            words = engine.argv("sh", "-euc", PAUSED, "sh", name, program, str(number), *running)
            told = json.loads(run.tail(run.run(words, timeout=SECONDS).out, 1))
        _of_the_host(paths, new / HOST)
        generation = Generation(
            number=number,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            reason=reason,
            release=release(engine, site),
            version=version,
            images=_images(engine, site),
            things=there,
            nodes=nodes,
            objects=told["objects"],
            seconds=told["seconds"],
            lasting=lasting,
        )
        record.end(paths, new, generation)
    _let_go(paths, site, engine)
    return generation


def _let_go(paths: Paths, site: Site, engine: Engine) -> None:
    """Of those that are due all but what a way back or an upgrade began from."""
    way, upgrade = record.going_back(paths), record.upgrading(paths)
    needed = {way.to, way.origin} if way else {upgrade.origin} if upgrade else set[int]()
    now = datetime.now(UTC)
    for one in record.due(record.all_of(paths), site.generations, site.generation_days, now):
        if one.number not in needed:
            remove(paths, site, engine, one.number)
            log.say(f"Generation {one.number} of {one.time} is removed: {site.generations} are kept")


def remove(paths: Paths, site: Site, engine: Engine, number: int) -> None:
    """Remove a generation; first its name, so that none that is half removed passes for a whole one."""
    place = record.place(paths, number)
    gone = place.with_name(f"{number}.new")
    if place.is_dir():
        place.rename(gone)
    with helper(paths, site, engine, None) as name:
        inside(engine, name, "drop", str(number))
    shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def helper(paths: Paths, site: Site, engine: Engine, kept: Path | None) -> Iterator[str]:
    """A container that has the volumes, as the images' user and without any capability or network, for the
    block; its name. kept: what it has as /kept."""
    name = clear(site, engine)
    prefix = compose.last(paths, "OSBOX_VOLUME_PREFIX")
    volumes = [f"--volume={prefix}{volume}:{place}" for volume, place in MOUNTS.items()]
    volumes += [f"--volume={kept}:/kept"] if kept else []
    restraints = ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    # The label has `osbox down`, and the next `osbox up`, find one that was left by a kill: it holds volumes.
    user = (f"--user={secrets.UID}:{secrets.UID}", f"--label={LABEL}={site.name}")
    image = f"os-base-image:{compose.version(paths)}"
    last = ("--entrypoint=sleep", image, str(SECONDS * 2))
    docker.docker(
        engine, "run", "--detach", "--rm", "--init", f"--name={name}", *restraints, *user, *volumes, *last
    )
    try:
        yield name
    finally:
        docker.docker(engine, "rm", "--force", name, check=False)


def clear(site: Site, engine: Engine) -> str:
    """Remove the helper of a run that was killed; the name that it has."""
    name = f"generation.{site.name}"
    docker.docker(engine, "rm", "--force", name, check=False)
    return name


def inside(engine: Engine, name: str, do: str, what: str) -> None:
    """Have the helper do something (osbox.generations.inside.trees)."""
    program = (SCRIPTS / "trees.py").read_text()
    words = ("exec", name, "python3", "-c", program, do, what)
    begin = time.monotonic()
    docker.docker(engine, *words, timeout=SECONDS)
    log.command(f"# {do} took {time.monotonic() - begin:.1f} s")


def _runs(one: object) -> bool:
    return getattr(one, "state", "") == "running"


def _require_space(paths: Paths) -> None:
    free = shutil.disk_usage(paths.home).free
    if free < FREE_OCTETS:
        raise Error(
            f"a generation wants {FREE_OCTETS >> 20} MB on the disk of {paths.home}",
            evidence=f"{free >> 20} MB are free",
            hint="osbox generation list, and osbox generation remove of one that is not needed",
        )


def _images(engine: Engine, site: Site) -> dict[str, tuple[str, str]]:
    """By service the tag and the id of its image."""
    names = docker.ids(engine, "container", compose.label(site))
    ending = f".{site.name}"
    found = docker.containers(engine, *(name for name in names if name.endswith(ending)))
    return {one.name.removesuffix(ending): (one.image, one.image_id) for one in found}


def _of_the_host(paths: Paths, place: Path) -> None:
    """Secrets, the administrator's key and site.toml."""
    files.private_directory(place / paths.secrets.name)
    for file in sorted(paths.secrets.glob("*")):
        files.write(place / paths.secrets.name / file.name, file.read_bytes(), mode=files.PRIVATE)
    for file in (paths.site_toml, paths.private_key):
        if file.is_file():
            files.write(place / file.name, file.read_bytes(), mode=files.PRIVATE)
