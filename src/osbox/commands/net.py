"""osbox net connect, show, disconnect."""

from contextlib import nullcontext
from typing import Annotated

import typer

from osbox import log
from osbox.commands.context import Context, Json, print_json
from osbox.errors import UserError
from osbox.network import connect as network
from osbox.network import picture

app = typer.Typer(no_args_is_help=True, help="The provisioning network that bare metal boots from.")


@app.command()
def connect(
    context: typer.Context,
    interface: Annotated[
        str | None, typer.Option(metavar="NAME", help="Put this physical interface into the bridge.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Take the interface even if it has addresses or the default route."),
    ] = False,
) -> None:
    """Join the bridge, the neutron namespace and, if you name one, a physical interface."""
    here: Context = context.obj
    if interface == "":  # a variable of a script that is not set: nothing was connected, and nothing said
        raise UserError(
            "--interface names no interface", hint="ip -brief link; osbox net connect --interface NAME"
        )
    at = here.engine()
    with here.alone("net connect"):
        network.connect(here.paths, here.site, at, interface or "", force=force)


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Draw the network as it is now. Changes nothing."""
    here: Context = context.obj
    state = network.show(here.paths, here.site, here.running_engine())
    if json:
        print_json(state.model_dump(mode="json"))
    else:
        log.out.print(picture.draw(state), markup=False)


@app.command()
def disconnect(context: typer.Context) -> None:
    """Undo `connect`: the physical interface gets back what it had."""
    here: Context = context.obj
    with here.alone("net disconnect") if here.paths.home.is_dir() else nullcontext():
        network.disconnect(here.paths, here.site, here.running_engine())
