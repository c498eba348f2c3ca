"""osbox up, plan, logs, down, openstack."""

import re
import time
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from osbox import log, run
from osbox.build import images
from osbox.cloud import credentials, stack, underway
from osbox.cloud.changes import Change
from osbox.cloud.plan import Plan
from osbox.commands.context import Context, Json, print_json, show
from osbox.commands.converging import bring_forward
from osbox.engine import engine, firewall, rules
from osbox.engine.asking import SilentError
from osbox.errors import UserError
from osbox.generations import keep, record, upgrade
from osbox.images import catalogue
from osbox.network import connect as network
from osbox.network import subnets
from osbox.site import deployments, sitefile
from osbox.site.site import Site

Version = Annotated[
    str,
    typer.Option(
        "--version", metavar="TAG", help="Tag of the images to run.", callback=catalogue.check_version
    ),
]
Listen = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Publish the APIs on this address of the host, too.")
]
Workers = Annotated[int | None, typer.Option(min=1, max=64, help="Processes of each API; kept in site.toml.")]

SWEPT = "somebody flushed the packet filter while the engine ran"
SHOWN = 8  # names in a line
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
PENDING = 2  # the exit code of a plan with something in it


def up(
    context: typer.Context,
    version: Version = "latest",
    listen: Listen = None,
    workers: Workers = None,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Only show what would change, as osbox plan does.")
    ] = False,
    *,
    wait: Annotated[
        str, typer.Option(metavar="TIME", help="How long for what is under way: 90s, 30m, 2h.")
    ] = "30m",
    now: Annotated[bool, typer.Option("--now", help="Do not wait for what is under way: break it.")] = False,
    goes_back: Annotated[
        bool,
        typer.Option("--back/--no-back", help="Lead the cloud back when another release does not come up."),
    ] = True,
) -> None:
    """Bring the cloud up and prove that every service answers. Running it again changes nothing."""
    here: Context = context.obj
    patience = underway.Patience(_duration(wait), now)
    if only_plan:
        plan(context, version, listen, workers)
    engine.require_root()
    _site(here, listen, workers)  # a wrong address is refused before anything is started
    begin = time.monotonic()
    here.settle()  # where a new deployment is, and its lock
    with here.alone("up", anew=True):
        seen = subnets.require_free(here.paths, here.site, None, subnets.OF_A_CLOUD)  # before any start
        at = here.engine()
        here = here.again()
        site = _site(here, listen, workers)
        if not subnets.in_place(seen, site):  # so the engine's networks count, too
            subnets.require_free(here.paths, site, at, subnets.OF_A_CLOUD)
        if workers and sitefile.put(here.paths.home, {("workers",): workers}):
            log.say(f"workers = {workers} is kept in {here.paths.site_toml}")
        record.require_none_under_way(here.paths)
        kept, done = bring_forward(here, site, at, version, patience, goes_back=goes_back)
        took = log.seconds(time.monotonic() - begin)
    if kept:
        log.out.print(f"kept: generation {kept.number}; osbox rollback {kept.number} leads back to it")
    for what in done.mended:
        log.out.print(f"put back: {what}")
    number = len(done.changed) + done.network + len(done.mended)
    if not number:
        log.out.print(f"Nothing to change: every service of {here.site.name} is ready ({took})")
        return
    for line in _grouped(done.changed):
        log.out.print(line, markup=False)
    log.out.print(f"The cloud {here.site.name} is up: {number} changes in {took}")
    log.out.print(
        "  osbox openstack catalog list        or:  export"
        f" OS_CLIENT_CONFIG_FILE={here.paths.clouds_yaml} OS_CLOUD={here.site.name}"
    )


