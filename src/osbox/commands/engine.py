"""osbox engine …"""

from typing import Annotated

import typer

from osbox import log, run
from osbox.commands.context import Context, Json, print_json
from osbox.engine import engine
from osbox.errors import UserError

app = typer.Typer(no_args_is_help=True, help="The container engine: the machine's Docker, or a private one.")


@app.command()
def start(context: typer.Context) -> None:
    """Start the engine; the first time, make the private one."""
    here: Context = context.obj
    found = here.engine()
    log.out.print(f"The {found.kind} engine runs: Docker {found.version}")


@app.command()
def stop(context: typer.Context) -> None:
    """Stop the private engine and every container in it. Its images and volumes stay."""
    here: Context = context.obj
    engine.require_root()
    with here.alone_with_the_engine("engine stop"):
        stopped = engine.stop(here.base)
    log.out.print(
        "The private engine is stopped" if stopped else "The private engine does not run; nothing to stop"
    )


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Say which engine runs. Changes nothing."""
    here: Context = context.obj
    found = here.running_engine()
    if json:
        facts = {"kind": found.kind, "version": found.version, "pid": found.pid or None} if found else {}
        print_json({"running": bool(found), **facts, "home": here.base.home})
    elif found:
        pid = f", pid {found.pid}" if found.pid else ""
        log.out.print(f"The {found.kind} engine runs: Docker {found.version}{pid}")
    else:
        log.out.print("No engine runs; every command that needs it starts it, or: osbox engine start")


@app.command(context_settings={"ignore_unknown_options": True})
def shell(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND…", help="Run this instead of a shell.")
    ] = None,
) -> None:
    """A shell where the engine's docker is, or one command: osbox engine shell -- docker ps"""
    here: Context = context.obj
    found = here.running_engine()
    if not found:
        raise UserError("no engine runs", hint="osbox engine start")
    raise typer.Exit(run.attach(found.argv(*(command or ["sh"]))))
