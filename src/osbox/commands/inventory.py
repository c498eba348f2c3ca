"""osbox images: what is there, what is in it, where it comes from, and whether that is so."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from osbox import log
from osbox.build import provenance
from osbox.commands.context import Context, Json, print_json
from osbox.commands.images import Names, Version, _complete
from osbox.errors import UserError
from osbox.images import catalogue, inventory
from osbox.images.inventory import Listing
from osbox.supply import verify as verification
from osbox.supply import vulnerabilities

app = typer.Typer(help="List the images that are there; and what is in them.", no_args_is_help=False)
MEGABYTE = 10**6
SHOWN = 7  # of the further differences of an image
One = Annotated[
    str,
    typer.Argument(metavar="IMAGE", help="An image by name, with or without os-.", autocompletion=_complete),
]


@app.callback(invoke_without_command=True)
def listing(context: typer.Context, json: Json = False) -> None:
    """List the images that are there: version, sizes, age, user, release, packages, known vulnerabilities."""
    if context.invoked_subcommand:
        return
    here: Context = context.obj
    found, packages = inventory.listing(here.base, here.engine())
    database = vulnerabilities.find(here.base)
    known = {one: len(database.of(inside)) for one, inside in packages.items()} if database else {}
    if json:
        print_json(
            {
                "images": [{**vars(item), "vulnerabilities": known.get(item.id)} for item in found.images],
                "total": found.total,
                "rack": found.rack,
            }
        )
        return
    log.out.print(_table(found, known) if found.images else "No image is built yet; next: osbox build")
    if found.images:
        whole, rack = _size(found.total), _size(found.rack)
        log.out.print(
            f"{len(found.images)} images: {whole} on disk, each layer counted once; {rack} of it only the"
            " rack has"
        )


@app.command("vulnerabilities")
def vulnerable(context: typer.Context, name: One, *, version: Version = "latest", json: Json = False) -> None:
    """List the known vulnerabilities of an image's packages, from the OSV exports in
    $OSBOX_HOME/vulnerabilities."""
    here: Context = context.obj
    entry = inventory.entry(here.engine(), catalogue.find(name), version)
    database = vulnerabilities.find(here.base)
    if not database:
        raise UserError(
            f"no database of vulnerabilities is at hand: {here.base.vulnerabilities} has no zip file",
            hint=(
                "put OSV's exports there (all.zip of PyPI, all.zip of Debian, under any names) and run it"
                " again"
            ),
        )
    found = database.of(inventory.contained(here.base, here.engine(), [entry])[entry.id])
    if json:
        print_json(found)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("PACKAGE", "VERSION", "ID", "FIXED IN", "SEVERITY"):
        table.add_column(title, no_wrap=title != "SEVERITY")
    for item in found:
        table.add_row(item.package, item.version, item.id, item.fixed or "-", item.severity or "-")
    log.out.print(table if found else "No known vulnerability")


@app.command("provenance")
def origin(context: typer.Context, name: One, *, version: Version = "latest") -> None:
    """Print where an image comes from: a SLSA v1 provenance statement (JSON), written when it was built."""
    here: Context = context.obj
    image = catalogue.find(name)
    document = provenance.load(here.base, image.tag(version))
    if not document:
        raise UserError(
            f"no provenance of {image.tag(version)} was recorded: it was not built here",
            hint=f"osbox build --no-cache {name}",
        )
    print_json(document)


def _table(listing: Listing, known: dict[str, int]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    titles = ["IMAGE", "VERSION", "SIZE", "UNIQUE", "AGE", "USER", "RELEASE", "PACKAGES"] + (
        ["VULNERABLE"] if known else []
    )
    for title in titles:
        table.add_column(
            title,
            justify="right" if title in ("SIZE", "UNIQUE", "AGE", "PACKAGES", "VULNERABLE") else "left",
            no_wrap=True,
        )
    for item in listing.images:
        packages = f"{item.debian} + {item.python}" if item.python else str(item.debian)
        row = [
            item.name,
            item.version,
            _size(item.bytes),
            _size(item.unique),
            age(item.created),
            item.user,
            item.release,
            packages,
        ]
        table.add_row(*row, *([str(known[item.id])] if known else []))
    return table


def _size(size: int) -> str:
    return f"{size / MEGABYTE:.0f} MB" if size >= MEGABYTE else f"{size / 1000:.0f} kB"


def age(created: str, now: datetime | None = None) -> str:
    """How long ago, in the largest unit that fits (90 s, 5 min, 3 h, 12 d)."""
    seconds = int(
        ((now or datetime.now(UTC)) - datetime.fromisoformat(created[:19] + "+00:00")).total_seconds()
    )
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < most:
            return f"{max(seconds, 0) // length} {unit}"
    return f"{seconds // 86400} d"


@app.command()
def verify(
    context: typer.Context, names: Names = None, *, version: Version = "latest", json: Json = False
) -> None:
    """Hold images against what was built: layers, labels, every file of every package; list files of
    nobody."""
    here: Context = context.obj
    wanted = catalogue.select(names or [])
    reports = verification.verify(here.base, here.engine(), wanted, version=version)
    if json:
        print_json(reports)
    for report in () if json else reports:
        tag = f"{report.image}:{report.version}"
        if report.passed:
            log.out.print(
                f"✅  {tag} - Verified: {report.files} files, {report.debian} Debian and {report.python}"
                " Python packages",
                highlight=False,
            )
        else:
            first, *others = report.problems
            log.out.print(f"❌  {tag} - Differs: {escape(first)}", highlight=False)
            shown = others if log.is_verbose() else others[:SHOWN]
            for line in [
                *shown,
                *(
                    [f"… and {len(others) - len(shown)} more; -v shows all"]
                    if len(others) > len(shown)
                    else []
                ),
            ]:
                log.out.print(f"      [dim]{escape(line)}[/]", highlight=False)
    verification.raise_for(reports)


@app.command()
def digest(
    context: typer.Context, names: Names = None, *, version: Version = "latest", json: Json = False
) -> None:
    """Print a digest of the file system of images, times left out: two builds of one commit have the same."""
    here: Context = context.obj
    found = verification.digests(here.engine(), catalogue.select(names or []), version=version)
    if json:
        print_json(found)
    for tag, one in () if json else found.items():
        log.out.print(f"{one}  {tag}", highlight=False, soft_wrap=True)


@app.command()
def sbom(
    context: typer.Context,
    name: One,
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write it there instead of printing it."),
    ] = None,
    version: Version = "latest",
) -> None:
    """Print the bill of materials of an image: every package with version, licence and hashes, as CycloneDX
    1.6 (JSON)."""
    here: Context = context.obj
    from osbox.supply import sbom as bill  # noqa: PLC0415 - its libraries take a quarter of a second to load

    text = bill.make(here.base, here.engine(), catalogue.find(name), version)
    if output:
        output.write_text(text)
        return
    typer.echo(text, nl=False)