def plan(
    context: typer.Context,
    version: Version = "latest",
    listen: Listen = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Show what `osbox up` would change, and why.

    Changes nothing; exit code 0 when there is nothing to do, else 2.
    """
    here: Context = context.obj
    site = _site(here, listen, workers)
    at, busy = here.running_engine(), list[dict[str, Any]]()
    to_start = not at and here.base_site.engine != "host"
    own = subnets.KEYS if to_start and not here.named else subnets.OF_A_CLOUD
    subnets.require_free(here.paths, site, at, own)
    if to_start and here.named:  # what is set of the engine is in the file of the deployment without a name
        subnets.require_free(here.base, here.base_site, None, subnets.OF_AN_ENGINE)
    if at:
        todo = stack.plan(here.paths, site, at, version)
        upgrade.refuse(here.paths, todo)
        changes, busy = list(todo.changes), _under_way(here, site, todo)
        swept = rules.swept(here.base, at)
        if swept and not rules.is_kept(here.base, at):
            raise firewall.gone("lost")  # as `osbox up` would
        changes += [Change("host", "put back Docker's firewall rules", "change", (SWEPT,))] * swept
        replaced = swept or any(change.name == "neutron-network" for change in changes)
        changes += [
            Change("host", text, "change")
            for text in network.pending(here.paths, site, at, replaced=replaced)
        ]
    else:
        changes = [
            Change(
                "engine",
                here.base_site.engine,
                "start",
                ("no engine runs; what else would change is seen when one does",),
            )
        ]
    if json:
        print_json({"changes": changes, "under_way": busy})
    elif not changes:
        log.out.print(f"Nothing to change in {here.site.name}")
    else:
        log.out.print(_table(changes))
        for one in busy:
            needs = ", ".join(one["needs"])
            log.out.print(f"under way: {one['kind']} {one['name']} ({one['state']}), which needs {needs}")
        then = "; it waits for what is under way" if busy else ""
        log.out.print(f"{len(changes)} changes; osbox up makes them{then}")
    raise typer.Exit(PENDING if changes else 0)


def _duration(text: str) -> float:
    """Seconds of 90s, 30m, 2h, or a number of seconds."""
    found = DURATION.fullmatch(text.strip())
    if not found:
        raise UserError(f"--wait {text!r} is no time", hint="a number with s, m or h behind: 90s, 30m, 2h")
    return float(found[1]) * UNITS[found[2]]


def _under_way(here: Context, site: Site, todo: Plan) -> list[dict[str, Any]]:
    """What `osbox up` would wait for, and which services it needs that are to be replaced."""
    services = underway.harmful(todo.changes, todo.live)
    hit = underway.known(partial(underway.seen, here.paths, site, services))
    return [{**asdict(one), "needs": names} for one, names in hit]


def _site(here: Context, listen: str | None, workers: int | None) -> Site:
    site = here.site.listening_on(listen) if listen is not None else here.site
    return site.model_copy(update={"workers": workers}) if workers else site


def _table(changes: list[Change]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("What", no_wrap=True)
    table.add_column("Change", no_wrap=True)
    table.add_column("Outage", no_wrap=True)
    table.add_column("Why", overflow="fold")
    for change in changes:
        what = change.name if change.kind in ("container", "host") else f"{change.kind} {change.name}"
        table.add_row(escape(what), change.action, _outage(change), escape("\n".join(change.reasons)))
    return table


def _outage(change: Change) -> str:
    """What a plan says of the time for which a service does not answer: as it was measured last, or that it
    is not known."""
    if change.kind != "container" or change.action in ("create", "start"):
        return "-"
    if change.action == "remove":
        return "for good"
    if not change.outage:
        return "unknown"
    others = f", with {change.outage.others} others" if change.outage.others else ""
    return f"{log.seconds(change.outage.seconds)} last time{others}"


def _grouped(changes: list[Change]) -> list[str]:
    """A line for each kind of change: recreate container: keystone nova-api."""
    found: dict[str, list[str]] = {}
    for change in changes:
        found.setdefault(f"{change.action} {change.kind}", []).append(change.name)
    return [
        f"{what}: {' '.join(names) if len(names) <= SHOWN else f'{len(names)} of them'}"
        for what, names in found.items()
    ]


def logs(
    context: typer.Context,
    services: Annotated[list[str] | None, typer.Argument(metavar="[SERVICE…]")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines are written.")] = False,
    tail: Annotated[int, typer.Option(help="Lines from the end.")] = 200,
) -> None:
    """Show the logs of all services, or of these."""
    here: Context = context.obj
    at = here.running_engine()
    states = stack.observe(at, here.site) if at else {}
    if not at or not states:
        raise UserError("the cloud is not up, so there are no logs", hint="osbox up")
    for name in services or []:
        if name not in states:
            raise UserError(f"there is no service {name}", hint="services: " + ", ".join(sorted(states)))
    argv = stack.logs_argv(
        at, here.paths, services or [], follow=follow, tail=tail, rack=stack.RACK in states
    )
    raise typer.Exit(show(argv))


def down(
    context: typer.Context,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Remove everything that osbox made: volumes, network, engine, files."),
    ] = False,
    keep_images: Annotated[
        bool, typer.Option("--keep-images", help="With --purge: keep the engine, its images and caches.")
    ] = False,
) -> None:
    """Stop the cloud and keep its data; with --purge, leave the host as it was before osbox."""
    here: Context = context.obj
    engine.require_root()
    if keep_images and not purge:
        raise UserError("--keep-images goes with --purge")
    with ExitStack() as held:
        if purge:
            _refuse_beside_others(here)  # before it waits
            held.enter_context(here.all_alone("down --purge"))
            _refuse_beside_others(here)  # one may have been begun meanwhile
        elif here.paths.home.is_dir():
            held.enter_context(here.alone("down", frees=True))
        gone = _down(here, purge=purge, keep_images=keep_images)
    if log.is_verbose():
        for thing in gone:
            log.out.print(thing, markup=False)
    log.out.print(f"{len(gone)} things removed" if gone else "Nothing to remove")


def _refuse_beside_others(here: Context) -> None:
    others = [] if here.named else deployments.names(here.base)
    if others:
        hint = "\n".join(f"osbox --name {name} down --purge" for name in others)
        raise UserError(f"other clouds use this engine: {', '.join(others)}", hint=hint)


def _down(here: Context, *, purge: bool, keep_images: bool) -> list[str]:
    at = _answering(here, purge=purge)
    if (
        purge
        and not at
        and (keep_images or here.named)
        and (here.base.engine / "data").is_dir()
        and here.paths.home.is_dir()
    ):
        at = (
            here.engine()
        )  # the volumes are to go, the images are not: only a running engine tells them apart
    gone = stack.down(here.paths, here.site, at, volumes=purge) if at else []
    return gone + (_purge(here, at, keep_images=keep_images) if purge else [])


def _answering(here: Context, *, purge: bool) -> engine.Engine | None:
    """The engine that runs; one of ours that gives no answer does not keep a purge of all it has from its
    end."""
    try:
        return here.running_engine()
    except SilentError as silent:
        if not purge or here.named or not engine.stop(here.base):
            raise
        log.warn(f"{silent.message}: it was ended without being asked")
        return None


def _purge(here: Context, at: engine.Engine | None, *, keep_images: bool) -> list[str]:
    """Remove what is left when the cloud is down: its network and files; the engine with the deployment that
    has no name."""
    if not at:
        engine.stop(here.base)  # containers of an engine that died may still hold the network
    gone = [str(change) for change in network.remove(here.paths, here.site, at or engine.tools(here.base))]
    if at:
        keep.untag(at, here.site)
    if here.named:
        return gone + engine.remove_files(here.paths, keep_images=keep_images)
    if not keep_images and at and at.kind == "host":
        gone += images.remove_all(at)
    return gone + engine.purge(here.paths, here.site, keep_images=keep_images)


def openstack(context: typer.Context) -> None:
    """The openstack client with this cloud's credentials: osbox openstack server list"""
    here: Context = context.obj
    if not here.paths.clouds_yaml.exists():
        raise UserError("there is no cloud yet", hint="osbox up")
    words = list(context.args)
    # Nodes belong to the system, not to a project: the administrator sees all of them with a token of that
    # scope.
    scope = f"{here.site.name}-system" if words[:1] == ["baremetal"] else here.site.name
    raise typer.Exit(
        run.attach([credentials.client(), *words], env=credentials.client_environment(here.paths, scope))
    )
