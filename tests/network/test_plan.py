"""The provisioning network without touching any: golden cases of planning, the picture, what the docs
promise."""

import json
from pathlib import Path
from typing import Any

import pytest

from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.network import connect
from osbox.network import converge as net
from osbox.network.picture import WIDTH, draw
from osbox.network.plan import left_out, plan, rules
from osbox.network.values import AGAIN, Link, NetState, Wish
from osbox.site.ledger import Entry, ledger
from osbox.site.site import Paths, Site

CASES = Path(__file__).parents[1] / "cases" / "net"
CALLERS = {"up": AGAIN}
"""What a command wishes of which nobody said more."""


# --- Planning: state and wish in, changes (or an error) out
# ----------------------------------------------------------


@pytest.mark.parametrize("file", sorted(CASES.glob("*.json")), ids=lambda file: file.stem)
def test_plan(file: Path) -> None:
    case = json.loads(file.read_text())
    state = NetState.model_validate(case["state"])
    wish = CALLERS[case["wish"]] if isinstance(case["wish"], str) else Wish.model_validate(case["wish"])
    if "error" in case:
        with pytest.raises(Error) as caught:
            plan(state, wish)
        assert case["error"] in caught.value.message
        assert caught.value.hint
    else:
        assert [str(change) for change in plan(state, wish)] == case["changes"], case["why"]
        if "left_out" in case or isinstance(case["wish"], str):
            assert left_out(state) == case.get("left_out", {})


def test_a_missing_interface_lists_those_that_can_be_used() -> None:
    case = json.loads((CASES / "interface_missing.json").read_text())
    with pytest.raises(UserError) as caught:
        plan(NetState.model_validate(case["state"]), Wish.model_validate(case["wish"]))
    assert caught.value.hint == "interfaces that can be used: eth0, enp3s0"


@pytest.mark.parametrize("shown", ["eth1.29@eth1", "eth1.29:0", " eth1.29 "])
def test_an_interface_as_other_programs_show_it(shown: str) -> None:
    state = NetState(pid=1, links=(Link(name="eth1", index=1), Link(name="eth1.29", index=2, kind="vlan")))
    with pytest.raises(UserError, match="there is no interface") as caught:
        plan(state, Wish(do="connect", interface=shown))
    assert caught.value.hint == "its name here is eth1.29; interfaces that can be used: eth1, eth1.29"


def test_what_is_taken_is_remembered_as_it_was() -> None:
    case = json.loads((CASES / "interface_with_the_default_route_forced.json").read_text())
    take = plan(NetState.model_validate(case["state"]), Wish.model_validate(case["wish"]))[-1]
    assert take.before is not None
    assert (take.before.up, take.before.addresses, take.before.forced) == (True, ("192.0.2.2/24",), True)
    assert [route.dst for route in take.before.routes] == ["default"]


# --- The picture
# --------------------------------------------------------------------------------


def _seen(case: str, **more: Any) -> NetState:
    return NetState.model_validate({**json.loads((CASES / f"{case}.json").read_text())["state"], **more})


def _full() -> NetState:
    state = _seen("interface_there", programs={"ovs-vswitchd": 1, "ovn-controller": 1})
    taps = [{"name": f"vnet{n}", "kind": "tun", "up": True, "master": "provisioning"} for n in (0, 1)]
    links = [*state.model_dump()["links"], *taps]
    inside = [{**state.model_dump()["inside"][0], "promiscuous": True}, {"name": "br-ex", "kind": "tun"}]
    return NetState.model_validate({**state.model_dump(), "links": links, "inside": inside})


def test_picture_of_everything() -> None:
    assert draw(_full()) == (CASES / "connected.txt").read_text()


def test_the_docs_show_this_picture_and_these_rules() -> None:
    page = (Path(__file__).parents[2] / "docs" / "network.md").read_text()
    assert "".join(f"    {line}\n" for line in (CASES / "connected.txt").read_text().splitlines()) in page
    for rule in rules(_full(), ["eth0"]):
        words = rule.replace(f" -m comment --comment {_full().mark}", "").removeprefix("filter ")
        assert f"| `{words}` |" in page


def test_picture_of_a_dead_switch() -> None:
    rows = draw(_full().model_copy(update={"programs": {}})).splitlines()
    assert "br-ex           idle" in rows[4]
    assert "ext1            up, not in br-ex" in rows[6]


def test_picture_of_nothing() -> None:
    assert draw(_seen("disconnect_nothing_there", pid=0)) == (CASES / "nothing.txt").read_text()


def test_picture_stays_aligned_with_long_names() -> None:
    long = {"name": "a" * 41, "bridge": "provisioning-15", "veth": ["veth-outside-15", "veth-inside--15"]}
    text = json.dumps(_full().model_dump(mode="json"))
    for old, new in (
        ("provisioning", "provisioning-15"),
        ("ext0", "veth-outside-15"),
        ("ext1", "veth-inside--15"),
        ("vnet0", "tap-of-node-015"),
        ("eth1", "enp129s0f1np1v2"),
    ):
        text = text.replace(f'"{old}"', f'"{new}"')
    state = NetState.model_validate(
        {**json.loads(text), "site": long, "holder": "neutron-network." + "a" * 41}
    )
    lines = draw(state).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert {line[77] for line in lines[1:-1]} <= {"│", "┼"}
    assert {line[75] for line in lines[2:6]} == {"│"}


def test_what_up_would_do_is_told_by_one_look(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """There were three where an interface is connected: of a machine with many routes each takes a while."""
    looks, book = list[net.Doors](), ledger(paths.home)
    for kind, name in (("link", "ext0"), ("port", "eth1")):
        book.add(Entry.model_validate({"kind": kind, "name": name, "made_by": "osbox net connect"}))

    def observe(doors: net.Doors) -> NetState:
        looks.append(doors)
        return NetState(site=doors.site, made=frozenset({"link:ext0", "port:eth1"}))

    monkeypatch.setattr(net, "observe", observe)
    assert connect.pending(paths, Site(), Engine("host", "28"), replaced=False)[0].startswith(
        "Make the bridge"
    )
    assert len(looks) == 1
    assert looks[0].iptables, "with the engine's firewall in it"
