"""osbox status."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from osbox import log
from osbox.cloud import passes, stack, traffic
from osbox.cloud.services import FRONT
from osbox.commands.context import Context, Json, print_json
from osbox.tls import decide, store

HOUR = 3600


def status(context: typer.Context, json: Json = False) -> None:
    """Show each service: health, image, uptime; Swift's passes; what was asked lately. Changes nothing."""
    here: Context = context.obj
    at = here.running_engine()
    states = stack.observe(at, here.site) if at else {}
    swift = states.get(passes.SERVICE)
    found = passes.ask(at, here.site) if at and swift and swift.state == "running" else []
    shown = _certificate(here) if FRONT in states else None
    asked = traffic.ask(at, here.site) if at and FRONT in states else []
    if json:
        more: dict[str, dict[str, Any]] = {passes.SERVICE: {"passes": found}} if found else {}
        front = {"certificate": {"days_left": shown.days_left, "end": shown.end}} if shown else {}
        more |= {FRONT: front | {"requests": asked}} if front or asked else {}
        print_json([asdict(state) | more.get(name, {}) for name, state in states.items()])
        return
    if not states:
        log.out.print("The cloud is not up; to bring it up: osbox up")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("Service", "State", "Health", "Image", "Up for"):
        table.add_column(column)
    for name in sorted(states):
        state = states[name]
        colour = {"healthy": "green", "unhealthy": "red", "starting": "yellow"}.get(state.health, "")
        health = f"[{colour}]{state.health}[/]" if colour else state.health or "-"
        table.add_row(
            name, state.state, health, state.image, _age(state.started) if state.state == "running" else "-"
        )
    log.out.print(table)
    if found:
        log.out.print()
        log.out.print(_passes(found))
    if asked:
        log.out.print()
        log.out.print(_requests(asked))
        if refused := sum(one.refused for one in asked):
            log.out.print(f"{refused:,} logins were refused: too many wrong ones from one address")
    if shown:
        log.out.print(f"\nThe entrance's certificate ends in {shown.days_left} days ({shown.end:%Y-%m-%d})")


def _certificate(here: Context) -> decide.Told | None:
    """The entrance's own, where it has one that can be read."""
    found = store.leaf(here.paths) if here.site.tls else None
    return decide.tell(found, datetime.now(UTC)) if found else None


def _passes(found: list[passes.Pass]) -> Table:
    """When each ended last, what it took, and what is amiss with it."""
    table = Table(box=None, pad_edge=False)
    for column in ("Swift's pass", "Ended", "Took", "Errors"):
        table.add_column(column, no_wrap=True)
    table.add_column("", style="red", overflow="fold")
    for one in found:
        ended = "not yet" if one.ago is None else f"{_span(one.ago)} ago"
        took = "-" if one.seconds is None else _span(one.seconds)
        wrong = one.wrong or (f"exit code {one.code}" if one.code else "")
        table.add_row(escape(one.name), ended, took, str(one.errors or "-"), escape(wrong))
    return table


def _requests(asked: list[traffic.Traffic]) -> Table:
    """By API, of the last minutes: how many, how fast, what failed."""
    table = Table(box=None, pad_edge=False)
    for column in (f"Asked in {traffic.MINUTES} min", "Requests", "Median", "95 %", "Held", "Failed"):
        table.add_column(column, no_wrap=True, justify="left" if column.startswith("Asked") else "right")
    for one in asked:
        failed = f"[red]{one.failed}[/]" if one.failed else "-"
        times = [_milliseconds(number) for number in (one.median, one.p95, one.held or None)]
        table.add_row(one.service, str(one.requests), *times, failed)
    return table


def _milliseconds(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f} ms"


def _span(seconds: float) -> str:
    return log.seconds(seconds) if seconds < HOUR else _hours(seconds)


def _age(started: str) -> str:
    since = datetime.fromisoformat(started[:19]).replace(tzinfo=UTC)
    return _hours((datetime.now(UTC) - since).total_seconds())


def _hours(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02} m" if minutes >= 60 else f"{minutes} m"  # noqa: PLR2004
