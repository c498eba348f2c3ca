"""The probe and the doctor's network checks for real: a bridge, a DHCP server, TFTP and HTTP in a namespace
of each test's own."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from osbox import run
from osbox.bootpath import cause as bootcause
from osbox.bootpath import crossing, dhcpclient, http, tftp
from osbox.bootpath import port as bridgeport
from osbox.bootpath import walk as bootpath
from osbox.bootpath.cause import Scene, Subject
from osbox.bootpath.walk import Hop
from osbox.doctor import machine, wires
from osbox.doctor.finding import Facts
from osbox.errors import UserError
from osbox.metal.firmware import BootMode
from osbox.site.site import Paths
from tests.bootpath.bootserver import HOST, KERNEL, MAC, OFFERED, SITE, Server, serving
from tests.network.test_converge import namespace, needs_root  # noqa: F401 - the fixture

pytestmark = needs_root


@pytest.fixture
def bridge(namespace: None) -> None:  # noqa: F811 - a fixture
    for words in (
        ("link", "set", "lo", "up"),
        ("link", "add", "bt-prov", "type", "bridge", "forward_delay", "0"),
        ("link", "add", "bt-tap", "type", "veth", "peer", "name", "bt-end"),
        ("link", "set", "bt-tap", "master", "bt-prov", "up"),
        ("link", "set", "bt-end", "up"),
        ("address", "add", f"{HOST}/24", "dev", "bt-prov"),
        ("link", "set", "bt-prov", "up"),
    ):
        run.run(["ip", *words])


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of a test answer at once: what is silent is given up soon."""
    monkeypatch.setattr(wires, "DHCP_SECONDS", 1.0)
    monkeypatch.setattr(bootpath, "OFFER_SECONDS", 1.0)


def footprint() -> list[str]:
    """Interfaces, addresses and routes; carriers, and what IPv6 gives to links by itself, come and go at
    their own time."""
    links = json.loads(run.run(["ip", "-json", "-4", "address"]).out) + json.loads(
        run.run(["ip", "-json", "link"]).out
    )
    routes = [f"{item['dst']} {item['dev']}" for item in json.loads(run.run(["ip", "-json", "route"]).out)]
    return [
        f"{item['ifname']} {[one['local'] for one in item.get('addr_info', [])]}" for item in links
    ] + routes


def scene(tmp_path: Path, **more: object) -> Scene:
    about = {"node": "rack-1", "state": "inspect wait", "boot_mode": BootMode.BIOS, **more}
    subject = Subject(MAC, BootMode.BIOS, **about)  # type: ignore[arg-type]
    return Scene(Paths(tmp_path, tmp_path), SITE, None, subject, servers=frozenset({HOST}))


def walk(at: Scene) -> list[Hop]:
    hops = bootpath.walk(at, lambda _: None)
    for hop in hops:
        print(hop)
    return hops


def broken(hops: list[Hop]) -> str:
    return next((hop.name for hop in hops if hop.state == "broken"), "")


def test_a_port_is_gone_without_a_trace(bridge: None) -> None:
    before = footprint()
    with bridgeport.plugged(SITE.bridge) as port:
        assert port.name in str(footprint())
        assert (
            port.call(lambda: Path("/proc/thread-self/ns/net").readlink())
            != Path("/proc/thread-self/ns/net").readlink()
        )
    assert footprint() == before


def test_without_a_bridge_the_next_command_is_named(namespace: None) -> None:  # noqa: F811
    with pytest.raises(UserError, match="no bridge"), bridgeport.plugged(SITE.bridge):
        pass


def test_an_address_that_somebody_has_is_not_taken(bridge: None) -> None:
    first = bridgeport.own_addresses(SITE)[0]
    run.run(["ip", "address", "add", f"{first}/24", "dev", "bt-prov"])
    with bridgeport.plugged(SITE.bridge) as port:
        assert bridgeport.take_address(port, SITE) == bridgeport.own_addresses(SITE)[1]


def test_frames_cross_unless_the_bridge_is_down(bridge: None) -> None:
    assert crossing.across(SITE.bridge, "10.29.79.255") == crossing.Crossing(arp=True, udp=True)
    run.run(["ip", "link", "set", "bt-prov", "down"])
    assert crossing.across(SITE.bridge, "10.29.79.255") == crossing.Crossing(arp=False, udp=False)


def test_the_whole_way(bridge: None, tmp_path: Path) -> None:
    before = footprint()
    with serving(Server()):
        hops = walk(scene(tmp_path))
    assert [hop.state for hop in hops] == ["ok"] * 9
    assert [hop.name for hop in hops] == [
        "bridge",
        "DHCP offer",
        "DHCP lease",
        "TFTP loader",
        "DHCP offer to iPXE",
        "iPXE script",
        "node's script",
        "kernel",
        "ramdisk",
    ]
    assert "70001 bytes" in hops[3].evidence
    assert "boot protocol 2.15" in hops[7].evidence
    assert footprint() == before


