"""osbox doctor."""

from contextlib import nullcontext
from typing import Annotated

import typer
from rich.markup import escape

from osbox import doctor as checks
from osbox import log
from osbox.commands.context import Context, Json, print_json
from osbox.doctor import Finding
from osbox.engine import engine

MARKS = {"ok": "[green]✔[/]", "warning": "[yellow]⚠[/]", "error": "[red]✗[/]"}


def doctor(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Leave out what is well.")] = False,
    json: Json = False,
) -> None:
    """Look for what keeps a cloud from coming up or from working: machine, network, services.

    Changes nothing.
    """
    here: Context = context.obj
    engine.require_root()
    with nullcontext() if json else log.step("Look at machine, network and services"):
        facts = checks.look(here.paths, here.site, here.base, here.running_engine)
        found = checks.examine(facts, checks.CHECKS)
    count = {level: sum(one.level == level for one in found) for level in MARKS}
    if json:
        print_json(found)
    else:
        for one in found:
            if not (quiet and one.level == "ok"):
                _say(one)
        log.out.print(f"{count['ok']} well, {count['warning']} warnings, {count['error']} errors")
    if count["error"]:
        raise typer.Exit(1)


def _say(finding: Finding) -> None:
    log.out.print(f"{MARKS[finding.level]} {escape(finding.what)}")
    for line in finding.evidence.splitlines():
        log.out.print(f"  [dim]│ {escape(line)}[/]")
    if finding.next:
        log.out.print(f"  [bold]Next:[/] {escape(finding.next)}")
