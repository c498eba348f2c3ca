"""A thousand nodes of Ironic's fake hardware: until Nova's scheduler has them all, how long a list takes,
what memory it costs.

Takes the cloud in OSBOX_HOME as it is, allows it fake hardware by `osbox set`, and takes both back at its
end.

    OSBOX_HOME=/var/lib/osbox-bench .venv/bin/python bench/nodes.py [--count 1000] [--json FILE]
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common import OSBOX, Figure, median, out, parser, report, seconds
from stack import memory
from tests.e2e import fake_hardware

from osbox import waiting
from osbox.cloud import sessions
from osbox.site.load import find_paths, load_site
from osbox.site.site import Paths, Site

CLASS = "bench"
PREFIX = "bench-node-"
AT_A_TIME = 8
DEADLINE_SECONDS = 1800


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--count", type=int, default=1000, help="how many nodes")
    options = words.parse_args()
    paths = find_paths()
    site = load_site(paths.home)
    system = sessions.connect(paths, site, system=True)
    try:
        seconds([OSBOX, "set", *fake_hardware.OPTIONS])
        seconds([OSBOX, "up"])
        before = memory(site.name)
        begin = time.monotonic()
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(lambda number: enrol(system, number), range(options.count)))
        enrolled = time.monotonic()
        out.print(f"{options.count} nodes are available after {enrolled - begin:.0f} s")
        waiting.wait(
            "Placement knowing them all",
            lambda: known(paths, site) >= options.count,
            DEADLINE_SECONDS,
            poll=2,
        )
        schedulable = time.monotonic()
        listing = median(
            f"osbox node list of {options.count}", 3, lambda: seconds([OSBOX, "node", "list", "--json"])
        )
        after = memory(site.name)
    finally:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(
                pool.map(
                    system.baremetal.delete_node,
                    [node for node in system.baremetal.nodes() if str(node.name).startswith(PREFIX)],
                )
            )
        seconds([OSBOX, "unset", *fake_hardware.names(fake_hardware.OPTIONS)])
        seconds([OSBOX, "up"])
    report(
        [
            Figure(
                f"{options.count} nodes from the first request to available", round(enrolled - begin, 1), "s"
            ),
            Figure("from then until all are schedulable", round(schedulable - enrolled, 1), "s", 300),
            listing,
            Figure("memory of the cloud before", before, "MiB"),
            Figure("memory of the cloud with them", after, "MiB"),
        ],
        options.json,
    )


def enrol(system: Any, number: int) -> None:
    """One node, through Ironic's own states to available."""
    node = system.baremetal.create_node(
        name=f"{PREFIX}{number}",
        resource_class=CLASS,
        properties={"cpu_arch": "x86_64"},
        **fake_hardware.NODE,
    )
    system.baremetal.set_node_provision_state(node, "manage", wait=True, timeout=DEADLINE_SECONDS)
    system.baremetal.set_node_power_state(node, "power off")
    system.baremetal.set_node_provision_state(node, "provide", wait=True, timeout=DEADLINE_SECONDS)


def known(paths: Paths, site: Site) -> int:
    """How many nodes of the class a server could be placed on now."""
    session = sessions.session(paths, site)
    address = f"{site.api(8778)}/resource_providers?resources=CUSTOM_{CLASS.upper()}:1"
    answer = session.get(address, headers={"OpenStack-API-Version": "placement 1.10"})
    return len(answer.json()["resource_providers"])


if __name__ == "__main__":
    main()
