"""Whether a login prompt on a console means that a server is up."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from osbox import run
from osbox.contents import servers
from osbox.engine import docker
from osbox.errors import Error
from osbox.site.site import Site

BIOS = "SeaBIOS (version 1.16.3)\nBooting from Hard Disk...\n"


def test_a_prompt_of_this_boot() -> None:
    text = f"{BIOS}Linux\nbm-node-1 login: cloud-init still talks"
    assert servers.wait_login(lambda: text, "bm-node-1").endswith("bm-node-1 login:")


@pytest.mark.parametrize("banner", ["SeaBIOS (version 1.16.3)", 'BdsDxe: starting Boot0001 "UEFI"'])
def test_a_prompt_of_the_boot_before_is_none(banner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOGIN_SECONDS", 0)
    with pytest.raises(Error, match="no `bm-node-1 login:`"):
        servers.wait_login(lambda: f"{BIOS}bm-node-1 login: \n{banner}\nBooting", "bm-node-1")


def test_the_prompt_of_another_host_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOGIN_SECONDS", 0)
    with pytest.raises(Error, match="login:"):
        servers.wait_login(lambda: f"{BIOS}localhost login:", "bm-node-1")


class Cloud:
    """Nova's answers, one after the other, of a server in ERROR and of the states of nova-compute."""

    def __init__(self, *states: str) -> None:
        self.states, self.session, self.compute = list(states), None, self

    def services(self, binary: str) -> list[SimpleNamespace]:
        assert binary == "nova-compute"
        return [SimpleNamespace(state=self.states.pop(0))] if self.states else []

    def servers(self, name: str) -> Iterator[SimpleNamespace]:
        assert name == "^bm-node-1$"
        return iter([SimpleNamespace(id="1234", name="bm-node-1", status="ERROR")])

    def get_server(self, server: str) -> SimpleNamespace:
        assert server == "1234"
        return SimpleNamespace(fault={"message": "No valid host was found."})


def test_of_two_the_one_that_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo was killed while it asked for a server, and the next one asked for another: it took the newest
    for its own, which found no node."""
    states = {"2": "ERROR", "1": "BUILD"}
    gone = list[str]()
    compute = SimpleNamespace(
        servers=lambda name: iter([SimpleNamespace(id=one, status=state) for one, state in states.items()]),
        delete_server=gone.append,
        wait_for_delete=lambda *_, **__: None,
    )
    cloud: Any = SimpleNamespace(compute=compute)
    assert servers.find(cloud, "bm").id == "1"
    assert servers.delete(cloud, "bm", broken=True)
    assert gone == ["2"]
    states["1"] = "ERROR"
    assert servers.find(cloud, "bm").id == "2", "the newest, whose fault is told"
    states.clear()
    assert servers.find(cloud, "bm") is None
    assert not servers.delete(cloud, "bm")


def test_a_request_waits_for_nova_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Placement offers the nodes of one that is down; the scheduler passes them over."""
    monkeypatch.setattr(servers, "placeable", lambda *_: {"node"})
    monkeypatch.setattr("time.sleep", lambda _: None)
    cloud = Cloud("down", "down", "up", "not asked")
    servers.wait_schedulable(cloud, Site(), "virtual")  # type: ignore[arg-type]
    assert cloud.states == ["not asked"]


def test_no_valid_host_is_told_with_what_the_scheduler_wrote() -> None:
    nodes = SimpleNamespace(baremetal=SimpleNamespace(nodes=lambda **_: iter(())))
    with pytest.raises(Error, match="could not build bm-node-1") as caught:
        servers.wait_active(Cloud(), nodes, "bm-node-1", lambda *_: None, lambda server: f"{server}: no")  # type: ignore[arg-type]
    assert caught.value.evidence == "No valid host was found.\n--- nova-scheduler\n1234: no"


def test_what_the_scheduler_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "INFO nova.scheduler.manager Got no allocation candidates from the Placement API.",
        "INFO nova.filters [req-1] Filter ComputeFilter returned 0 hosts",
        "INFO nova.filters [req-1] Filtering removed all hosts for the request with instance ID '1234'",
        "INFO nova.filters [req-2] Filtering removed all hosts for the request with instance ID '5678'",
    )
    said: list[tuple[str, ...]] = []

    def ask(_: object, *words: str, check: bool) -> run.Result:
        said.append(words)
        assert not check
        return run.Result(0, "", "\n".join(lines))

    monkeypatch.setattr(docker, "ask", ask)
    assert servers.scheduling(None, Site(), "1234") == "\n".join(lines[:3])  # type: ignore[arg-type]
    assert said == [("logs", "--since", "15m", f"nova-scheduler.{Site().name}")]
