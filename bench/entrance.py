"""What the entrance costs: a request to Swift itself, through the entrance in clear, and over TLS; a download
of each kind.

Takes the cloud in OSBOX_HOME as it is, which has to run, and removes the container that it makes.

    OSBOX_HOME=/var/lib/osbox-bench .venv/bin/python bench/entrance.py [--json FILE]
"""

import http.client
import ssl
import statistics
import time
import uuid
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from common import Figure, parser, report

from osbox import run
from osbox.cloud import sessions
from osbox.engine import engine
from osbox.site.load import find_paths, load_site

REQUESTS, ROUNDS = 300, 5
MIB = 1 << 20
SIZE = 256 * MIB
PATH = "/healthcheck"
Ways = Mapping[str, Callable[[], http.client.HTTPConnection]]


def main() -> None:
    words = parser(__doc__)
    options = words.parse_args()
    paths = find_paths()
    site = load_site(paths.home)
    at = engine.find(paths, site)
    if at is None:
        words.error("no engine runs: osbox up")
    context = ssl.create_default_context(cafile=str(paths.trusted)) if site.tls else None
    own = run.run(
        at.argv("docker", "inspect", "--format", ADDRESS.format(site.name), f"swift-proxy.{site.name}")
    ).out.strip()
    front = str(site.control_subnet[-2])
    ways: Ways = {
        "Swift itself": lambda: http.client.HTTPConnection(own, 8080, timeout=60),
        "through the entrance": lambda: http.client.HTTPConnection(front, 8080, timeout=60),
        "over TLS": lambda: http.client.HTTPSConnection(
            str(site.loopback), 8080, timeout=60, context=context
        ),
    }
    figures = [
        *latencies("a request, connection kept", ways, kept=True),
        *latencies("a request, new connection", ways, kept=False),
    ]
    session = sessions.session(paths, site)
    place = f"{site.api(8080)}/v1/AUTH_{session.get_project_id()}/bench-{uuid.uuid4().hex}"
    session.put(place)
    try:
        session.put(f"{place}/large", data=bytes(SIZE))
        path = urlsplit(f"{place}/large").path
        figures += downloads(ways, path, str(session.get_token()))
    finally:
        session.delete(f"{place}/large", raise_exc=False)
        session.delete(place, raise_exc=False)
    report(figures, options.json)


ADDRESS = '{{{{(index .NetworkSettings.Networks "{}-control").IPAddress}}}}'
"""Where the entrance finds it: Swift is in other networks, too."""


def latencies(what: str, ways: Ways, *, kept: bool) -> list[Figure]:
    """Milliseconds at the median, of each way in turn: what else the machine does is in all of them."""
    runs = {way: list[float]() for way in ways}
    for _ in range(ROUNDS):
        for way, connect in ways.items():
            runs[way].append(median_of(connect, kept=kept))
    return [
        Figure(f"{what}, {way}", round(statistics.median(of), 2), "ms", runs=tuple(of))
        for way, of in runs.items()
    ]


def median_of(connect: Callable[[], http.client.HTTPConnection], *, kept: bool) -> float:
    took, connection = [], connect()
    for number in range(REQUESTS):
        begin = time.perf_counter()
        if not kept and number:
            connection.close()
            connection = connect()
        connection.request("GET", PATH)
        connection.getresponse().read()
        took.append((time.perf_counter() - begin) * 1000)
    connection.close()
    return round(statistics.median(took[1:]), 2)


def downloads(ways: Ways, path: str, token: str) -> list[Figure]:
    runs = {way: list[float]() for way in ways}
    for _ in range(ROUNDS):
        for way, connect in ways.items():
            connection = connect()
            begin = time.perf_counter()
            connection.request("GET", path, headers={"X-Auth-Token": token})
            answer = connection.getresponse()
            while answer.read(MIB):
                pass
            runs[way].append(round(SIZE / MIB / (time.perf_counter() - begin)))
            connection.close()
    return [
        Figure(f"an object of {SIZE // MIB} MiB, {way}", statistics.median(of), "MiB/s", runs=tuple(of))
        for way, of in runs.items()
    ]


if __name__ == "__main__":
    main()
