"""What is under way, and what a change of services would break."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from openstack.connection import Connection

from osbox.cloud import sessions, underway
from osbox.cloud.changes import Change, Live
from osbox.cloud.compose import RACK
from osbox.cloud.services import SERVICES
from osbox.cloud.underway import Busy, Patience
from osbox.commands import stack as command
from osbox.errors import Error, UserError
from osbox.site.site import Paths, Site
from tests.fakecloud import Cloud, serving

DEPLOYING = Busy("node", "rack-1", "wait call-back")
SAVING = Busy("image", "disk", "saving")
Hits = list[tuple[Busy, list[str]]]


def live(*services: str, state: str = "running") -> dict[str, Live]:
    return {name: Live(name, "c", state, "", "", "") for name in services}


def changes(**actions: Any) -> list[Change]:
    return [Change("container", name.replace("_", "-"), action) for name, action in actions.items()]


def test_only_what_is_stopped_and_needed_does_harm() -> None:
    todo = changes(
        ironic_conductor="recreate",
        nova_compute="start",
        keystone="recreate",
        rabbitmq="restart",
        openvswitch="create",
        mysql="recreate",
    )
    here = live("ironic-conductor", "keystone", "rabbitmq", "nova-compute") | live("mysql", state="exited")
    assert underway.harmful(todo, here) == {"ironic-conductor", "rabbitmq"}


def test_who_needs_what() -> None:
    found = [DEPLOYING, SAVING]
    assert underway.broken(found, frozenset({"glance-api"})) == [(SAVING, ["glance-api"])]
    both = frozenset({"swift-object", "ironic-conductor"})
    assert underway.broken(found, both) == [
        (DEPLOYING, ["ironic-conductor", "swift-object"]),
        (SAVING, ["swift-object"]),
    ]
    assert underway.broken(found, frozenset({"keystone"})) == []
    known = {*SERVICES, RACK}
    assert all(names <= known for names in underway.NEEDED.values())


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    made = Cloud()
    with serving(made) as connection:

        def address(_: Site, port: int, host: object = None) -> str:
            return made.url

        monkeypatch.setattr(Site, "api", address)
        monkeypatch.setattr(sessions, "session", lambda *_, **__: session(connection))
        yield made


def session(connection: Connection) -> Any:
    return connection.session


def test_what_is_under_way_now(paths: Paths, cloud: Cloud) -> None:
    nodes = [
        {"uuid": "a", "name": "rack-1", "provision_state": "wait call-back"},
        {"uuid": "b", "name": None, "provision_state": "cleaning"},
        {"uuid": "c", "name": "rack-3", "provision_state": "active"},
        {"uuid": "d", "name": "rack-4", "provision_state": "deploy failed"},
    ]
    cloud.answers["GET /v1/nodes"] = (200, json.dumps({"nodes": nodes}))
    cloud.answers["GET /v2/images"] = (
        200,
        json.dumps({"images": [{"id": "i", "name": "disk", "status": "saving"}]}),
    )
    assert underway.look(paths, Site()) == [DEPLOYING, Busy("node", "b", "cleaning"), SAVING]


def test_a_cloud_that_does_not_say_is_brought_up(
    paths: Paths, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.answers["GET /v1/nodes"] = (503, "{}")
    monkeypatch.setattr(underway, "ANSWER_SECONDS", 0)
    assert underway.known(lambda: underway.seen(paths, Site(), SERVICE)) == []
    assert "ironic-api did not say what there is: HTTP 503" in capsys.readouterr().err
    cloud.asked.clear()
    assert underway.seen(paths, Site(), frozenset()) == []
    assert cloud.asked == [], "nothing that does harm: nothing is asked"


class Asked:
    """What is under way at each look; None: no answer."""

    def __init__(self, *looks: Hits | None) -> None:
        self.looks = list(looks)

    def __call__(self, services: frozenset[str]) -> Hits:
        assert services == {"ironic-conductor"}
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if found is None:
            raise Error("ironic-api did not say")
        return found


HIT: Hits = [(DEPLOYING, ["ironic-conductor"])]
SERVICE = frozenset({"ironic-conductor"})


def test_it_is_waited_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    asked = Asked(HIT, HIT, HIT, [])
    underway.Waiter(Patience(60), asked).let_end(SERVICE)
    assert asked.looks == [[]]
    said = capsys.readouterr().err
    assert said.count("node rack-1 (wait call-back)") == 1, "told when it changes"
    assert "Wait for what is under way, 60 s at most" in said


def test_no_answer_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy deploying answered one question of many late, and the node was broken."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    asked = Asked(None, HIT, None, HIT, None, [])
    underway.Waiter(Patience(60), asked).let_end(SERVICE)
    assert asked.looks == [[]]


def test_there_is_one_patience_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    waiter = underway.Waiter(Patience(100), Asked(HIT, HIT, []))
    waiter.let_end(SERVICE)
    assert waiter.spent > 0
    waiter.ask, waiter.spent = Asked(HIT), 100
    with pytest.raises(Error, match="would be broken"):
        waiter.let_end(SERVICE)


def test_all_nodes_are_looked_at(paths: Paths, cloud: Cloud) -> None:
    """Ironic gives a thousand at a time."""
    asked = list[str]()

    class Session:
        def get(self, address: str, **_: object) -> Any:
            asked.append(address.removeprefix(cloud.url))
            last = "marker" in address
            more = {} if last else {"next": "https://10.29.29.1:6385/v1/nodes?fields=uuid&marker=a"}
            body = {"nodes": [{"uuid": "b" if last else "a"}], **more}
            return SimpleNamespace(status_code=200, json=lambda: body, text=json.dumps(body), headers={})

    found = underway.nodes(Session(), Site(), "fields=uuid")  # type: ignore[arg-type]
    assert [one["uuid"] for one in found] == ["a", "b"]
    assert asked == ["/v1/nodes?fields=uuid", "/v1/nodes?fields=uuid&marker=a"]


def test_what_does_not_end_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(underway, "POLL_SECONDS", 0.01)
    with pytest.raises(Error, match=r"would be broken: node rack-1 \(wait call-back\)") as caught:
        underway.Waiter(Patience(0.05), Asked(HIT)).let_end(SERVICE)
    assert "needs ironic-conductor" in caught.value.evidence
    assert "osbox up --now" in caught.value.hint


def test_now_breaks_it_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    underway.Waiter(Patience(60, now=True), Asked(HIT)).let_end(SERVICE)
    assert "broken by --now: node rack-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5 h", 5400), ("7", 7), ("0", 0)]
)
def test_how_long(text: str, seconds: float) -> None:
    assert command._duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "3d", "1h30m", "½h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UserError, match="is no time"):
        command._duration(text)
