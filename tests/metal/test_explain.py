"""osbox explain: what is asked of whom, and what becomes of the answers.

The doors are ours; what they say is as it was seen.
"""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from keystoneauth1.exceptions import ConnectFailure

from osbox import run
from osbox.commands.explain import moment
from osbox.engine import asking
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.metal import explain, rack, sightings
from osbox.metal.explain import NEEDED, Doors
from osbox.metal.timeline import STRANGER, Event
from osbox.site.site import Site
from tests.fakecloud import DOWN, response

UUID, MAC = "46882b70-2c1b-4470-abb7-5c5924d3e52b", "52:54:00:00:00:02"
NODE = {
    "uuid": UUID,
    "name": "rack-2",
    "provision_state": "inspect wait",
    "power_state": "power on",
    "last_error": None,
    "maintenance": False,
    "instance_uuid": None,
    "resource_class": "baremetal",
    "driver_info": {"redfish_address": "http://10.29.31.1:8000"},
    "provision_updated_at": "2026-11-23T03:05:00+00:00",
    "updated_at": "2026-11-23T03:05:00+00:00",
    "driver_internal_info": {},
}
HISTORY = {
    "history": [
        {
            "created_at": "2026-11-23T03:04:00+00:00",
            "event_type": "provisioning",
            "event": "verified",
            "severity": "INFO",
        }
    ]
}


class Api:
    """One of a connection's services: answers GET from a table, lists what it is given."""

    def __init__(self, answers: dict[str, Any], **lists: list[Any]) -> None:
        self.answers, self.lists = answers, lists

    def get(self, path: str, **_: Any) -> Any:
        known = self.answers.get(path)
        if isinstance(known, int):
            return response(known, "<html>")
        return response(200 if known is not None else 404, json.dumps(known or {}))

    def __getattr__(self, name: str) -> Any:
        return lambda **_: iter(self.lists[name])


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Doors:
    stranger = Event(
        datetime(2026, 11, 23, 3, 5, 20, tzinfo=UTC),
        "dhcp",
        f"DHCPDISCOVER 52:54:00:ab:cd:ef no address available: {STRANGER}",
    )
    monkeypatch.setattr(sightings, "of_conductor", lambda *_: [])
    monkeypatch.setattr(sightings, "on_the_network", lambda *_: [stranger])
    monkeypatch.setattr(rack, "behind", lambda *_: None)
    ports = [
        SimpleNamespace(address=MAC, node_id=UUID),
        SimpleNamespace(address="52:54:00:00:00:09", node_id="other"),
    ]
    baremetal = Api(
        {"/nodes/rack-2": NODE, f"/nodes/{UUID}/history": HISTORY},
        ports=ports,
        nodes=[SimpleNamespace(name="rack-1", id="1"), SimpleNamespace(name="rack-2", id=UUID)],
    )
    project = SimpleNamespace(network=Api({}, ports=[]), compute=Api({}))
    states = dict.fromkeys((*NEEDED, "rack"), "running")
    return Doors(
        Site(),
        Engine("host", "26"),
        cast("Any", project),
        cast("Any", SimpleNamespace(baremetal=baremetal)),
        states,
    )


def test_all_sources_in_one_timeline_with_the_cause_on_top(doors: Doors) -> None:
    report = explain.explain(doors, "rack-2", since=None, tail=12)
    assert (report.node, report.state, report.power, report.cut) == ("rack-2", "inspect wait", "power on", {})
    assert [(event.source, event.what[:20]) for event in report.events] == [
        ("ironic", "provisioning: verifi"),
        ("ironic", "state inspect wait"),
        ("dhcp", "DHCPDISCOVER 52:54:0"),
    ]
    assert report.cause.name == "wrong-mac"
    assert MAC in report.cause.text
    assert "52:54:00:ab:cd:ef" in report.cause.evidence[0]


def test_a_service_that_is_down_is_the_first_thing_to_tell(doors: Doors) -> None:
    cast("dict[str, str]", doors.states)["ipxe-httpd"] = "exited"
    report = explain.explain(doors, "rack-2", since=None, tail=12)
    assert report.cause.text.startswith("ipxe-httpd (exited) does not run")
    assert report.cause.next == "osbox up"


@pytest.mark.parametrize(
    ("name", "hint"), [("rak-1", "osbox explain rack-1"), ("elephant", "nodes: rack-1, rack-2")]
)
def test_an_unknown_node_names_the_nearest(doors: Doors, name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"there is no node {name}") as caught:
        explain.explain(doors, name, since=None, tail=12)
    assert (caught.value.hint, caught.value.code) == (hint, 2)


@pytest.mark.parametrize("status", [503, 403])
def test_an_api_that_does_not_answer_is_no_node_that_is_not_there(doors: Doors, status: int) -> None:
    cast("Any", doors.system).baremetal.answers["/nodes/rack-2"] = status
    with pytest.raises(Error, match=f"Ironic did not .*HTTP {status}"):
        explain.explain(doors, "rack-2", since=None, tail=12)


