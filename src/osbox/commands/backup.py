"""osbox backup, restore: the whole cloud in one file, and again from it."""

import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pyrage
import typer

from osbox import files, log
from osbox.cloud import compose
from osbox.cloud.plan import release_of
from osbox.commands.context import OF_A_DEPLOYMENT, Context
from osbox.commands.converging import lead_back, prepare
from osbox.commands.stack import Version
from osbox.engine import engine as engines
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import archive, backup, keep, record
from osbox.generations.archive import Header

app = typer.Typer(no_args_is_help=True, help="The whole cloud in one file, sealed.")
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The file with the key.")]
File = Annotated[Path, typer.Argument(metavar="FILE")]


@app.callback()
def group() -> None: ...


@app.command()
def key(file: Annotated[Path, typer.Argument(metavar="FILE", help="Where; it must not be there.")]) -> None:
    """Make a key: what is sealed for its public half is opened by this file alone. Keep it elsewhere."""
    made = pyrage.x25519.Identity.generate()
    text = f"# public key: {made.to_public()}\n{made}\n"
    try:
        with files.new(file) as target:
            target.write(text.encode())
    except FileExistsError:
        raise UserError(
            f"{file} is there already", hint="another name: a key that is lost opens nothing"
        ) from None
    log.out.print(f"{made.to_public()}\n{file} opens what is sealed for it; keep it on another machine")


@app.command()
def create(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Where; - is standard output.")],
    *,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", metavar="KEY", help="Whom it is sealed for: age1…, or a file with a key; also several."
        ),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Do not seal it: all passwords are in it.")] = False,
) -> None:
    """Write the cloud into one file: databases, keys, objects, secrets. Requests wait for a second or two."""
    here: Context = context.obj
    engines.require_root()
    if bool(to) == plain:
        raise UserError(
            "say whom the backup is sealed for: all passwords are in it",
            hint="osbox backup key FILE makes a key, and --to takes it; --plain seals nothing",
        )
    recipients = [archive.recipient(text) for text in to or []]
    target = None if file == "-" else Path(file).absolute()
    if target is None and sys.stdout.isatty():
        raise UserError(
            "a terminal is no place for a backup", hint="osbox backup create - … | ssh HOST 'cat > FILE'"
        )
    if target and not target.parent.is_dir():
        raise UserError(f"there is no directory {target.parent}")
    begin = time.monotonic()
    with here.alone("backup create"):
        record.require_none_under_way(here.paths)
        octets = backup.create(here.paths, here.site, here.engine(), target, recipients)
    if target:
        size, took = target.stat().st_size / 1e6, log.seconds(time.monotonic() - begin)
        log.out.print(f"{target}: {size:.0f} MB of {octets / 1e6:.0f}, after {took}", markup=False)


@app.command()
def verify(
    context: typer.Context,
    file: File,
    *,
    sealed_for: Key = None,
    databases: Annotated[
        bool, typer.Option("--databases/--no-databases", help="Open them in a MariaDB of their own, too.")
    ] = True,
) -> None:
    """Read a backup to its end, compare all of it with its checksums, and open its databases."""
    here: Context = context.obj
    if databases:
        engines.require_root()
        with here.alone("backup verify"):
            told, other = backup.open_databases(here.paths, here.site, here.engine(), file, sealed_for)
        if other:
            raise Error(f"the databases of {file} are not what it says of itself", evidence="\n".join(other))
    else:
        told = backup.verify(file, sealed_for)
    opened = ", and its databases have what it says" if databases else ""
    log.out.print(
        f"{file} is whole: {told.members} files, {told.octets / 1e6:.0f} MB{opened}\n"
        + _described(told.header),
        markup=False,
    )


def restore(
    context: typer.Context,
    file: File,
    *,
    sealed_for: Key = None,
    version: Version = "latest",
    replaces: Annotated[
        bool,
        typer.Option("--replace", help="Onto a cloud that is there; what it has is a generation before."),
    ] = False,
) -> None:
    """Have the cloud that a backup has, on a machine without one: users, images, networks, nodes, servers.

    On such a machine all nodes are in maintenance then, for another conductor may command them.
    """
    here: Context = context.obj
    engines.require_root()
    begin = time.monotonic()
    found = backup.header(file, sealed_for)
    log.out.print(f"The backup is of {_described(found)}", markup=False)
    here.settle()
    with ExitStack() as held:
        for what in OF_A_DEPLOYMENT:
            held.enter_context(here.alone("restore", what, anew=True))
        here = _site_of(here, found)
        at = here.engine()
        backup.require_fits(found, here.site, release_of(at, version), datetime.now(UTC))
        _begin_again(here, at)
        record.require_none_under_way(here.paths)
        there = bool(compose.live(at, here.site)) and not record.restoring(here.paths)
        if there and not replaces:
            raise UserError(
                f"there is a cloud {here.site.name}",
                hint="osbox restore --replace keeps it as a generation before; or another one beside it:"
                " osbox --name NAME restore",
            )
        kept = keep.keep(here.paths, here.site, at, "before a restore", lasting=True) if there else None
        if not there:
            record.begin_restore(here.paths)
            prepare(here, here.site, at, version)
        with log.step("Unpack the backup"):
            unpacked = backup.unpack(here.paths, here.site, at, file, sealed_for)
        lead_back(here, at, unpacked, keeps=False, anew=not there)
        record.end_restore(here.paths)
    log.out.print(
        f"The cloud {here.site.name} is as the backup has it, after {log.seconds(time.monotonic() - begin)}"
    )
    if kept:
        log.out.print(f"  osbox rollback {kept.number} leads back to what was there")
    elif unpacked.nodes:
        log.out.print("  take its nodes out of maintenance when no other cloud commands them, and not before")


def _begin_again(here: Context, at: Engine) -> None:
    """Of a restore onto nothing that was interrupted no part is worth keeping: it may have been of another
    file."""
    way = record.going_back(here.paths)
    if way and record.restoring(here.paths):
        record.arrived(here.paths)
        if way.to in record.numbers(here.paths):
            keep.remove(here.paths, here.site, at, way.to)


def _site_of(here: Context, found: Header) -> Context:
    """Without a site.toml here the backup's counts; of another subnet it is told."""
    if not here.named and not here.paths.site_toml.is_file() and found.site_toml:
        files.write(here.paths.site_toml, found.site_toml)
        log.say(f"{here.paths.site_toml} is the backup's")
        here = here.again()
    if str(here.site.subnet) != found.subnet:
        log.warn(f"its nodes are in {found.subnet}, and the provisioning network here is {here.site.subnet}")
    return here


def _described(found: Header) -> str:
    one = found.generation
    counts = ", ".join(f"{len(names)} {kind}s" for kind, names in one.things.items() if names)
    return f"{found.name} at {found.time}, {one.release}: {one.objects} objects, {counts}"
