"""osbox demo: the public commands in a row, from an empty machine to a login prompt, and a picture of the
end."""

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from osbox import log, run
from osbox.build import debian
from osbox.build import images as images_built
from osbox.cloud import credentials, sessions, stack
from osbox.commands import contents, images, metal, net
from osbox.commands import stack as cloud_commands
from osbox.commands.context import Context
from osbox.commands.meanwhile import Job, Meanwhile
from osbox.contents import names, servers
from osbox.contents.images import GUEST
from osbox.engine import docker, engine
from osbox.metal import forget as forgetting
from osbox.metal import rack, records
from osbox.metal.firmware import BootMode
from osbox.releases.release import DEFAULT

SERVER = "bm-node-1"
USER = "debian"
WIDTH = 150  # columns of the picture: the widest table
SCREEN_LINES = 4


class Steps:
    """Runs the demo's steps, each announced by the command that does the same, and remembers how long each
    took."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float]] = []

    def __call__(self, title: str, command: str, action: Callable[[], Any]) -> Any:
        log.err.print(f"\n[bold cyan]{title}[/]  [dim]$ {command}[/]")
        begin = time.monotonic()
        try:
            return action()
        finally:
            self.times.append((title, time.monotonic() - begin))


def demo(
    context: typer.Context,
    clean: Annotated[
        bool, typer.Option("--clean", help="Undo the demo's contents: server, nodes, virtual nodes.")
    ] = False,
    firmware: Annotated[BootMode, typer.Option(help="Firmware of the virtual node.")] = BootMode.BIOS,
    release: images.Release = DEFAULT,
    version: Annotated[
        str, typer.Option("--version", help="The images' tag; default: latest, or the release's name.")
    ] = "",
) -> None:
    """From an empty machine to the login prompt of a provisioned bare-metal node."""
    here: Context = context.obj
    engine.require_root()
    if clean:
        _clean(here)
        return
    servers.require_client()
    version = version or (images_built.MOVING if release == DEFAULT else release)
    step = Steps()
    with Meanwhile(here) as beside:
        _prepare(context, step, beside, version=version, release=release, firmware=firmware)
    create = [
        "server",
        "create",
        "--flavor",
        names.FLAVOR,
        "--image",
        GUEST,
        "--network",
        names.NETWORK,
        "--key-name",
        names.KEY_PAIR,
        "--config-drive",
        "true",
        SERVER,
    ]
    step("Request", f"osbox openstack {run.line(create)}", lambda: _create(here, create))
    server = step("Deploy", f"osbox openstack server show {SERVER}", lambda: _active(here))
    screen = step("Boot", f"osbox node console {server.node}", lambda: _login(here, server))
    login = f"ssh -i {here.paths.private_key} {USER}@{server.address}"
    answer = step(
        "SSH",
        login,
        lambda: servers.ssh(
            here.paths, USER, server.address, "hostname; uname -sr; . /etc/os-release; echo $PRETTY_NAME"
        ),
    )
    _picture(here, step.times, screen, answer)
    log.out.print(
        f"\nLog in: {login}\nUndo:   osbox demo --clean        Remove everything: osbox down --purge"
    )


def _prepare(
    context: typer.Context, step: Steps, beside: Meanwhile, *, version: str, release: str, firmware: BootMode
) -> None:
    """All that comes before a server is asked for.

    What does not depend on each other runs at the same time: the files that nodes boot are built beside the
    images and the cloud, the Debian image, which the request is the first to need, beside the node's first
    boot.
    """
    here: Context = context.obj
    at = step("Engine", "osbox engine start", here.engine)
    tag = [] if version == images_built.MOVING else ["--version", version]
    build = ["osbox", "build", *(["--release", release, *tag] if release != DEFAULT or tag else [])]

    def built() -> Job:
        debian.ensure(here.base, at)
        job = beside.start("Deploy ramdisk", "ramdisk", "--release", release)
        images.build(context, version=version, release=release)
        return job

    ramdisk = step("Images", run.line(build), built)
    disk = beside.start("Guest image", "guest")
    step("Cloud", run.line(["osbox", "up", *tag]), lambda: cloud_commands.up(context, version=version))
    step("Network", "osbox net connect", lambda: net.connect(context))

    def filled() -> Job:
        beside.end(ramdisk)
        contents.prepare(context, disk=False)
        return beside.start("Guest image in Glance", "setup")

    upload = step("Contents", "osbox setup --no-guest", filled)
    step("Rack", "osbox rack add --nodes 1", lambda: metal.rack_add(context, nodes=1, firmware=firmware))
    file = here.paths.rack_yaml
    step("Enrol", f"osbox node enroll {file}", lambda: metal.enroll(context, file))

    def ready() -> None:
        beside.end(disk)
        beside.end(upload)

    step("Guest", "osbox setup", ready)


def _create(here: Context, words: list[str]) -> None:
    """`openstack server create`, once: a server of an interrupted demo is taken over, a broken one
    replaced."""
    connection = sessions.connect(here.paths, here.site)
    have = servers.find(connection, SERVER)
    if have and have.status != "ERROR":
        log.say(f"The server {SERVER} is there: {have.status}")
        return
    servers.delete(connection, SERVER, broken=True)
    servers.wait_schedulable(connection, here.site, names.RESOURCE_CLASS)
    # Were it to go on when we are killed, the next demo would not see its server yet, and ask for another.
    line = [*run.ENDS_WITH_US, credentials.client(), *words]
    run.run(line, env=credentials.client_environment(here.paths, here.site.name))


def _active(here: Context) -> servers.Server:
    project, system = (
        sessions.connect(here.paths, here.site),
        sessions.connect(here.paths, here.site, system=True),
    )
    at = here.engine()
    active = servers.wait_active(
        project, system, SERVER, log.state, lambda server: servers.scheduling(at, here.site, server)
    )
    servers.delete(project, SERVER, broken=True)
    return active


def _login(here: Context, server: servers.Server) -> str:
    at = here.engine()
    with log.step(f"Wait for `{SERVER} login:` on the console of {server.node}"):
        return servers.wait_login(lambda: rack.console_log(at, here.site, server.node, lines=2000), SERVER)


# --- the picture
# --------------------------------------------------------------------------------


def _picture(here: Context, times: list[tuple[str, float]], screen: str, answer: str) -> None:
    """The tables of the 2015 picture; shown, and written as SVG."""
    console = Console(record=True, width=WIDTH, highlight=False, emoji=False, file=log.out.file)
    address = _cloud_tables(here, console)
    shown = Text("\n".join(_clean_lines(screen)[-SCREEN_LINES:]))
    title = f"serial console of {SERVER}"
    console.print(Panel(shown, title=title, width=WIDTH // 2, title_align="left", box=box.ASCII))
    console.print(f"[bold green]$[/] ssh {USER}@{address} 'hostname; uname -sr; …'\n{answer.rstrip()}")
    console.print()
    all_times = [*times, ("All", sum(seconds for _, seconds in times))]
    titles, seconds = zip(*((title, log.seconds(took)) for title, took in all_times), strict=True)
    _table(console, "osbox demo", titles, [seconds])
    file = here.paths.picture
    console.save_svg(str(file), title="osbox demo")
    log.say(f"The picture: {file}")


def _cloud_tables(here: Context, console: Console) -> str:
    """Containers, nodes, hypervisors and servers; returns the first server's address."""
    system = sessions.connect(here.paths, here.site, system=True)
    project = sessions.connect(here.paths, here.site)
    rows = [(row["name"], row["image"], row["status"], row["ports"]) for row in _containers(here)]
    _table(console, "docker ps", ("Names", "Image", "Status", "Ports"), rows)
    fields = {
        "UUID": "uuid",
        "Name": "name",
        "Instance UUID": "instance_uuid",
        "Power State": "power_state",
        "Provisioning State": "provision_state",
        "Maintenance": "maintenance",
    }
    rows = [tuple(row[field] for field in fields.values()) for row in records.listing(system)]
    _table(console, "openstack baremetal node list", tuple(fields), rows)
    titles = ("Hypervisor Hostname", "Type", "State", "Status")
    found = project.compute.hypervisors(details=True)
    rows = [(item.name, item.hypervisor_type, item.state, item.status) for item in found]
    _table(console, "openstack hypervisor list", titles, rows)
    rows = [(item.id, item.name, item.status, _networks(item)) for item in project.compute.servers()]
    _table(console, "openstack server list", ("ID", "Name", "Status", "Networks"), rows)
    return str(rows[0][3]).partition("=")[2]


