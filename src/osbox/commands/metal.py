"""osbox rack …, osbox node …: virtual racks and bare-metal nodes."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from osbox import files, log, run
from osbox.cloud import sessions, stack
from osbox.commands.context import Context, Json, print_json, show
from osbox.contents import images, servers
from osbox.errors import UserError
from osbox.metal import authorities, nodesfile, rack, records, sightings
from osbox.metal import enroll as nodes
from osbox.metal import forget as forgetting
from osbox.metal import repair as repairing
from osbox.metal.difference import Settings
from osbox.metal.firmware import BootMode
from osbox.site import secrets

rack_app = typer.Typer(
    no_args_is_help=True, help="Virtual bare-metal nodes behind real Redfish, for try-outs and CI."
)
node_app = typer.Typer(no_args_is_help=True, help="Bare-metal nodes, real and virtual.")


@rack_app.command("add")
def rack_add(  # noqa: PLR0917 - the options of a node
    context: typer.Context,
    nodes: Annotated[int, typer.Option(help="How many nodes the rack shall have.", min=1, max=32)] = 2,
    cpus: Annotated[int, typer.Option(help="Virtual CPUs of each.", min=1)] = 1,
    ram: Annotated[int, typer.Option(help="MiB of each.", min=768)] = 1536,
    disk: Annotated[int, typer.Option(help="GiB of each.", min=2)] = 8,
    firmware: Annotated[BootMode, typer.Option(help="Firmware of each.")] = BootMode.BIOS,
) -> None:
    """Have that many virtual nodes; those that are there stay as they are.

    Writes nodes.yaml to enrol them.
    """
    here: Context = context.obj
    stack.require_up(here.paths, here.site)
    at = here.engine()
    wanted = [
        rack.spec(here.site, number, cpus=cpus, ram=ram, disk=disk, firmware=firmware)
        for number in range(1, nodes + 1)
    ]
    with here.alone("rack add"):
        stack.start_rack(here.paths, here.site, at)
        made = rack.define(at, here.site, wanted)
        file = here.paths.rack_yaml
        files.write(file, rack.enrolment(rack.nodes(at, here.site), here.paths, here.site))
    log.out.print(
        f"Virtual nodes made: {', '.join(made) or 'none, all were there'}\nTo enrol them: osbox node enroll"
        f" {file}"
    )


@rack_app.command("list")
def rack_list(context: typer.Context, json: Json = False) -> None:
    """Show the virtual nodes."""
    here: Context = context.obj
    found = rack.nodes(here.engine(), here.site)
    if json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("Name", "State", "CPUs", "MiB", "GiB", "Firmware", "MAC"):
        table.add_column(column)
    for node in found:
        table.add_row(
            node.name,
            node.state,
            str(node.cpus),
            str(node.ram),
            str(node.disk),
            str(node.firmware),
            " ".join(node.macs),
        )
    log.out.print(table)


@rack_app.command("remove")
def rack_remove(context: typer.Context, names: Annotated[list[str], typer.Argument(metavar="NAME…")]) -> None:
    """Remove virtual nodes with their disks."""
    here: Context = context.obj
    with here.alone("rack remove"):
        gone = rack.remove(here.engine(), here.site, names)
    log.out.print("Removed: " + (", ".join(gone) or "none of these was there"))


@node_app.command()
def enroll(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="nodes.yaml", help="The nodes (docs/nodes.md).")],
    inspect: Annotated[
        bool, typer.Option("--inspect/--no-inspect", help="Boot each node once to see what it has.")
    ] = True,
    deadline: Annotated[
        int, typer.Option(metavar="SECONDS", help="Give a step up that takes longer.", min=1)
    ] = records.STEP_SECONDS,
) -> None:
    """Make nodes known to Ironic, verify and inspect them, and make them available.

    Running it again goes on.
    """
    here: Context = context.obj
    inventory = nodesfile.load(file)
    stack.require_up(here.paths, here.site)
    options = nodes.Options(
        log.state,
        partial(sightings.last_seen, here.engine(), here.site),
        inspect=inspect,
        deadline=deadline,
        is_off=partial(_is_off, here),
        placeable=partial(_placeable, here),
    )
    with here.alone("node enroll", "nodes"):
        secrets.ensure(here.paths)  # of a deployment that is older than the fingerprints' key
        inventory = authorities.keep(here.paths, inventory)
        system, settings = _ironic(here)
        changed = nodes.enroll(system, inventory, settings=settings, options=options)
    log.out.print(f"{len(inventory.nodes)} nodes are enrolled" if changed else "Nothing to change")


@node_app.command("plan")
def node_plan(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="nodes.yaml", help="The nodes (docs/nodes.md).")],
    json: Json = False,
) -> None:
    """Show what `osbox node enroll` would send to Ironic; exit code 2 when there is something."""
    here: Context = context.obj
    inventory = nodesfile.load(file)
    stack.require_up(here.paths, here.site)
    system, settings = _ironic(here)
    changes = nodes.plan(system, authorities.seen(inventory), settings)
    if json:
        # Never the patches themselves: they have passwords in them.
        print_json(
            [
                {"name": name, "changes": one.told, "held": one.held, "refused": one.refused}
                for name, one in changes.items()
            ]
        )
    else:
        for name, one in changes.items():
            for text in (*one.told, *(f"held back in its state: {held}" for held in one.held)):
                log.out.print(f"{name}: {text}", markup=False)
            if one.refused:
                log.out.print(f"{name}: refused, {one.refused}", markup=False)
    if any(not one.is_empty or one.held or one.refused for one in changes.values()):
        raise typer.Exit(2)
    if not json:
        log.out.print("Nothing to change")


def _ironic(here: Context) -> tuple[Any, Settings]:
    """Ironic as the whole system sees it, and what all nodes have in common."""
    project = sessions.connect(here.paths, here.site)
    deploy = images.boot_images(project)
    lacks = "node-fingerprints" in secrets.missing(here.paths)
    made_with = b"" if lacks else secrets.read(here.paths, "node-fingerprints").encode()
    system = sessions.connect(here.paths, here.site, system=True)
    return system, Settings(str(project.current_project_id), deploy, made_with)


def _placeable(here: Context, resource_class: str) -> set[str]:
    return servers.placeable(sessions.session(here.paths, here.site), here.site, resource_class)


def _is_off(here: Context, node: Any) -> bool:
    """Whether a node is a virtual one that is off; of real hardware only its BMC knows."""
    virtual = rack.behind(here.engine(), here.site, node.driver_info)
    return virtual is not None and virtual.state in rack.OFF


def switch_off(here: Context, node: Any) -> None:
    """Take a virtual node's power; real hardware is left as it is."""
    rack.switch_off(here.engine(), here.site, node.driver_info)


