"""The way back to a generation. Each step can be done again: killed anywhere, the same command goes on.

What was there is a generation before anything of it is touched, so that the way back can be taken back.
Nodes are neither switched nor written: Ironic reads their power anew, and those that the database remembers
otherwise than they were a moment ago go into maintenance.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from osbox import files, log
from osbox.cloud import compose
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import keep as keeping
from osbox.generations import record, things
from osbox.generations.helper import clear, helper, inside
from osbox.generations.keep import DATABASE, require_space
from osbox.generations.record import HOST, VOLUMES, Generation, GoingBack, Nodes, Things
from osbox.metal.states import UNDER_WAY
from osbox.site import secrets
from osbox.site.site import Paths, Site

WATCHERS = ("nova-compute", "ironic-conductor")
"""Who acts on nodes: stopped before it is read how nodes are, so that nothing is begun afterwards."""
ENDED = ("created", "exited", "dead")
REASON = "osbox rollback: its state was not as the generation has it"


@dataclass(frozen=True)
class Plan:
    """What a way back changes. lost: what was made since; again: what was removed since; both as `kind name`.
    maintenance: the names of nodes that will be looked at by a person first."""

    generation: Generation
    lost: tuple[str, ...]
    again: tuple[str, ...]
    maintenance: tuple[str, ...]


def plan(site: Site, engine: Engine, generation: Generation) -> Plan:
    """What would change. Raises Error when the database does not answer."""
    now, nodes = things.seen(engine, site), things.nodes(engine, site)
    return Plan(
        generation,
        tuple(_without(now, generation.things)),
        tuple(_without(generation.things, now)),
        tuple(in_doubt(generation, nodes)),
    )


def in_doubt(generation: Generation, now: Nodes) -> list[str]:
    """The names of the nodes that are not as the generation has them."""
    return [_name(generation, uuid) for uuid in differing(generation.nodes, now)]


def _name(generation: Generation, uuid: str) -> str:
    return generation.things.get("node", {}).get(uuid) or uuid


def differing(then: Nodes, now: Nodes) -> list[str]:
    """The nodes that a generation has otherwise than they are: given to another, deployed or freed since, or
    unknown now. A node that Ironic was at work on when it was kept is one of them, too: nobody goes on."""
    return [uuid for uuid, state in then.items() if now.get(uuid) != state or state[0] in UNDER_WAY]


def go(
    paths: Paths,
    site: Site,
    engine: Engine,
    generation: Generation,
    *,
    keeps: bool = True,
    anew: bool = False,
) -> tuple[GoingBack, list[str]]:
    """Bring back what a generation has; the services are stopped afterwards, and `osbox up` starts them.
    Returns the way, and the names of the nodes that are in maintenance for it.

    keeps: what is there now is kept before; without, a database that does not answer is no hindrance, but
    then nothing is known of nodes, and all go into maintenance. anew: so do they where there was no cloud:
    what a killed restore left in its database says nothing of nodes.
    """
    way = _set_out(paths, site, engine, generation, keeps=keeps, anew=anew)
    if not way.exchanged:
        _exchange(paths, site, engine, generation, way)
    return way, in_doubt(generation, way.nodes)


def _exchange(paths: Paths, site: Site, engine: Engine, generation: Generation, way: GoingBack) -> None:
    running = _running(site, engine)
    with log.step(f"Stop {len(running)} services"):
        _stop(site, engine, [name for name in running if name != DATABASE])
        _stop(site, engine, [name for name in running if name == DATABASE])
    with log.step(f"Bring back what generation {generation.number} has"):
        place = record.place(paths, generation.number)
        with helper(paths, site, engine, place / VOLUMES) as name:
            inside(engine, name, "back", str(generation.number))
        _host_files(paths, generation)
        _tags(engine, generation)
    with log.step("Tell the database that nodes are to be looked at"):
        # By the files of then: there may be no container of it, or one of another image.
        compose.up(engine, paths, DATABASE, rack=False)
        things.wait(engine, site)
        _nodes(site, engine, way.nodes)
    # From here on people may work again: who goes on brings the services up, and exchanges nothing.
    record.set_out(paths, replace(way, exchanged=True))


def _set_out(
    paths: Paths, site: Site, engine: Engine, generation: Generation, *, keeps: bool, anew: bool
) -> GoingBack:
    """What is under way from here on. One that was interrupted knows already what is kept, and of nodes what
    no database says any more."""
    way, number = record.going_back(paths), generation.number
    if way and number == way.to:
        return way
    if way and number == way.origin and not way.exchanged:  # taken back on its way
        way = replace(way, to=number)
    else:
        origin = 0
        if keeps:
            reason = f"before the way back to generation {number}"
            origin = keeping.keep(paths, site, engine, reason, needed=(number,)).number
        else:
            require_space(paths)
        _stop(site, engine, [name for name in _running(site, engine) if name in WATCHERS])
        way = GoingBack(number, origin, {} if anew else _nodes_now(site, engine, must=keeps))
    record.set_out(paths, way)
    return way


def _nodes_now(site: Site, engine: Engine, *, must: bool) -> Nodes:
    """None of a database that does not answer, where that is to be expected: all are looked at then."""
    try:
        return things.nodes(engine, site)
    except Error:
        if must:
            raise
        return {}


def _running(site: Site, engine: Engine) -> list[str]:
    """Who is to be stopped, those too that Docker starts again and again; a helper that a killed run left is
    none of them, and goes."""
    clear(site, engine)
    containers = compose.live(engine, site)
    return [name for name, one in containers.items() if one.state not in ENDED and name not in keeping.STAY]


def _stop(site: Site, engine: Engine, names: Sequence[str]) -> None:
    if names:  # Compose's own, in the middle of a replacement, stand there by their whole names
        docker.docker(engine, "stop", *(name if "." in name else f"{name}.{site.name}" for name in names))


def differences(paths: Paths, one: Generation, other: Generation) -> dict[str, list[str]]:
    """By what it is of: what the other generation has otherwise than the one."""
    was, now = (_site(paths, found) for found in (one, other))
    return {
        "release": [f"{one.release} → {other.release}"] * (one.release != other.release),
        "images": [
            f"{name} {one.images.get(name, ('none',))[0]} → {other.images.get(name, ('none',))[0]}"
            for name in sorted({*one.images, *other.images})
            if one.images.get(name) != other.images.get(name)
        ],
        "site.toml": [line for line in difflib.ndiff(was, now) if line[0] in "+-"],
        "made": list(_without(other.things, one.things)),
        "removed": list(_without(one.things, other.things)),
        "nodes": [
            f"{_name(other, uuid)} {one.nodes[uuid][0]} → {state[0]}"
            for uuid, state in other.nodes.items()
            if uuid in one.nodes and one.nodes[uuid] != state
        ],
    }


def _site(paths: Paths, generation: Generation) -> list[str]:
    file = record.place(paths, generation.number) / HOST / paths.site_toml.name
    return file.read_text().splitlines() if file.is_file() else []


def _without(these: Things, those: Things) -> Iterator[str]:
    for kind, found in these.items():
        known = those.get(kind, {})
        yield from (f"{kind} {name or number}" for number, name in found.items() if number not in known)


def require_images(engine: Engine, generation: Generation) -> None:
    """Raise UserError unless all images that ran then are here."""
    here = docker.image_ids(engine, *{number for _, number in generation.images.values()})
    lost = {tag for tag, number in generation.images.values() if number not in here}
    if lost:
        raise UserError(
            f"images of generation {generation.number} are not here any more",
            evidence=", ".join(sorted(lost)),
            hint=f"build them again from the commit that they were of: osbox build --version"
            f" {generation.version}",
        )


def _tags(engine: Engine, generation: Generation) -> None:
    """Have the tags name what they named then."""
    wanted: Mapping[str, str] = dict(generation.images.values())
    known = docker.images(engine, *wanted)
    for tag, number in wanted.items():
        if tag not in known or known[tag].id != number:
            docker.docker(engine, "tag", number, tag)


def _host_files(paths: Paths, generation: Generation) -> None:
    place = record.place(paths, generation.number) / HOST
    for file in sorted((place / paths.secrets.name).iterdir()):
        files.write(paths.secrets / file.name, file.read_bytes(), mode=files.PRIVATE, owner=secrets.UID)
    for file, mode in (
        (paths.site_toml, None),
        (paths.private_key, files.PRIVATE),
        (paths.stack_env, files.PUBLIC),
    ):
        kept = place / file.name
        if kept.is_file():
            files.write(file, kept.read_bytes(), mode=mode)
        else:
            file.unlink(missing_ok=True)


def _nodes(site: Site, engine: Engine, before: Nodes) -> None:
    """Before any conductor sees them. A power state of then would be made so again: Ironic switched a running
    node off 50 s later; of one that is not known it reads what is."""
    then = things.nodes(engine, site)
    statements = ["UPDATE ironic.nodes SET power_state = NULL, target_power_state = NULL"]
    statements += [
        f"UPDATE ironic.nodes SET maintenance = 1, maintenance_reason = '{REASON}' WHERE uuid = '{uuid}'"  # noqa: S608 - an id of Ironic's
        for uuid in differing(then, before)
    ]
    things.ask(engine, site, "; ".join(statements))
