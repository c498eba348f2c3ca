"""osbox secrets: rotate the keys that Keystone signs and encrypts with."""

from typing import Annotated

import typer

from osbox import log
from osbox.cloud import rotation, stack
from osbox.commands.context import Context
from osbox.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Keys of the cloud.")


@app.callback()
def group() -> None: ...


@app.command()
def rotate(
    context: typer.Context,
    kind: Annotated[
        str, typer.Argument(metavar="fernet|credential", help="Keys of tokens, or of users' secrets.")
    ],
) -> None:
    """Have tokens signed, or users' secrets (EC2, TOTP) encrypted, with a new key.

    Nothing that is valid is refused for it.
    """
    here: Context = context.obj
    wanted = next((one for one in rotation.KINDS if one == kind), None)
    if wanted is None:
        raise UserError(f"there are no keys {kind}", hint="osbox secrets rotate fernet, or credential")
    stack.require_up(here.paths, here.site)
    with here.alone("secrets rotate"):
        rotation.rotate(here.site, here.engine(), wanted)
    log.out.print(f"The {kind} keys are rotated")
