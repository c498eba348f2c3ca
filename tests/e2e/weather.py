"""A client that reads from and writes to every API every two seconds, and remembers what was acknowledged:
for tests that break something."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from osbox.cloud import checks
from osbox.cloud import sessions as cloud
from osbox.cloud.services import AGENTS, APIS
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.home import HOME, PROJECT

RECOVERY_SECONDS = 30
"""What a service may take until it works again, alone, after the cause has ended."""
CALM = 3  # rounds in a row without a failure that prove it
POLL_SECONDS = 2
HEADERS = {"X-OpenStack-Ironic-API-Version": "1.80", "OpenStack-API-Version": "placement 1.20"}


@dataclass(frozen=True)
class Kind:
    """A thing to write: where, how, where it is listed, and how its name stands in the list."""

    service: str
    path: str
    body: Callable[[str], Any]
    key: str
    remove: str = "id"
    system: bool = False


KINDS = (
    Kind(
        "keystone",
        ":5000/v3/projects",
        lambda name: {"project": {"name": name, "domain_id": "default"}},
        "projects",
    ),
    Kind("glance-api", ":9292/v2/images", lambda name: {"name": name}, "images"),
    Kind(
        "nova-api",
        ":8774/v2.1/os-keypairs",
        lambda name: {"keypair": {"name": name, "public_key": KEY}},
        "keypairs",
        "name",
    ),
    Kind(
        "neutron-server",
        ":9696/v2.0/subnetpools",
        lambda name: {"subnetpool": {"name": name, "prefixes": ["10.254.0.0/16"]}},
        "subnetpools",
    ),
    Kind(
        "ironic-api",
        ":6385/v1/nodes",
        lambda name: {"name": name, "driver": "redfish"},
        "nodes",
        "uuid",
        system=True,
    ),
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0tq2r3gkKyLcWuiDBpWlX6DFeFhX3bZ0dgqxN0CFzw weather"


@dataclass
class Weather:
    """What happened: failures by service with their times, acknowledged writes by service, when the cause
    began and ended."""

    failures: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    acknowledged: dict[str, list[str]] = field(default_factory=dict)
    rounds: list[tuple[float, bool]] = field(default_factory=list)
    ended: float = 0.0

    def late(self) -> dict[str, str]:
        """Failures that were seen later than RECOVERY_SECONDS after the cause had ended."""
        limit = self.ended + RECOVERY_SECONDS
        every = [(name, when, why) for name, all_of in self.failures.items() for when, why in all_of]
        return {
            name: f"{when - self.ended:.0f} s after the end: {why}"
            for name, when, why in every
            if when > limit
        }

    def took(self) -> dict[str, float]:
        """For each service, how long after the end of the cause it failed last."""
        return {
            name: round(max(when for when, _ in all_of) - self.ended, 1)
            for name, all_of in self.failures.items()
        }


class Client:
    """Polls until it is told to stop."""

    def __init__(self) -> None:
        self.site = load_site(HOME)
        paths = Paths(PROJECT, HOME)
        self.member, self.system = (
            cloud.session(paths, self.site),
            cloud.session(paths, self.site, system=True),
        )
        for session in (self.member, self.system):
            session.timeout = 10
        self.project = self.member.get_project_id()
        self.seen = Weather()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        # Of its own each time: what was removed while a clock was fast cannot be made again before that time
        # (Swift goes by time stamps).
        self.container = f":8080/v1/AUTH_{self.project}/weather-{secrets.token_hex(4)}"
        self._call(self.member, "PUT", self.container)
        self.threads = [
            threading.Thread(target=self._again, args=(name, act), daemon=True) for name, act in self._acts()
        ]

    def _acts(self) -> Iterator[tuple[str, Callable[[int], str]]]:
        for api in APIS:
            scope = self.system if api.type in ("baremetal", "identity") else self.member
            yield api.service, lambda _, scope=scope, api=api: checks.probe_api(scope, self.site, api)  # type: ignore[misc]
        for agent in AGENTS:
            scope = self.system if agent.api == "baremetal" else self.member
            yield (
                agent.service,
                lambda _, scope=scope, agent=agent: checks.probe_agent(  # type: ignore[misc]
                    checks.told_of_agents(scope, self.site, agent), agent
                ),
            )
        # Answered by the conductor, over the bus.
        yield (
            "ironic-conductor by RPC",
            lambda _: self._say(self.system, "GET", ":6385/v1/nodes/rack-1/validate"),
        )
        yield "swift-proxy, writing", self._put
        for kind in KINDS:
            yield f"{kind.service}, writing", partial(self._post, kind)

    def _again(self, name: str, act: Callable[[int], str]) -> None:
        number = 0
        while not self.stop.is_set():
            begin, number = time.monotonic(), number + 1
            why = act(number)
            with self.lock:
                now = time.monotonic()
                self.seen.rounds.append((now, not why))
                if why:
                    self.seen.failures.setdefault(name, []).append((now, why))
            self.stop.wait(max(0.0, POLL_SECONDS - (time.monotonic() - begin)))

    def _post(self, kind: Kind, number: int) -> str:
        name = f"weather-{number}"
        why = self._say(self.system if kind.system else self.member, "POST", kind.path, json=kind.body(name))
        if not why:
            self.seen.acknowledged.setdefault(kind.service, []).append(name)
        return why

    def _put(self, number: int) -> str:
        why = self._say(self.member, "PUT", f"{self.container}/{number}", data=f"object {number}")
        if not why:
            self.seen.acknowledged.setdefault("swift-proxy", []).append(str(number))
        return why

    def _say(self, session: Any, verb: str, path: str, **options: Any) -> str:
        try:
            answer = self._call(session, verb, path, **options)
        except Exception as error:  # noqa: BLE001 - whatever it is, it was no answer
            return f"{type(error).__name__}: {error}"[:200]
        return "" if answer.status_code < 300 else f"HTTP {answer.status_code}: {answer.text[:150]}"

    def _call(self, session: Any, verb: str, path: str, **options: Any) -> Any:
        return session.request(
            f"{self.site.scheme}://{self.site.loopback}{path}",
            verb,
            headers=HEADERS,
            raise_exc=False,
            connect_retries=0,
            **options,
        )

    # --- afterwards ---

    def lost(self) -> dict[str, list[str]]:
        """Writes that were acknowledged and are not there."""
        missing = {}
        for kind in KINDS:
            there = {str(item.get("name")) for item in self._list(kind)}
            missing[kind.service] = sorted(set(self.seen.acknowledged.get(kind.service, [])) - there)
        wrong = [
            number
            for number in self.seen.acknowledged.get("swift-proxy", [])
            if self._object(number) != f"object {number}"
        ]
        return {name: names for name, names in (missing | {"swift-proxy": wrong}).items() if names}

    def _object(self, number: str) -> str:
        return str(self._call(self.member, "GET", f"{self.container}/{number}").text)

    def _list(self, kind: Kind) -> list[dict[str, Any]]:
        query = "?limit=1000" if kind.service in ("glance-api", "nova-api") else ""
        found = self._call(self.system if kind.system else self.member, "GET", kind.path + query).json()[
            kind.key
        ]
        return [item["keypair"] if kind.key == "keypairs" else item for item in found]

    def tidy(self) -> None:
        for kind in KINDS:
            for item in self._list(kind):
                if str(item.get("name")).startswith("weather-"):
                    self._call(
                        self.system if kind.system else self.member,
                        "DELETE",
                        f"{kind.path}/{item[kind.remove]}",
                    )
        for number in self._call(self.member, "GET", self.container).text.split():
            self._call(self.member, "DELETE", f"{self.container}/{number}")
        self._call(self.member, "DELETE", self.container)


@contextmanager
def client() -> Iterator[Client]:
    """A client that polls during the block; what it wrote is removed afterwards."""
    one = Client()
    for thread in one.threads:
        thread.start()
    try:
        yield one
    finally:
        one.stop.set()
        for thread in one.threads:
            thread.join(40)
        one.tidy()


def break_and_watch(begin: Callable[[], object], end: Callable[[], object], seconds: float) -> Weather:
    """Begin a cause, end it after some seconds, and watch until all is calm; asserts that all recovers in
    time and nothing is lost."""
    with client() as one:
        time.sleep(3)
        assert not one.seen.failures, f"not well before: {one.seen.failures}"
        try:
            begin()
            time.sleep(seconds)
        finally:
            end()
        one.seen.ended = time.monotonic()
        while time.monotonic() < one.seen.ended + RECOVERY_SECONDS + CALM * POLL_SECONDS:
            time.sleep(1)
            with one.lock:
                latest = max(
                    (when for all_of in one.seen.failures.values() for when, _ in all_of),
                    default=one.seen.ended,
                )
            if time.monotonic() > max(latest, one.seen.ended) + CALM * POLL_SECONDS:
                break
        one.stop.set()
        late, lost = one.seen.late(), one.lost()
        print(f"failed last, seconds after the end: {one.seen.took()}")
        print({name: all_of[0][1] for name, all_of in one.seen.failures.items()})
        print({name: len(names) for name, names in one.seen.acknowledged.items()})
    assert not late
    assert not lost
    return one.seen
