"""osbox push."""

from typing import Annotated

import typer

from osbox.build import images
from osbox.commands.context import Context
from osbox.commands.images import Jobs, Names, Version
from osbox.supply import push as pushing


def push(
    context: typer.Context,
    place: Annotated[
        str,
        typer.Argument(
            metavar="REGISTRY[/PREFIX]", help="For example localhost:5000 or registry.example/cloud."
        ),
    ],
    names: Names = None,
    *,
    version: Version = "latest",
    jobs: Jobs = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace tags that are there with other content.")
    ] = False,
) -> None:
    """Push images to a registry, with the logins of `docker login`."""
    here: Context = context.obj
    pushing.checked(place)
    wanted = images.chosen(names or [], version)
    if wanted:
        pushing.push(here.base, here.engine(), place, wanted, version=version, replace=replace, jobs=jobs)
