"""osbox setup, ramdisk, guest: the cloud's first contents and the files that nodes boot."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from osbox import log
from osbox.build import artifacts
from osbox.cloud import sessions, stack
from osbox.commands.context import Context
from osbox.contents import images, own, setup
from osbox.engine.engine import Engine
from osbox.metal import records
from osbox.releases.release import DEFAULT
from osbox.tls import store

if TYPE_CHECKING:
    from openstack.connection import Connection

Kernel = Annotated[
    Literal["cloud", "generic"],
    typer.Option(metavar="cloud|generic", help="generic has the drivers of real hardware."),
]
Firmware = Annotated[
    bool, typer.Option("--firmware", help="Add non-free firmware, for real network cards and controllers.")
]


def prepare(
    context: typer.Context,
    image: Annotated[
        list[str] | None, typer.Option(metavar="FILE|URL", help="Add this image, too; may be repeated.")
    ] = None,
    checksum: Annotated[
        list[str] | None, typer.Option(metavar="SHA", help="SHA-256 or SHA-512 of each --image, in order.")
    ] = None,
    kernel: Kernel = "cloud",
    firmware: Firmware = False,
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Take each --image for a disk as it is, whatever it looks like.")
    ] = False,
    disk: Annotated[
        bool, typer.Option("--guest/--no-guest", help="The Debian image for servers, too.")
    ] = True,
) -> None:
    """Give the cloud its first contents: network, images, key pair, flavor.

    Running it again changes nothing.
    """
    here: Context = context.obj
    stack.require_up(here.paths, here.site)
    uploads = own.images(image or [], checksum or [], here.base, raw=raw)
    engine = here.engine()
    with here.alone("setup", "contents"):
        connection = sessions.connect(here.paths, here.site)
        changed = setup.first(connection, here.paths, here.site)
        deploy = _ramdisk(here, engine, kernel, firmware, _release(here, engine))
        changed += _deploy_images(here, connection, deploy)
        # Last, for it is needed last: not before a server is asked for.
        if disk:
            whole = _guest(here, engine, "cloud")
            uploads = [images.guest_image(whole.path, whole.min_disk_gib), *uploads]
        changed += images.ensure(connection, uploads, partial(_named, here))
    log.out.print("Set up: " + ", ".join(changed) if changed else "Nothing to change")


def _deploy_images(here: Context, cloud: "Connection", deploy: artifacts.Ramdisk) -> list[str]:
    """Have them, with the authority of our APIs in them; nodes that boot those of before are told: they could
    not verify what they are told by a new one."""
    authority = store.trusted(here.paths).encode() if here.site.tls else b""
    wishes = images.deploy_images(deploy.kernel, deploy.initramfs, here.paths.tmp, authority)
    named = partial(_named, here, to_boot=True)
    changed = images.ensure(cloud, wishes, named)
    old = images.outdated(cloud)
    if not old:
        return changed
    with here.alone("setup", "nodes"):
        told, kept = records.boot_others(sessions.connect(here.paths, here.site, system=True), old)
    if kept:
        log.warn(f"busy, and boot the ramdisk of before: {', '.join(kept)}; osbox setup again tells them")
    if not told:
        return changed
    return [*changed, f"ramdisk of {', '.join(told)}", *images.ensure(cloud, wishes, named)]


@contextmanager
def _named(here: Context, *, to_boot: bool = False) -> Iterator[dict[str, list[str]]]:
    """Which nodes name an image; to_boot: none is enrolled meanwhile.

    An enrolment looks which image nodes are to boot, and tells them after a while; of what servers are made,
    Nova tells them, and holds no lock of ours.
    """
    with here.alone("setup", "nodes") if to_boot else nullcontext():
        yield records.images_named(sessions.connect(here.paths, here.site, system=True))


def ramdisk(
    context: typer.Context,
    kernel: Kernel = "cloud",
    firmware: Firmware = False,
    release: Annotated[
        str,
        typer.Option(help="The OpenStack release; default: that of the cloud or the images that are here."),
    ] = "",
) -> None:
    """Build the deploy ramdisk (Ironic Python Agent) and say where it is."""
    here: Context = context.obj
    engine = here.engine()
    built = _ramdisk(here, engine, kernel, firmware, release or _release(here, engine))
    log.out.print(f"{built.kernel}\n{built.initramfs}")


def guest(context: typer.Context, kernel: Kernel = "cloud") -> None:
    """Build the Debian guest image and say where it is."""
    here: Context = context.obj
    log.out.print(str(_guest(here, here.engine(), kernel).path))


def artifact_directories(here: Context, engine: Engine, release: str) -> list[Path]:
    """The directories of the deploy ramdisk and the guest image that `osbox setup` uploads; they are built
    unless they are there."""
    return [
        _ramdisk(here, engine, "cloud", False, release).kernel.parent,
        _guest(here, engine, "cloud").path.parent,
    ]


def _release(here: Context, engine: Engine) -> str:
    """The agent belongs to the Ironic that it reports to."""
    return stack.release(engine, here.site) or DEFAULT


def _ramdisk(here: Context, engine: Engine, kernel: str, firmware: bool, release: str) -> artifacts.Ramdisk:
    return artifacts.ramdisk(
        engine, here.base, here.base_site, on_line=_quiet, release=release, kernel=kernel, firmware=firmware
    )


def _guest(here: Context, engine: Engine, kernel: str) -> artifacts.Guest:
    return artifacts.guest(engine, here.base, here.base_site, on_line=_quiet, kernel=kernel)


def _quiet(line: str) -> None:
    if log.is_verbose():
        log.say(line)
