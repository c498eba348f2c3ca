"""Another release of OpenStack migrates the databases: kept before, and never backwards."""

from osbox.cloud.plan import CONDUCTOR
from osbox.cloud.plan import read as plan
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import UserError
from osbox.generations import keep as keeping
from osbox.generations import record
from osbox.generations.record import Generation
from osbox.images import labels
from osbox.site.site import Paths, Site


def releases(site: Site, engine: Engine, version: str) -> tuple[str, str]:
    """The release that runs, and that of the images of a version; "" for what there is none of."""
    there = docker.container(engine, f"ironic-conductor.{site.name}")
    wanted = docker.image(engine, CONDUCTOR.tag(version))
    return (
        there.labels.get(labels.RELEASE, "") if there else "",
        wanted.labels.get(labels.RELEASE, "") if wanted else "",
    )


def refuse_downgrade(paths: Paths, site: Site, engine: Engine, version: str) -> None:
    """Raise UserError for images of an older release than runs: their services know no newer database, and
    some damage it before they say so."""
    runs, wanted = releases(site, engine, version)
    if not runs or not wanted or wanted >= runs:  # 2025.2 < 2026.1, by their names
        return
    known = [one for one in record.all_of(paths) if one.release == wanted]
    raise UserError(
        f"the images of {version} are of {wanted}: no database goes back from {runs}, which runs here",
        hint=(
            f"osbox rollback {known[-1].number} leads back to {wanted}, as it was then"
            if known
            else f"no generation of {wanted} was kept; osbox generation list"
        ),
    )


def keep(paths: Paths, site: Site, engine: Engine, version: str) -> Generation | None:
    """Keep the cloud before an upgrade; None when it is none, or there is no cloud yet.

    What is wrong with the plan is told before; raises UserError for an older release.
    """
    refuse_downgrade(paths, site, engine, version)
    runs, wanted = releases(site, engine, version)
    if not runs or not wanted or runs == wanted:
        return None
    plan(paths, site, engine, version)
    return keeping.keep(paths, site, engine, f"before the upgrade from {runs} to {wanted}")
