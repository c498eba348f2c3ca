"""osbox probe."""

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from osbox import log
from osbox.bootpath import walk as bootpath
from osbox.bootpath.cause import Scene, Subject
from osbox.bootpath.walk import Hop
from osbox.cloud import checks, sessions
from osbox.commands.context import Context, Json, print_json
from osbox.engine import engine
from osbox.errors import UserError
from osbox.metal.firmware import BootMode

if TYPE_CHECKING:
    from openstack.connection import Connection

MARKS = {"ok": "[green]✔[/]", "broken": "[red]✗[/]", "skipped": "[dim]-[/]", "not tried": "[dim]·[/]"}
MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


def probe(
    context: typer.Context,
    mac: Annotated[
        str,
        typer.Option(
            metavar="MAC",
            help="The MAC address of a node's card; without it, that of a node that Ironic waits for.",
        ),
    ] = "",
    firmware: Annotated[
        BootMode | None, typer.Option(help="The firmware to play; without it, the node's own.")
    ] = None,
    json: Json = False,
) -> None:
    """Walk the boot path as a node would, and name the first broken hop. Disturbs no node."""
    here: Context = context.obj
    engine.require_root()
    wanted = mac.lower().replace("-", ":")
    if wanted and not MAC.fullmatch(wanted):
        raise UserError(
            f"{mac} is no MAC address",
            hint="osbox probe --mac 52:54:00:12:34:56; osbox rack list shows those of virtual nodes",
        )
    with ExitStack() as stack:
        project, subject = _subject(here, wanted, firmware, stack)
        if not json:
            log.out.print(_of_whom(subject), markup=False)
        servers = sessions.dhcp_servers(project) if project else frozenset()
        scene = Scene(here.paths, here.site, here.running_engine(), subject, project, servers)
        hops = bootpath.walk(scene, lambda hop: None if json else _say(hop))
    if json:
        print_json(bootpath.as_data(subject, hops))
    broken = next((hop for hop in hops if hop.state == "broken"), None)
    if broken and not json:
        log.out.print(
            f"\n[bold red]Broken:[/] {broken.name}: {escape(broken.cause)}\n[bold]Next:[/]"
            f" {escape(broken.next)}"
        )
    if broken:
        raise typer.Exit(1)


def _subject(
    here: Context, mac: str, firmware: BootMode | None, stack: ExitStack
) -> "tuple[Connection | None, Subject]":
    """Whose way to walk, and a connection to the cloud unless it does not answer."""
    known = (here.paths.secrets / "admin-password").exists()
    try:
        reason = checks.probe_identity(here.paths, here.site) if known else "there is no cloud yet"
    except sessions.RefusedError as error:
        if not mac:
            raise
        reason = error.message
    if reason and not mac:
        raise UserError(
            "Keystone does not answer, so no node can be chosen",
            evidence=reason,
            hint="osbox up, or osbox probe --mac MAC",
        )
    if reason:
        log.warn(f"Keystone does not answer ({reason}): nothing is known of this MAC address")
        return None, Subject(mac, firmware or BootMode.BIOS)
    project, system = (
        sessions.connect(here.paths, here.site),
        sessions.connect(here.paths, here.site, system=True),
    )
    subject = bootpath.choose(system, mac, firmware)
    return project, subject or stack.enter_context(
        bootpath.rehearsal(project, here.site, firmware or BootMode.BIOS)
    )


def _of_whom(subject: Subject) -> str:
    if subject.rehearsal:
        return (
            f"Ironic waits for no node now. A rehearsal with an address of the probe's own, {subject.mac}, as"
            f" {subject.firmware.upper()}"
        )
    if not subject.node:
        return f"As {subject.mac}, {subject.firmware.upper()}: Ironic told of no node with this MAC address"
    server = f", with the server {subject.instance}" if subject.instance else ""
    return (
        f"As {subject.node} ({subject.mac}, {subject.firmware.upper()}), which is `{subject.state}`{server}"
    )


def _say(hop: Hop) -> None:
    took = (
        f" [dim]{log.seconds(hop.seconds)}[/]" if hop.state in ("ok", "broken") else f" [dim]{hop.state}[/]"
    )
    log.out.print(f"{MARKS[hop.state]} {hop.name}{took}  {escape(hop.evidence)}")
