"""Images of other content, and another release of OpenStack, which migrates the databases: kept before, and
never backwards."""

from osbox import log
from osbox.cloud import compose
from osbox.cloud.plan import Plan
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import keep as keeping
from osbox.generations import record
from osbox.generations.record import Generation, Upgrade
from osbox.site.site import Paths, Site

FIRST = ".1"
"""Of each year: the release that upgrades may go on to from the first one of the year before (SLURP)."""


def refuse(paths: Paths, todo: Plan) -> None:
    """Raise UserError for images of an older release than runs, whose services know no newer database, and
    of one that no upgrade leads to at once."""
    runs, wanted = running(todo), todo.release
    if not runs or not wanted or wanted == runs:
        return
    if wanted < runs:  # 2025.2 < 2026.1, by their names
        known = [one for one in record.all_of(paths) if one.release == wanted]
        raise UserError(
            f"the images of {todo.version} are of {wanted}: no database goes back from {runs}, which runs",
            hint=(
                f"osbox rollback {known[-1].number} leads back to {wanted}, as it was then"
                if known
                else f"no generation of {wanted} was kept; osbox generation list"
            ),
        )
    way = steps(runs, wanted)
    if len(way) > 1:
        raise UserError(
            f"no upgrade leads from {runs} to {wanted} at once: upstream supports the next release, and from"
            " the first of a year to the first of the next",
            hint=f"first osbox build --release {way[0]} --version {way[0]}, and osbox up --version {way[0]};"
            f" the whole way is {' → '.join([runs, *way])}",
        )


def running(todo: Plan) -> str:
    """The youngest release that a container is of, for an upgrade that was killed has begun to migrate; of a
    cloud that is down the one that it was last brought up with."""
    return max((one.release for one in todo.live.values()), default="") or todo.former


def is_one(todo: Plan) -> bool:
    """Whether another release is to run than does."""
    runs = running(todo)
    return bool(runs and todo.release and runs != todo.release)


def steps(runs: str, wanted: str) -> list[str]:
    """The releases one after the other that upgrades go through, the wanted one last. Pure."""
    way, here = list[str](), runs
    while here < wanted:
        year = int(here[:4])
        later = f"{year + 1}{FIRST}"
        here = later if not here.endswith(FIRST) or later <= wanted else f"{year}.2"
        way.append(here)
    return way


def keep(paths: Paths, site: Site, engine: Engine, todo: Plan) -> Generation | None:
    """Keep the cloud before another release or other images; None when there are none, or no cloud yet. Of an
    upgrade that was interrupted, what was kept before it.

    Raises Error when the cloud cannot be kept before an upgrade.
    """
    under_way, runs = record.upgrading(paths), running(todo)
    if under_way and under_way.release == todo.release == runs:  # it has begun to migrate
        return next((one for one in record.all_of(paths) if one.number == under_way.origin), None)
    if is_one(todo):
        if not any(one.state == "running" for one in todo.live.values()):
            raise UserError(
                f"the cloud is down, so it cannot be kept before the upgrade from {runs} to {todo.release}",
                hint=f"osbox up --version {compose.version(paths)}, then the same command again",
            )
        found = keeping.keep(paths, site, engine, f"before the upgrade from {runs} to {todo.release}")
        record.begin_upgrade(paths, Upgrade(found.number, todo.release))
        return found
    if not set(todo.exchanged) - keeping.STAY:
        return None
    try:
        return keeping.keep(paths, site, engine, f"before other images of {runs}")
    except Error as silent:  # these images may be what it takes to have it answer again
        log.warn(f"nothing was kept before the images are exchanged: {silent.message}")
        return None
