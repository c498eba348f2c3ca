"""osbox bundle create, load."""

from pathlib import Path
from typing import Annotated

import typer

from osbox import log
from osbox.build import debian, images
from osbox.commands import contents
from osbox.commands.context import Context
from osbox.commands.images import Release, Version
from osbox.images import catalogue
from osbox.releases.release import DEFAULT
from osbox.site import package
from osbox.supply import bundle, unbundle
from osbox.supply import manifest as manifests

app = typer.Typer(no_args_is_help=True, help="All that a machine without a network needs, in one file.")

File = Annotated[Path, typer.Argument(metavar="FILE")]


@app.command()
def create(
    context: typer.Context, file: File, *, version: Version = "latest", release: Release = DEFAULT
) -> None:
    """Write images, ramdisk, guest image, the engine, the tool with its libraries into one file; what is not
    built yet is built."""
    here: Context = context.obj
    target = file.absolute()
    bundle.require_place(target)  # before an engine is started and images are built for it
    at = here.engine()
    wanted = catalogue.with_bases(catalogue.IMAGES)
    images.build(here.base, at, catalogue.IMAGES, version=version, release=release)
    artifacts = contents.artifact_directories(here, at, release)
    tags = [debian.TAG, *(image.tag(version) for image in wanted)]
    bundle.create(here.base, at, target, tags=tags, artifacts=artifacts, version=version, release=release)
    log.out.print(f"{target}: {target.stat().st_size / 1e6:.0f} MB\nSHA-256 {manifests.sha256(target)}")
    log.out.print(
        f"\nOn the other machine, as root:\n  tar -xf {file.name} osbox-bundle/load\n  osbox-bundle/load"
        f" {file.name}"
    )


@app.command()
def load(
    context: typer.Context,
    file: File,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace images that are here with other content.")
    ] = False,
) -> None:
    """Check a bundle and load what is lacking here. No network is used. Running it again changes nothing."""
    here: Context = context.obj
    loaded = unbundle.load(here.base, here.base_site, file.absolute(), replace=replace)
    if not loaded:
        log.out.print(f"Nothing to load: all that {file} has is here")
        return
    log.out.print(f"Loaded: {', '.join(loaded)}", markup=False)
    carried = package.read(here.base.project)
    where = "osbox demo" if carried else ".venv/bin/osbox demo        in the directory of the checkout"
    log.out.print(f"Next: {where}")
