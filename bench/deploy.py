"""From `openstack server create` to the login prompt: what each part takes on a virtual node, and what cannot
be undercut.

Needs a cloud with one available node and the image debian-13, as `osbox demo` leaves it after `osbox
openstack server delete bm-node-1`. Makes a server, `bench-deploy`, and deletes it.

    .venv/bin/python bench/deploy.py [--json FILE]
"""

import sys
import time
from typing import Any

from common import Figure, parser, report

from osbox import log
from osbox.cloud import sessions
from osbox.contents import images, names, servers
from osbox.engine import engine
from osbox.metal import rack
from osbox.site.load import find_paths, load_site

NAME = "bench-deploy"
POLL_SECONDS = 0.5
WRITE = "write_image"  # the deploy step of Ironic's agent that writes the disk
FLOOR = f"the floor: the step {WRITE} and one boot of the server from its disk, alone"


def main() -> None:
    words = parser(__doc__)
    options = words.parse_args()
    paths = find_paths()
    site = load_site(paths.home)
    at = engine.find(paths, site)
    if not at:
        sys.exit(f"no engine runs for {paths.home}; first: osbox demo")
    project, system = sessions.connect(paths, site), sessions.connect(paths, site, system=True)

    def prompt(node: str) -> None:
        servers.wait_login(lambda: rack.console_log(at, site, node, lines=2000), NAME)

    if not list(system.baremetal.nodes(provision_state="available", is_maintenance=False)):
        sys.exit(
            "no node is available: a server that was just deleted leaves its node in cleaning for a minute;"
            " osbox node list"
        )
    begin = time.monotonic()
    create(project)
    try:
        node, parts = watch(system, begin)
        servers.wait_active(project, system, NAME, log.state)
        active = time.monotonic()
        prompt(node)
        end = time.monotonic()
        system.baremetal.set_node_power_state(node, "power off", wait=True)
        switched = time.monotonic()
        system.baremetal.set_node_power_state(node, "power on", wait=True)
        prompt(node)
        alone = time.monotonic() - switched
    finally:
        servers.delete(project, NAME)
    report(figures(parts, whole=end - begin, last=end - active, alone=alone), options.json, notes=[FLOOR])


def figures(parts: list[tuple[str, float]], *, whole: float, last: float, alone: float) -> list[Figure]:
    """The lines of the table.

    parts: what and seconds; whole, last, alone: seconds of all, of what came after ACTIVE, of one boot alone.
    """
    floor = sum(seconds for what, seconds in parts if WRITE in what) + alone
    return [
        *(Figure(f"  {what}", round(seconds, 1), "s") for what, seconds in parts),
        Figure("  Nova's ACTIVE to the login prompt", round(last, 1), "s"),
        Figure(
            "server create to login prompt",
            round(whole, 1),
            "s",
            round(1.15 * floor, 1),
            floor=round(floor, 1),
        ),
    ]


def create(project: Any) -> None:
    if servers.find(project, NAME):
        sys.exit(f"there is a server {NAME} already; first: osbox openstack server delete {NAME}")
    find = (
        project.compute.find_flavor(names.FLAVOR),
        project.image.find_image(images.GUEST),
        project.network.find_network(names.NETWORK),
    )
    if not all(find):
        sys.exit(
            "flavor, image or network is missing; first: osbox demo, then osbox openstack server delete"
            " bm-node-1"
        )
    flavor, image, network = find
    project.compute.create_server(
        name=NAME,
        flavor_id=flavor.id,
        image_id=image.id,
        networks=[{"uuid": network.id}],
        key_name=names.KEY_PAIR,
    )


def watch(system: Any, begin: float) -> tuple[str, list[tuple[str, float]]]:
    """Follow Ironic's node until it is active; returns its name, and the seconds of each state and deploy
    step, in order."""
    seen, label, since = list[tuple[str, float]](), "Nova, until a node is chosen", begin
    while True:
        node = next((item for item in system.baremetal.nodes(details=True) if item.instance_id), None)
        now = time.monotonic()
        if node is None and now - begin > servers.ACTIVE_SECONDS:
            sys.exit("no node was chosen; osbox openstack server show " + NAME)
        step = (node.deploy_step or {}).get("step") if node else None
        new = f"{node.provision_state}{f', step {step}' if step else ''}" if node else label
        if new != label:
            seen.append((label, now - since))
            label, since = new, now
        if node and node.provision_state in ("active", "deploy failed"):
            return node.name, seen
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
