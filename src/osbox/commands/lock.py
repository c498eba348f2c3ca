"""osbox lock, schema."""

from typing import Annotated

import typer
from rich.table import Table

from osbox import log
from osbox.build import schemas
from osbox.commands.context import Context, Json, print_json
from osbox.commands.images import Release, Version
from osbox.errors import Error
from osbox.releases import resolve
from osbox.releases.folder import require
from osbox.releases.lock import Change
from osbox.releases.release import DEFAULT
from osbox.site import package


def refresh(
    context: typer.Context,
    *,
    release: Release = DEFAULT,
    check: Annotated[
        bool, typer.Option("--check", help="Only show what would change; exit code 1 if anything would.")
    ] = False,
    json: Json = False,
) -> None:
    """Resolve a release anew, within its series and upstream's constraints, and write its locks."""
    here: Context = context.obj
    if not check:
        _require_checkout(here, f"osbox lock --release {release}")
    with log.step(f"Resolve release {release}"):
        changes = resolve.refresh(here.base, release, write=not check)
    if json:
        print_json(changes)
    else:
        log.out.print(_table(changes) if changes else f"Release {release}: nothing changed")
    if check and changes:
        raise Error(
            f"{len(changes)} packages of release {release} would change",
            hint=f"osbox lock --release {release}",
        )


def schema(
    context: typer.Context,
    *,
    release: Release = DEFAULT,
    version: Version = "latest",
    check: Annotated[
        bool, typer.Option("--check", help="Only show what differs; exit code 1 if anything does.")
    ] = False,
    json: Json = False,
) -> None:
    """Make the database schemas that come with a release, by running its migrations in the images of that
    version."""
    here: Context = context.obj
    folder = require(here.base.releases, release) / "schema"
    if not check:
        _require_checkout(here, f"osbox schema --release {release}")
    engine = here.engine()
    with log.step(f"Migrate empty databases to release {release}"):
        found = schemas.make(here.base, engine, release, version)
    differing = schemas.differing(folder, found)
    if json:
        print_json(differing)
    elif not differing:
        log.out.print(f"Release {release}: the schemas are what its migrations make")
    if differing and check:
        what = f"the schemas of release {release} are not what its migrations make: {', '.join(differing)}"
        raise Error(what, hint=f"osbox schema --release {release}")
    for project in schemas.write(folder, found):
        log.out.print(f"releases/{release}/schema/{project}.sql written")


def _require_checkout(here: Context, command: str) -> None:
    package.require_checkout(here.base.project, command, f"{command} --check only looks")


def _table(changes: list[Change]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("PACKAGE", "OLD", "NEW", "LOCK"):
        table.add_column(title, no_wrap=True)
    for change in changes:
        same = change.old == change.new and "→" not in change.group
        table.add_row(
            change.package,
            change.old or "-",
            f"{change.new} (other files)" if same else change.new or "-",
            change.group,
        )
    return table