def test_uefi_takes_its_own_loader_only(bridge: None, tmp_path: Path) -> None:
    server = Server()
    with serving(server):
        at = Scene(
            Paths(tmp_path, tmp_path),
            SITE,
            None,
            Subject(MAC, BootMode.UEFI, node="rack-1", state="inspect wait", boot_mode=BootMode.BIOS),
        )
        hops = walk(at)
        assert broken(hops) == "TFTP loader"
        assert "takes rack-1 for a machine that boots with BIOS" in hops[3].cause
        server.loader = "snponly.efi"
        assert broken(walk(at)) == ""


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("DHCP offer", lambda server: setattr(server, "dhcp", False)),
        ("TFTP loader", lambda server: server.loaders.clear()),
        ("iPXE script", lambda server: server.files.pop("/boot.ipxe")),
        ("iPXE script", lambda server: server.files.update({"/boot.ipxe": b"<html>"})),
        ("node's script", lambda server: server.files.pop(f"/pxelinux.cfg/{MAC.replace(':', '-')}")),
        ("kernel", lambda server: server.files.update({"/n/deploy_kernel": b"\0" * 3000})),
        ("ramdisk", lambda server: server.files.pop("/n/deploy_ramdisk")),
    ],
)
def test_the_broken_hop_is_named(
    bridge: None, tmp_path: Path, name: str, damage: Callable[[Server], object]
) -> None:
    server = Server()
    damage(server)
    with serving(server):
        hops = walk(scene(tmp_path))
    assert broken(hops) == name
    at = next(n for n, hop in enumerate(hops) if hop.state == "broken")
    assert hops[at].cause
    assert hops[at].next
    assert {hop.state for hop in hops[at + 1 :]} <= {"not tried"}


def test_a_silent_server_is_named(bridge: None, tmp_path: Path) -> None:
    with serving(Server(), http_too=False):
        assert broken(walk(scene(tmp_path))) == "iPXE script"


def test_the_lease_of_a_server_is_left_alone(bridge: None, tmp_path: Path) -> None:
    server = Server()
    server.files.pop(f"/pxelinux.cfg/{MAC.replace(':', '-')}")
    with serving(server):
        hops = walk(scene(tmp_path, state="active", instance="an-instance"))
    assert (hops[2].state, hops[6].state) == ("skipped", "skipped")
    assert "its lease is left alone" in hops[2].evidence
    assert "does not expect rack-1 to boot" in hops[6].evidence
    assert broken(hops) == ""


def test_a_running_server_needs_no_boot_file(bridge: None, tmp_path: Path) -> None:
    server = Server()
    server.loader = server.script = ""
    with serving(server):
        hops = walk(scene(tmp_path, state="active", instance="an-instance"))
    assert [hop.state for hop in hops] == ["ok", *["skipped"] * 8]
    assert OFFERED in hops[1].evidence
    with serving(Server()) as other:
        other.loader = ""
        assert broken(walk(scene(tmp_path))) == "DHCP offer"


def test_a_foreign_dhcp_server_is_named(bridge: None, tmp_path: Path) -> None:
    with serving(Server("10.29.79.66")):
        hops = walk(scene(tmp_path))
        assert broken(hops) == "DHCP offer"
        assert "another DHCP server, 10.29.79.66" in hops[1].cause
        facts = Facts(Paths(tmp_path, tmp_path), SITE, Paths(tmp_path, tmp_path), servers=frozenset({HOST}))
        found = list(wires.check_dhcp(facts))
    assert [one.level for one in found] == ["error"]
    assert "10.29.79.66" in found[0].what
    assert "probe" in found[0].evidence, "the port it sits behind"


def test_without_a_foreign_server_all_is_well(bridge: None, tmp_path: Path) -> None:
    facts = Facts(Paths(tmp_path, tmp_path), SITE, Paths(tmp_path, tmp_path))
    before = footprint()
    assert [one.level for one in (*wires.check_dhcp(facts), *wires.check_bridge(facts))] == ["ok", "ok"]
    assert footprint() == before


def test_kernel_features_are_made_and_gone(
    bridge: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, before, mounts = (
        Facts(Paths(tmp_path, tmp_path), SITE, Paths(tmp_path, tmp_path)),
        footprint(),
        Path("/proc/self/mounts").read_text(),
    )
    assert [one.level for one in machine.check_kernel(facts)] == ["ok"]
    assert footprint() == before
    assert Path("/proc/self/mounts").read_text() == mounts

    def refused() -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setitem(machine.FEATURES, "veth", refused)
    assert [one.what for one in machine.check_kernel(facts)] == ["the kernel cannot make this: veth"]


def test_tftp_gives_up_on_silence_and_tells_a_refusal(bridge: None) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind((HOST, 0))
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            tftp.fetch(HOST, "x", port=door.getsockname()[1])
        assert time.monotonic() - begin < 5
    with serving(Server()), pytest.raises(tftp.Refused) as caught:
        tftp.fetch(HOST, "none")
    assert caught.value.code == 1


def test_of_a_large_file_only_the_beginning_is_read(bridge: None) -> None:
    with serving(Server()):
        answer = http.get(f"http://{HOST}:8090/n/deploy_kernel", first=100)
    assert (answer.status, len(answer.content), answer.size, bool(answer.date)) == (
        200,
        100,
        len(KERNEL),
        True,
    )


def test_what_is_learned_of_a_node_goes_with_our_port(bridge: None) -> None:
    """OVN knows a node by the sender of its frames, so that the bridge learns it at our port: for no longer
    than we ask, or a running node would be cut off until it speaks."""
    with serving(Server()), bridgeport.plugged(SITE.bridge) as port:
        assert dhcpclient.discover(port, MAC, BootMode.BIOS, ipxe=True, seconds=1)[1]
        assert MAC in run.run(["bridge", "fdb", "show", "br", "bt-prov"]).out
    assert MAC not in run.run(["bridge", "fdb", "show", "br", "bt-prov"]).out
    assert bootcause.EXPECTED
