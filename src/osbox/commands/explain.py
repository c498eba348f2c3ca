"""osbox explain NODE."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from osbox import log
from osbox.cloud import sessions, stack
from osbox.commands.context import Context, Json, print_json
from osbox.errors import UserError
from osbox.metal import explain as explainer
from osbox.metal import timeline

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def explain(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NODE")],
    since: Annotated[
        str,
        typer.Option(
            metavar="10m|2h|TIME", help="Leave out what is older: s, m, h, d ago, or an ISO time (UTC)."
        ),
    ] = "",
    tail: Annotated[int, typer.Option(help="The last so many events of each source.", min=1)] = 12,
    json: Json = False,
) -> None:
    """Why a node is as it is: the likely cause, and all that was seen of it as one timeline.

    Changes nothing.
    """
    here: Context = context.obj
    begin = moment(since, datetime.now(UTC)) if since else None
    stack.require_up(here.paths, here.site)
    at = here.engine()
    states = {service: state.state for service, state in stack.observe(at, here.site).items()}
    project, system = (
        sessions.connect(here.paths, here.site),
        sessions.connect(here.paths, here.site, system=True),
    )
    report = explainer.explain(
        explainer.Doors(here.site, at, project, system, states), name, since=begin, tail=tail
    )
    if json:
        print_json(report)
    else:
        _print(report)


def moment(text: str, now: datetime) -> datetime:
    """The time that --since means. Raises UserError for what is none."""
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    found = now - timedelta(**{UNITS[ago[2]]: int(ago[1])}) if ago else timeline.parse_time(text)
    if found is None:
        raise UserError(f"--since {text} is no time", hint="--since 10m, 2h, 1d, or 2026-11-23T08:00")
    return found


def _print(report: explainer.Report) -> None:
    cause = report.cause
    log.out.print(f"[bold]{escape(report.node)}[/]: {escape(report.state)}, power: {escape(report.power)}")
    log.out.print(f"[bold]Likely cause:[/] {escape(cause.text)}")
    for line in cause.evidence:
        log.out.print(f"[dim]  │ {escape(line)}[/]")
    log.out.print(f"[bold]Next:[/] {escape(cause.next)}\n")
    table = Table(box=None, pad_edge=False)
    for column in ("Time (UTC)", "Source", "What"):
        table.add_column(column, overflow="fold")
    days = Counter(event.time.date() for event in report.events)
    for event in report.events:
        when = f"{event.time:%H:%M:%S}" if len(days) == 1 else f"{event.time:%m-%d %H:%M:%S}"
        table.add_row(Text(when), Text(event.source), Text(event.what))
    log.out.print(table)
    for source, count in report.cut.items():
        log.out.print(
            f"[dim]{count} earlier events of {source} are left out: --tail {count + 12} shows more[/]"
        )