def raises(error: Exception) -> Any:
    def say(*_: Any, **__: Any) -> Any:
        raise error

    return say


SILENT = asking.SilentError("the container engine gave no answer within 120 s")


@pytest.mark.parametrize(
    "source", ["history", "Nova", "conductor", "DHCP", "console", "Neutron", "Placement"]
)
def test_a_source_that_says_nothing_is_told_and_the_others_are_heard(
    doors: Doors, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first that was silent ended the command, when one is most in need of it."""
    node, project = dict(NODE), cast("Any", doors.project)
    ironic = cast("Any", doors.system).baremetal
    match source:
        case "history":
            ironic.answers[f"/nodes/{UUID}/history"] = 500
        case "Nova":
            node |= {"provision_state": "active", "instance_uuid": "77"}
            project.compute.answers["/servers/77"] = 503
        case "conductor":
            monkeypatch.setattr(sightings, "of_conductor", raises(SILENT))
        case "DHCP":
            monkeypatch.setattr(sightings, "on_the_network", raises(SILENT))
        case "console":
            monkeypatch.setattr(rack, "behind", lambda *_: SimpleNamespace(name="rack-2", state="running"))
            monkeypatch.setattr(sightings, "of_console", raises(run.LateError("docker did not end")))
        case "Neutron":
            heard = Event(datetime.now(UTC), "dhcp", f"DHCPDISCOVER {MAC} no address available")
            monkeypatch.setattr(sightings, "on_the_network", lambda *_: [heard])
            project.network = SimpleNamespace(ports=raises(ConnectFailure("connection refused")))
        case "Placement":
            node |= {"provision_state": "available"}
            project.session = SimpleNamespace(get=lambda *_, **__: response(*DOWN))
    ironic.answers["/nodes/rack-2"] = node
    report = explain.explain(doors, "rack-2", since=None, tail=12)
    assert report.state == node["provision_state"]
    assert "ironic" in {event.source for event in report.events}
    said = " ".join(capsys.readouterr().err.split())
    assert "what follows is without" in said
    assert source in said
    assert source in " ".join(report.unheard)


def test_what_nobody_said_is_no_sign(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that waited while DHCP's log was silent had "no DHCP request came"; with Placement silent it was
    "free now"."""
    ironic, project = cast("Any", doors.system).baremetal, cast("Any", doors.project)
    old = "2026-11-23T03:05:00+00:00"
    waiting = NODE | {"provision_state": "inspect wait", "provision_updated_at": old, "last_error": None}
    ironic.answers["/nodes/rack-2"] = waiting
    monkeypatch.setattr(sightings, "on_the_network", lambda *_: [])
    heard = explain.explain(doors, "rack-2", since=None, tail=12).cause.name
    monkeypatch.setattr(sightings, "on_the_network", raises(SILENT))
    assert (heard, explain.explain(doors, "rack-2", since=None, tail=12).cause.name) == (
        "no-request",
        "unheard-network",
    )
    monkeypatch.setattr(sightings, "of_conductor", raises(SILENT))
    assert explain.explain(doors, "rack-2", since=None, tail=12).cause.name == "unheard-conductor"
    ironic.answers["/nodes/rack-2"] = waiting | {"provision_state": "available", "instance_uuid": None}
    server = {
        "id": "77",
        "name": "web",
        "status": "ERROR",
        "created": old,
        "fault": {"message": "No valid host was found.", "created": "2026-11-23T04:05:00Z"},
    }
    project.compute.answers["/servers/detail?status=ERROR&sort_key=created_at&sort_dir=desc&limit=1"] = {
        "servers": [server]
    }
    project.session = SimpleNamespace(get=lambda *_, **__: response(*DOWN))
    assert explain.explain(doors, "rack-2", since=None, tail=12).cause.name == "unheard-placement"


def test_a_server_is_told_also_when_nova_says_nothing_of_its_actions(
    doors: Doors, capsys: pytest.CaptureFixture[str]
) -> None:
    server = {"id": "77", "name": "web", "status": "ACTIVE", "created": "2026-11-23T03:05:00Z"}
    cast("Any", doors.project).compute.answers.update(
        {"/servers/77": {"server": server}, "/servers/77/os-instance-actions": 503}
    )
    cast("Any", doors.system).baremetal.answers["/nodes/rack-2"] = NODE | {
        "provision_state": "active",
        "instance_uuid": "77",
    }
    report = explain.explain(doors, "rack-2", since=None, tail=12)
    assert "holds the server web" in report.cause.text
    assert "Nova's actions" in " ".join(capsys.readouterr().err.split())


def test_since_is_a_span_or_a_time() -> None:
    now = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
    assert moment("90s", now) == datetime(2026, 11, 23, 2, 58, 30, tzinfo=UTC)
    assert moment("2h", now).hour == 1
    assert moment("2026-11-22T08:00", now) == datetime(2026, 11, 22, 8, tzinfo=UTC)
    with pytest.raises(UserError, match="no time"):
        moment("yesterday", now)