@node_app.command("list")
def node_list(context: typer.Context, json: Json = False) -> None:
    """Show the nodes as Ironic sees them."""
    here: Context = context.obj
    stack.require_up(here.paths, here.site)
    rows = records.listing(sessions.connect(here.paths, here.site, system=True))
    if json:
        print_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    columns = (
        "name",
        "provision_state",
        "power_state",
        "maintenance",
        "instance_uuid",
        "resource_class",
        "driver",
    )
    for column in columns:
        table.add_column(column.replace("_", " ").capitalize())
    for row in rows:
        table.add_row(*(str(row[column]) if row[column] is not None else "-" for column in columns))
    log.out.print(table)


@node_app.command("show")
def node_show(context: typer.Context, name: str, json: Json = False) -> None:
    """Show all that Ironic knows of a node."""
    here: Context = context.obj
    stack.require_up(here.paths, here.site)
    facts = records.show(sessions.connect(here.paths, here.site, system=True), name)
    if json:
        print_json(facts)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in sorted(facts.items()):
        table.add_row(f"[bold]{key}[/]", str(value))
    log.out.print(table)


@node_app.command()
def forget(context: typer.Context, names: Annotated[list[str], typer.Argument(metavar="NAME…")]) -> None:
    """Delete nodes that hold no server from Ironic; the hardware is left as it is."""
    here: Context = context.obj
    stack.require_up(here.paths, here.site)
    system = sessions.connect(here.paths, here.site, system=True)
    with here.alone("node forget", "nodes"):
        gone = forgetting.forget(system, names, switch_off=partial(switch_off, here))
    log.out.print("Forgotten: " + (", ".join(gone) or "none of these was there"))


@node_app.command()
def repair(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…")],
    undeploy: Annotated[
        bool,
        typer.Option(
            "--undeploy", help="Also one in `active` whose server Nova has not: its disk is erased."
        ),
    ] = False,
    deadline: Annotated[
        int, typer.Option(metavar="SECONDS", help="Give a state up that lasts longer.", min=1)
    ] = records.STEP_SECONDS,
) -> None:
    """Bring nodes back to available that a fault left elsewhere.

    That is: a deployment or a cleaning that failed, a server that Nova no longer has, a maintenance that
    Ironic began. Running it again goes on.
    """
    here: Context = context.obj
    stack.require_up(here.paths, here.site)
    project = sessions.connect(here.paths, here.site)
    system = sessions.connect(here.paths, here.site, system=True)
    with here.alone("node repair", "nodes"):
        done = repairing.repair(project, system, names, undeploy=undeploy, deadline=deadline)
    log.out.print("\n".join(done) if done else "Nothing to repair", markup=False)


@node_app.command()
def console(
    context: typer.Context,
    name: str,
    log_only: Annotated[
        bool, typer.Option("--log", help="Print what was written so far instead of attaching.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="With --log: go on as it is written.")
    ] = False,
) -> None:
    """Attach to a virtual node's serial console; Ctrl-] leaves it."""
    here: Context = context.obj
    at = here.engine()
    if name not in {node.name for node in rack.nodes(at, here.site)}:
        raise UserError(
            f"{name} is not a node of the rack: the console of real hardware is its BMC's",
            hint="osbox rack list",
        )
    if log_only or follow:
        raise typer.Exit(show(rack.console_log_argv(at, here.site, name, follow=follow)))
    raise typer.Exit(run.attach(rack.console_argv(at, here.site, name)))
