"""Requests at a steady rate at an API, and what became of each. bench/replace.py uses it, too: nothing of
pytest, and nothing of the checks' own state directory."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from osbox.cloud.services import Api

PATHS = {
    "keystone": "/v3",
    "glance-api": "/v2/images?limit=1",
    "swift-proxy": "/healthcheck",
    "placement": "/",
    "nova-api": "/v2.1/flavors?limit=1",
    "neutron-server": "/v2.0/networks?limit=1",
    "ironic-api": "/v1/nodes?limit=1",
}
OPTIONS = {
    "keystone": "keystone",
    "glance-api": "glance",
    "placement": "placement",
    "nova-api": "nova",
    "neutron-server": "neutron",
    "ironic-api": "ironic",
}
"""The project whose option replaces the service. Swift's have none: its container is stopped and started."""
OPTION = "DEFAULT.rate_limit_burst"
WAIT_SECONDS = 90
Ask = Callable[[Api, str], int]
"""Ask an API for a path, by a connection of its own; returns the status."""


class Load:
    """Requests at a steady rate whatever becomes of those before; each has a connection of its own.

    rate: requests a second. seen: how many ended so, by status or by the error's name; waits: seconds of
    each.
    """

    def __init__(self, api: Api, rate: float, ask: Ask) -> None:
        self.api, self.pause, self.ask = api, 1 / rate, ask
        self.seen, self.waits = Counter[str](), list[float]()
        self.stop, self.threads = threading.Event(), list[threading.Thread]()
        self.clock = threading.Thread(target=self._send)

    @property
    def failed(self) -> int:
        return sum(self.seen.values()) - self.seen["200"] - self.seen["300"]

    def _send(self) -> None:
        begin, number = time.monotonic(), 0
        while not self.stop.wait(max(0, begin + number * self.pause - time.monotonic())):
            self.threads.append(threading.Thread(target=self._one))
            self.threads[-1].start()
            number += 1

    def _one(self) -> None:
        begin = time.monotonic()
        try:
            self.seen[str(self.ask(self.api, PATHS[self.api.service]))] += 1
        except (OSError, http.client.HTTPException) as error:
            self.seen[type(error).__name__] += 1
        self.waits.append(time.monotonic() - begin)


@contextmanager
def load(*loads: Load) -> Iterator[None]:
    """The load for as long as the block takes, and until all of it has been answered."""
    for one in loads:
        one.clock.start()
    try:
        yield
    finally:
        for one in loads:
            one.stop.set()
        for one in loads:
            one.clock.join()
            for thread in one.threads:
                thread.join(2 * WAIT_SECONDS)
