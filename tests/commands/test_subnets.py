"""A subnet of ours that something else has: told by plan, up and doctor, before anything is made."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from osbox import run
from osbox.cloud import plan as planning
from osbox.cloud import stack as cloud
from osbox.commands import stack
from osbox.commands.context import Context, load
from osbox.doctor import subnets as doctor
from osbox.doctor.finding import Facts
from osbox.engine import docker, engine, host
from osbox.engine.engine import Engine
from osbox.engine.info import NetworkInfo
from osbox.errors import UserError
from osbox.site.site import Paths, Site
from tests import namespaces

pytestmark = pytest.mark.root  # makes network namespaces
AT = Engine("host", "28.2")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A machine with an interface vpn0 and an engine that runs nothing; call it with words for `ip`."""

    def ip(line: str) -> None:
        run.run(["ip", *line.split()])

    monkeypatch.setattr(host, "usable", lambda: "28.2")
    monkeypatch.setattr(docker, "networks", lambda _: ())
    monkeypatch.setattr(cloud, "up", lambda *_, **__: pytest.fail("containers are made"))
    monkeypatch.setattr(cloud, "plan", lambda *_: planning.Plan((), {}, {}, {}, rack=False))
    with namespaces.alone():
        ip("link add vpn0 type veth peer name far0")
        ip("link set vpn0 up")
        ip("link set far0 up")
        yield ip
        links = json.loads(run.run(["ip", "-json", "link"]).out)
        assert {link["ifname"] for link in links} == {"lo", "vpn0", "far0"}, "nothing was made"


def here(paths: Paths, **site: Any) -> Any:
    found = Site.model_validate({"engine": "host", **site})
    return SimpleNamespace(obj=Context(paths, found, paths, found))


SEEN = {
    "route add 10.29.29.0/24 dev vpn0": ("vpn0 has the route 10.29.29.0/24", "subnet"),
    "address add 10.29.28.9/32 dev vpn0": ("vpn0 has the address 10.29.28.9/32", "control_subnet"),
    "rule add pref 100 lookup 75": ("in table 75, which rule 100 has asked before ours", "subnet"),
}


@pytest.mark.parametrize("line", SEEN)
def test_plan_up_and_doctor_say_the_same(machine: Any, paths: Paths, line: str) -> None:
    what, key = SEEN[line]
    machine("route add 10.0.0.0/8 dev vpn0 table 75")
    machine(line)
    context = here(paths)
    said = list[str]()
    for verb in (stack.plan, stack.up):
        with pytest.raises(UserError) as caught:
            verb(context)
        said.append(caught.value.message)
        assert f'{key} = "10.' in caught.value.hint or f'{key} = "172.' in caught.value.hint
        assert caught.value.hint.endswith(f" in {paths.site_toml}")
    facts = Facts(paths, context.obj.site, paths, AT)
    first = next(iter(doctor.check_subnets(facts)))
    assert {*said, first.what} == {first.what}
    assert what in first.what
    assert (first.level, key in first.next) == ("error", True)


def test_up_refuses_before_an_engine_is_started(
    machine: Any, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "start", lambda *_: pytest.fail("it is started"))
    machine("address add 10.29.28.9/32 dev vpn0")
    with pytest.raises(UserError):
        stack.up(here(paths))


def test_a_network_of_another_project_is_named(
    machine: Any, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compose ended in "Pool overlaps with other one on this address space", and the next command: status."""
    shop = NetworkInfo("shop_default", ("10.29.28.0/24",), bridge="br-0123456789ab")
    monkeypatch.setattr(docker, "networks", lambda _: (shop,))
    for verb in (stack.plan, stack.up):
        with pytest.raises(UserError, match=r"shop_default has 10\.29\.28\.0/24"):
            verb(here(paths))


def test_a_named_deployment_chooses_what_is_free(
    machine: Any, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("address add 10.29.37.9/32 dev vpn0")
    paths.home.mkdir(parents=True)
    paths.site_toml.write_text('engine = "host"\n')
    lab = load(None, "lab")
    assert str(lab.site.subnet) == "10.29.45.0/24"
    shop = NetworkInfo("shop_default", ("10.29.44.0/24",), bridge="")
    monkeypatch.setattr(docker, "networks", lambda _: (shop,))
    machine("link add provisioning3 type bridge")
    lab.settle()
    machine("link delete provisioning3")
    assert (lab.site.bridge, str(lab.site.control_subnet)) == ("provisioning4", "10.29.60.0/24")
    assert load(None, "lab").site == lab.site, "what was chosen stays, whatever comes"


def test_a_wide_route_is_told_by_doctor_alone(machine: Any, paths: Paths) -> None:
    machine("route add 10.0.0.0/8 dev vpn0")
    machine("route add default dev vpn0 metric 7")
    context = here(paths)
    levels = [one.level for one in doctor.check_subnets(Facts(paths, context.obj.site, paths, AT))]
    assert levels == ["warning", "ok"]
    with pytest.raises(typer.Exit) as ended:
        stack.plan(context)
    assert ended.value.exit_code == stack.PENDING


def test_the_private_engines_network_is_held_when_it_is_to_be_started(
    machine: Any, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("address add 10.29.27.9/32 dev vpn0")
    monkeypatch.setattr(host, "usable", lambda: "")
    monkeypatch.setattr(host, "refuse_beside_old", lambda: None)
    monkeypatch.setattr(engine, "_start_private", lambda *_: pytest.fail("it is started"))
    context = here(paths, engine="private")
    for verb in (context.obj.engine, lambda: stack.plan(context)):
        with pytest.raises(UserError, match=r"private engine's network is 10\.29\.27\.0/24"):
            verb()
    facts = Facts(paths, context.obj.site, paths)
    assert next(iter(doctor.check_subnets(facts))).level == "error"
    # The machine's own Docker has no use for it.
    facts = Facts(paths, here(paths).obj.site, paths, AT)
    assert [one.level for one in doctor.check_subnets(facts)] == ["ok"]
