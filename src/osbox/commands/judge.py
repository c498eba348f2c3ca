"""osbox judge: upstream's own test suites against the cloud that is up."""

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from osbox import log
from osbox.cloud import plan, stack
from osbox.commands.context import Context, Json, print_json
from osbox.errors import UserError
from osbox.judges import run, suite
from osbox.judges.run import Judge
from osbox.judges.verdict import Verdict

MOST = 40  # lines of what is not as expected; all of it is in the log


def judge(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="tempest|swift|sdk", help="The suite.")],
    tests: Annotated[
        str,
        typer.Option(
            metavar="REGEX", help="Only tests with this in their dotted names, as upstream lists them."
        ),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Processes that share the tests; default: the suite's own."),
    ] = 0,
    json: Json = False,
) -> None:
    """Run one of upstream's own test suites against the cloud, and tell what is not as expected.

    What it needs is installed apart from osbox; users, projects and networks are made for it and removed
    again. Exit code 1 when a test fails that should not, or one passes that is expected to fail.
    """
    here: Context = context.obj
    if name not in suite.NAMES:
        raise UserError(f"there is no suite {name}", hint=f"it is {', '.join(suite.NAMES)}")
    stack.require_up(here.paths, here.site)
    with here.alone(f"judge {name}", "judge"):
        engine = here.engine()
        one = Judge(here.paths, here.site, engine, name, plan.release(engine, here.site))
        found = run.judge(one, tests, workers=workers)
    if json:
        print_json({**asdict(found), "skips": [[*key, count] for key, count in found.skips.items()]})
    else:
        _show(one, found)
    raise typer.Exit(1 if found.wrong else 0)


def _show(one: Judge, found: Verdict) -> None:
    counts = found.counts
    log.out.print(
        f"{one.name} {one.release}: {counts['passed']} passed, {counts['failed']} failed,"
        f" {counts['skipped']} skipped, {log.seconds(found.seconds)} of tests"
    )
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column, side in (("Tests", "right"), ("", "left"), ("Why", "left")):
        table.add_column(column, justify=side, overflow="fold")  # type: ignore[arg-type]
    for why, count in sorted(found.failures.items(), key=lambda item: -item[1]):
        table.add_row(str(count), "failed", escape(why))
    for (known, said), count in sorted(_skips(found).items(), key=lambda item: -item[1]):
        table.add_row(str(count), "skipped", escape(said) if known else f"[red]{escape(said)}[/]")
    if table.row_count:
        log.out.print(table)
    for line in found.wrong[:MOST]:
        log.out.print(f"[red]✗[/] {escape(line)}")
    if len(found.wrong) > MOST:
        log.out.print(f"  and {len(found.wrong) - MOST} more")
    log.say(f"log and results: {one.place}")


def _skips(found: Verdict) -> Counter[tuple[bool, str]]:
    """How many were skipped for each known reason, or for what the suite says where it is not known."""
    counts = Counter[tuple[bool, str]]()
    for (reason, why), count in found.skips.items():
        counts[bool(why), why or reason] += count
    return counts
