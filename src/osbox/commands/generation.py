"""osbox generation, rollback: the cloud as it was, kept, and the way back to it."""

import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from osbox import log
from osbox.commands.context import OF_A_DEPLOYMENT, Context, Json, print_json
from osbox.commands.converging import lead_back
from osbox.commands.stack import PENDING
from osbox.engine import engine as engines
from osbox.errors import UserError
from osbox.generations import back, keep, record
from osbox.generations.back import Plan
from osbox.generations.record import Generation

app = typer.Typer(no_args_is_help=True, help="The cloud as it was at a moment, kept to go back to.")
SHOWN = 12  # lines of what is lost; the rest is counted
Number = Annotated[int, typer.Argument(metavar="N", help="The number, as osbox generation list shows it.")]


@app.callback()
def group() -> None: ...


@app.command()
def create(
    context: typer.Context,
    reason: Annotated[str, typer.Argument(metavar="[REASON]", help="Why, for the list.")] = "by hand",
    *,
    expires: Annotated[
        bool, typer.Option("--expires", help="It goes by age and number, as those that osbox itself makes.")
    ] = False,
) -> None:
    """Keep the cloud as it is: databases, keys, objects, rings, secrets, site.toml.

    Requests wait for a second or two meanwhile.
    """
    here: Context = context.obj
    engines.require_root()
    with here.alone("generation create"):
        record.require_none_under_way(here.paths)
        found = keep.keep(here.paths, here.site, here.engine(), reason, lasting=not expires)
    log.out.print(
        f"Generation {found.number} is kept: {found.objects} objects, {_size(here, found.number)},"
        f" writers waited {found.seconds:.1f} s\n  osbox rollback {found.number} leads back to it",
        markup=False,
    )


@app.command("list")
def show_all(context: typer.Context, json: Json = False) -> None:
    """List the generations, the youngest last."""
    here: Context = context.obj
    found = record.all_of(here.paths)
    if json:
        print_json([_told(here, one) for one in found])
        return
    table = Table(box=None, pad_edge=False)
    for name in ("N", "AGE", "RELEASE", "SIZE", "OBJECTS", "SERVERS", "NODES", "REASON"):
        table.add_column(name, justify="left" if name in ("RELEASE", "REASON") else "right")
    now = datetime.now(UTC)
    for one in found:
        age = log.seconds((now - datetime.fromisoformat(one.time)).total_seconds())
        counts = (len(one.things.get("server", {})), len(one.nodes))
        cells = (one.number, age, one.release, _size(here, one.number), one.objects, *counts, one.reason)
        table.add_row(*(escape(str(cell)) for cell in cells))
    log.out.print(table if found else "There is no generation; osbox generation create keeps one")


@app.command()
def show(context: typer.Context, number: Number, json: Json = False) -> None:
    """Say what a generation has, by kind and name."""
    here: Context = context.obj
    found = record.find(here.paths, number)
    if json:
        print_json(_told(here, found))
        return
    lines = [
        f"Generation {found.number}, {found.time}: {found.reason}",
        f"release {found.release}, images {found.version}, {found.objects} objects,"
        f" {_size(here, found.number)}",
        *(
            f"{kind}: {', '.join(sorted(name or number for number, name in names.items())) or 'none'}"
            for kind, names in found.things.items()
        ),
    ]
    log.out.print("\n".join(lines), markup=False)


@app.command("keep")
def last(context: typer.Context, number: Number) -> None:
    """Have a generation never go by age or number."""
    here: Context = context.obj
    engines.require_root()
    with here.alone("generation keep"):
        found = record.last(here.paths, record.find(here.paths, number))
    log.out.print(f"Generation {found.number} stays until osbox generation remove {found.number}")


@app.command()
def diff(
    context: typer.Context,
    first: Number,
    second: Annotated[int, typer.Argument(metavar="M", help="The other's number.")],
    json: Json = False,
) -> None:
    """Say what is otherwise in generation M than in N."""
    here: Context = context.obj
    told = back.differences(here.paths, record.find(here.paths, first), record.find(here.paths, second))
    if json:
        print_json(told)
        return
    lines = [f"{what}: {line}" for what, found in told.items() for line in found]
    log.out.print("\n".join(lines) or "Nothing is otherwise", markup=False)


@app.command()
def remove(
    context: typer.Context, numbers: Annotated[list[int], typer.Argument(metavar="N…", help="Their numbers.")]
) -> None:
    """Remove generations: there is no way back to them then."""
    here: Context = context.obj
    engines.require_root()
    with here.alone("generation remove", frees=True):
        known, needed = record.numbers(here.paths), record.needed(here.paths)
        for number in numbers:
            if number not in known:
                record.find(here.paths, number)  # which says what there is
            if number in needed:
                raise UserError(
                    f"generation {number} is needed: an upgrade or a way back that has not ended began there",
                    hint="osbox rollback, or osbox up, to its end",
                )
        for number in numbers:
            keep.remove(here.paths, here.site, here.engine(), number)
            log.out.print(f"Generation {number} is removed")


def rollback(
    context: typer.Context,
    number: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Which generation; the last without one.")
    ] = None,
    *,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Only show what would be lost, and change nothing.")
    ] = False,
    keeps: Annotated[
        bool,
        typer.Option(
            "--keep/--no-keep",
            help="Keep what is there now before; without, also a cloud whose database does not answer.",
        ),
    ] = True,
) -> None:
    """Lead the cloud back to a generation, and prove it.

    What is there now is a generation before, so that this can be taken back.
    """
    here: Context = context.obj
    engines.require_root()
    begin = time.monotonic()
    with ExitStack() as held:
        for what in OF_A_DEPLOYMENT:
            held.enter_context(here.alone("rollback", what))
        at, way = here.engine(), record.going_back(here.paths)
        found = record.find(here.paths, number if number is not None or way is None else way.to)
        back.require_images(at, found)
        told = None
        if way is None and (keeps or only_plan):
            keep.running(here.site, at)
            told = back.plan(here.site, at, found)
            log.out.print("\n".join(_lines(told)), markup=False)
        if only_plan:
            if told is None:
                raise UserError(
                    "there is no plan of a way back that was begun", hint="osbox rollback goes on"
                )
            raise typer.Exit(PENDING if told.lost or told.again else 0)
        gone = lead_back(here, at, found, keeps=keeps)
    took = log.seconds(time.monotonic() - begin)
    log.out.print(f"The cloud {here.site.name} is as generation {found.number} has it, after {took}")
    if gone.origin:
        log.out.print(f"  osbox rollback {gone.origin} takes that back")


def _lines(told: Plan) -> list[str]:
    """What is lost, what comes again, which nodes are to be looked at."""
    found = [f"The way back to generation {told.generation.number}, {told.generation.time}:"]
    for what, names in (
        ("made since, and lost", told.lost),
        ("removed since, and there again", told.again),
        ("nodes that go into maintenance", told.maintenance),
    ):
        more = [f"  … and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
        found += [f"{what}: {len(names) or 'nothing'}", *(f"  {name}" for name in names[:SHOWN]), *more]
    return [*found, "also lost: changes of what is there then and now, passwords among them"]


def _told(here: Context, found: Generation) -> dict[str, object]:
    return {**asdict(found), "bytes": record.octets(here.paths, found.number)}


def _size(here: Context, number: int) -> str:
    return f"{record.octets(here.paths, number) / 1e6:.0f} MB"
