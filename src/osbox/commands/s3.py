"""osbox s3: what clients of Swift's S3 API need."""

from dataclasses import asdict
from typing import Annotated

import typer

from osbox import log
from osbox.cloud import sessions, stack
from osbox.commands.context import Context, Json, print_json
from osbox.contents import s3

app = typer.Typer(help="Swift by its S3 API: what a client needs.", no_args_is_help=True)


@app.callback()
def group() -> None: ...


@app.command()
def credentials(
    context: typer.Context,
    project: Annotated[
        str, typer.Option(metavar="NAME", help="Whose buckets; default: the administrator's own, admin.")
    ] = "",
    json: Json = False,
) -> None:
    """Print access key, secret, endpoint and region, as variables that AWS's clients and SDKs read.

    They are made when there are none; `eval "$(osbox s3 credentials)"` sets them.
    """
    here: Context = context.obj
    stack.require_up(here.paths, here.site)
    found = s3.access(sessions.connect(here.paths, here.site), here.paths, here.site, project)
    if json:
        print_json(asdict(found))
        return
    for name, value in found.variables().items():
        print(f"export {name}={value}")
    names = f"{here.site.scheme}://BUCKET.{found.domain}"
    log.say(f"buckets as host names, where the cloud's names are resolved: {names}")