def _networks(server: Any) -> str:
    """As the openstack client prints them: NETWORK=ADDRESS; …"""
    addresses = server.addresses.items()
    return "; ".join(f"{name}={entry['addr']}" for name, entries in addresses for entry in entries)


def _containers(here: Context) -> list[dict[str, str]]:
    at = here.engine()
    states = stack.observe(at, here.site)
    facts = docker.containers(at, *(f"{name}.{here.site.name}" for name in sorted(states)))
    return [
        {
            "name": item.name,
            "image": item.image,
            "status": f"{item.state.status} ({item.state.health or 'no check'})",
            "ports": ", ".join(sorted({f"{bound.host_port}->{bound.port}" for bound in item.ports})),
        }
        for item in facts
    ]


def _table(console: Console, title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    console.print(f"[bold green]$[/] {title}")
    table = Table(box=box.ASCII)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row))
    console.print(table)
    console.print()


def _clean_lines(screen: str) -> list[str]:
    plain = Text.from_ansi(screen).plain
    return [line for line in plain.splitlines() if line.strip()]


# --- undo
# --------------------------------------------------------------------------------


def _clean(here: Context) -> None:
    """Undo the demo's contents; the cloud, its images and networks stay."""
    stack.require_up(here.paths, here.site)
    project, system = (
        sessions.connect(here.paths, here.site),
        sessions.connect(here.paths, here.site, system=True),
    )
    at = here.engine()
    with here.alone("demo --clean"), here.alone("demo --clean", "nodes"):
        if servers.delete(project, SERVER):
            log.out.print(f"Removed the server {SERVER}")
        names = (
            [node.name for node in rack.nodes(at, here.site)]
            if stack.RACK in stack.observe(at, here.site)
            else []
        )
        if not names:
            log.out.print("Nothing to remove in the rack")
            return
        switch_off = partial(metal.switch_off, here)
        for name in forgetting.forget(system, names, uncleaned=True, switch_off=switch_off):
            log.out.print(f"Removed the node {name}")
        log.out.print("Removed the virtual nodes: " + ", ".join(rack.remove(at, here.site, names)))
