"""osbox build, test, clean, images."""

from typing import Annotated

import typer

from osbox.build import images
from osbox.commands.context import Context, Json, print_json
from osbox.images import catalogue
from osbox.imagetests import check as imagetests
from osbox.releases.release import DEFAULT


def _complete(text: str) -> list[str]:
    return [name for name in catalogue.BY_NAME if name.startswith(text)]


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE…",
        help="Images by name, with or without os-; all if none is given.",
        autocompletion=_complete,
    ),
]
Version = Annotated[
    str,
    typer.Option(
        "--version", envvar="BUILD_VERSION", help="The images' tag.", callback=catalogue.check_version
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("-j", "--jobs", min=1, help="How many at the same time; default: one for each processor."),
]
Release = Annotated[str, typer.Option("--release", help="The OpenStack release, a folder of releases/.")]


def build(
    context: typer.Context,
    names: Names = None,
    *,
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j", "--jobs", min=1, help="How many at the same time; default: two for each processor."
        ),
    ] = None,
    version: Version = "latest",
    release: Release = DEFAULT,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Build every step anew.")] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace images of this version that were made of something else; `latest` always is.",
        ),
    ] = False,
) -> None:
    """Build images and what they stand on; unchanged ones are done at once."""
    here: Context = context.obj
    wanted = images.chosen(names or [], version)
    if wanted:
        images.build(
            here.base,
            here.engine(),
            wanted,
            version=version,
            release=release,
            jobs=jobs,
            no_cache=no_cache,
            replace=replace,
        )


def check(
    context: typer.Context,
    names: Names = None,
    *,
    jobs: Jobs = None,
    version: Version = "latest",
    json: Json = False,
) -> None:
    """Test images: what is declared, their files, their programs; that they start, fail and end as they
    should."""
    here: Context = context.obj
    wanted = images.chosen(names or [], version)
    if wanted:
        results = imagetests.check(here.base, here.engine(), wanted, version=version, jobs=jobs, quiet=json)
        if json:
            print_json(results)
        imagetests.raise_for(results)


def clean(
    context: typer.Context,
    names: Names = None,
    *,
    version: Version = "latest",
    jobs: Annotated[int | None, typer.Option("-j", "--jobs", hidden=True)] = None,  # noqa: ARG001 - `make clean -j5` is 2015's
    everything: Annotated[
        bool, typer.Option("--all", help="The build cache and the Debian base image too.")
    ] = False,
) -> None:
    """Remove images. The build cache stays, so that the next build is quick."""
    here: Context = context.obj
    wanted = images.chosen(names or [], version)
    if wanted:
        images.clean(here.base, here.engine(), wanted, version=version, everything=everything)
