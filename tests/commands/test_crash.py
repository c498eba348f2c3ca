"""What a crash leaves behind, and what the next command does about it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from osbox.commands.context import Context
from osbox.engine import engine
from osbox.metal import enroll as nodes
from osbox.metal import records
from osbox.metal.difference import Difference
from osbox.network import converge as net
from osbox.site import ledger
from osbox.site.site import Paths, Site

UUID = "46882b70-2c1b-4470-abb7-5c5924d3e52b"


@pytest.mark.parametrize("remembered", [True, False])
def test_after_a_reboot_the_bridge_is_there_before_the_containers(
    monkeypatch: pytest.MonkeyPatch, paths: Paths, remembered: bool
) -> None:
    """dockerd starts them as soon as it runs, and they publish their ports on the bridge's address."""
    done = list[str]()
    monkeypatch.setattr(engine, "start", lambda *_: done.append("engine"))
    monkeypatch.setattr(net, "ensure_bridge", lambda *_: done.append("bridge"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    if remembered:
        ledger.ledger(paths.home).add(ledger.Entry(kind="link", name="no-bridge-yet"))
    site = Site(bridge="no-bridge-yet")
    Context(paths, site, paths, site).engine()
    assert done == ["bridge", "engine"][not remembered :]


@pytest.mark.parametrize(
    ("state", "off", "asked", "aborted"),
    [
        ("clean wait", True, set(), True),
        ("inspect wait", True, set(), True),
        ("clean wait", False, set(), False),
        ("clean wait", True, {"provide"}, False),
        ("wait call-back", True, set(), False),
    ],
)
def test_a_node_that_lost_its_power_in_an_earlier_run_is_begun_anew(
    monkeypatch: pytest.MonkeyPatch, state: str, off: bool, asked: set[str], aborted: bool
) -> None:
    seen = list[str]()
    monkeypatch.setattr(records, "abort", lambda _, uuid: seen.append(uuid))
    options = nodes.Options(lambda *_: None, lambda *_: [], is_off=lambda _: off)
    node = cast("Any", SimpleNamespace(name="rack-2", inspect_interface=None))
    work = nodes._Work(node, Difference("rack-2"), state=state, asked=asked)
    nobody = cast("Any", None)
    run = nodes._Run(nobody, nobody, nobody, options)
    nodes._push(run, SimpleNamespace(id=UUID, is_maintenance=False), work)
    assert seen == ([UUID] if aborted else [])
