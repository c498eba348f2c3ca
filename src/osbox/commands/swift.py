"""osbox swift: the rings of the object store."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from osbox import log
from osbox.cloud import rings as verbs
from osbox.cloud import stack
from osbox.cloud.rings import Device, Ring
from osbox.commands.context import Context, Json, print_json
from osbox.engine.engine import Engine
from osbox.errors import UserError

COLUMNS = (
    "Ring",
    "Policy",
    "Replicas",
    "Partitions",
    "Balance",
    "Rebalanced",
    "Region",
    "Zone",
    "Device",
    "Weight",
    "Its partitions",
)
app = typer.Typer(help="The object store: its rings.", no_args_is_help=True)


@app.callback()
def group() -> None: ...


@app.command()
def rings(
    context: typer.Context,
    rebalance: Annotated[
        bool, typer.Option("--rebalance", help="Move partitions until each device has what its weight says.")
    ] = False,
    json: Json = False,
) -> None:
    """Show which device has what of accounts, containers and each storage policy's objects."""
    here: Context = context.obj
    if rebalance:
        _rebalance(here, json=json)
        return
    found = verbs.show(_where_they_are(here), here.site)
    if json:
        print_json(found)
    else:
        log.out.print(_table(found))


def _where_they_are(here: Context) -> Engine:
    """The engine with the containers that have the rings; Keystone is not asked for them."""
    at = here.running_engine()
    if not at or verbs.SERVICE not in stack.observe(at, here.site):
        raise UserError("the cloud is not up, so there are no rings", hint="osbox up")
    return at


def _rebalance(here: Context, *, json: bool) -> None:
    with here.alone("swift rings --rebalance"):
        found = verbs.rebalance(_where_they_are(here), here.site)
    if json:
        print_json(found)
    else:
        for move in found:
            log.out.print(verbs.told(move), markup=False)
        if any(move.outcome == "moved" for move in found):
            log.out.print(f"Next: nothing; {verbs.NOTICED}")
    verbs.require_time(found)


def _table(found: list[Ring]) -> Table:
    """A line for each device; what is said of a ring stands in the first of its lines."""
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for ring in found:
        for number, device in enumerate(ring.devices):
            own = ("",) * 6 if number else _of_ring(ring)
            table.add_row(*map(escape, (*own, *_of_device(device))))
    return table


def _of_ring(ring: Ring) -> tuple[str, ...]:
    when = "never"
    if ring.rebalanced:
        when = datetime.fromtimestamp(ring.rebalanced, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        ring.name,
        ring.policy or "-",
        f"{ring.replicas:g}",
        str(ring.partitions),
        f"{ring.balance:g} %",
        when,
    )


def _of_device(device: Device) -> tuple[str, ...]:
    place = f"{device.address}:{device.port}/{device.device}"
    return str(device.region), str(device.zone), place, f"{device.weight:g}", str(device.partitions)
