"""What clients notice while services are replaced: requests, how many failed, how long one waited.

Takes the cloud in OSBOX_HOME as it is, which has to run: replaces each API in turn by an option and
`osbox up` (Swift's by stopping and starting it), then all at once by one option of each, and takes the
options back. More than some 50 requests a second in all are too many for two cores with the client on them.

    OSBOX_HOME=/var/lib/osbox-bench .venv/bin/python bench/replace.py [--rate 20] [--others 5] [--json FILE]
"""

import http.client
import ssl
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from common import OSBOX, Figure, out, parser, report, seconds
from rich.table import Table
from tests.e2e.load import OPTION, OPTIONS, WAIT_SECONDS, Load, load

from osbox.cloud import sessions
from osbox.cloud.services import APIS, Api
from osbox.site.load import find_paths, load_site

ALL = "all of them"
Act = Callable[[], Any]


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--rate", type=float, default=20, help="requests a second at what is replaced (20)")
    words.add_argument(
        "--others", type=float, default=5, help="at each of the others, and when it is all (5)"
    )
    options = words.parse_args()
    paths = find_paths()
    site = load_site(paths.home)
    context = ssl.create_default_context(cafile=str(paths.trusted)) if site.tls else None
    token = str(sessions.session(paths, site).get_token())

    def ask(api: Api, path: str) -> int:
        host, limit = str(site.loopback), WAIT_SECONDS
        link = (
            http.client.HTTPSConnection(host, api.port, timeout=limit, context=context)
            if context
            else http.client.HTTPConnection(host, api.port, timeout=limit)
        )
        try:
            link.request("GET", path, headers={"X-Auth-Token": token})
            answer = link.getresponse()
            answer.read()
            return answer.status
        finally:
            link.close()

    acts: dict[str, Act] = {api.service: replacing(api, site.name) for api in APIS}
    acts[ALL] = lambda: up([f"{project}.{OPTION}=2" for project in OPTIONS.values()])
    table = Table("Replaced", "Seconds", "Requests", "Failed", "Median", "Longest wait")
    figures = list[Figure]()
    try:
        for what, act in acts.items():
            rates = {api: options.rate if api.service == what else options.others for api in APIS}
            under = [Load(api, rate, ask) for api, rate in rates.items()]
            with load(*under):
                took = act()
            figures += told(table, what, took, under)
    finally:
        with suppress(SystemExit):
            seconds([OSBOX, "unset", *(f"{project}.{OPTION}" for project in OPTIONS.values())])
        seconds([OSBOX, "up"])
    out.print(table)
    report(figures, options.json)


def replacing(api: Api, name: str) -> Act:
    if api.service in OPTIONS:
        return lambda: up([f"{OPTIONS[api.service]}.{OPTION}=1"])
    argv = [OSBOX, "engine", "shell", "--", "docker", "restart", f"{api.service}.{name}"]
    return lambda: seconds(argv)


def up(options: Sequence[str]) -> float:
    seconds([OSBOX, "set", *options])
    return seconds([OSBOX, "up"])


def told(table: Table, what: str, took: float, under: Sequence[Load]) -> list[Figure]:
    """A line of the table: of the API that is replaced, and of all when all are."""
    own = [one for one in under if what in (ALL, one.api.service)]
    waits = [wait for one in own for wait in one.waits]
    number, failed = len(waits), sum(one.failed for one in under)
    middle, longest = statistics.median(waits) * 1000, max(waits)
    table.add_row(what, f"{took:.1f}", str(number), str(failed), f"{middle:.0f} ms", f"{longest:.1f} s")
    for one in under:
        if one.failed:
            out.print(f"{one.api.service}: {dict(one.seen)}", markup=False)
    return [
        Figure(f"failed while {what} replaced", failed, "requests", 0),
        Figure(f"longest wait while {what} replaced", round(longest, 1), "s"),
    ]


if __name__ == "__main__":
    main()
