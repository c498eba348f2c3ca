"""The rack: what osbox asks of it, and rackctl, which answers inside the image."""

import importlib.util
import json
import os
import select
import signal
import sys
import threading
import tty
import xml.etree.ElementTree as ET
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from osbox import run
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.metal import rack
from osbox.metal.firmware import BootMode
from osbox.metal.nodesfile import load
from osbox.site.site import Paths, Site
from osbox.tls import store

IMAGE = Path(__file__).parents[2] / "images/rack"
ENGINE = Engine("private", "26.1", ("nsenter", "-t", "7", "-m", "--"))
SITE = Site()
EXEC = ["nsenter", "-t", "7", "-m", "--", "docker", "exec"]


def script(name: str) -> ModuleType:
    """A program of the image, as a module: it imports nothing at its top that only the image has."""
    found = importlib.util.spec_from_file_location(f"rack_image_{name}", IMAGE / f"{name}.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


rackctl = script("rackctl")
init = script("rack")
console = script("console")


class Docker:
    """Stands for osbox.run.run: notes what was asked and answers with what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, out: str = "", err: str = "", code: int = 0) -> None:
        self.argv: list[str] = []
        self.input: str | None = None
        self.result = run.Result(code, out, err)
        monkeypatch.setattr(run, "run", self)

    def __call__(
        self,
        argv: list[str],
        *,
        input: str | None = None,  # noqa: A002
        check: bool,
        timeout: float,
    ) -> run.Result:
        self.argv, self.input = argv, input
        return self.result


def test_a_spec_is_the_same_every_time_and_differs_between_sites() -> None:
    one, two, other = rack.spec(SITE, 1), rack.spec(SITE, 2), rack.spec(Site(name="other"), 1)
    assert one == rack.spec(SITE, 1)
    assert one.name == other.name == "rack-1"
    assert len({one.uuid, two.uuid, other.uuid}) == len({one.macs, two.macs, other.macs}) == 3
    assert one.macs[0].startswith("52:54:00:")
    assert one.bridge == "provisioning"


@pytest.mark.parametrize("wrong", [{"cpus": 0}, {"ram": -1}, {"disk": 0}])
def test_a_spec_with_nothing_in_it_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"cannot have (cpus 0|ram -1|disk 0)"):
        rack.spec(SITE, 1, **wrong)


def test_an_unknown_accelerator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSBOX_RACK_ACCEL", "xen")
    with pytest.raises(UserError, match="OSBOX_RACK_ACCEL is 'xen'"):
        rack.spec(SITE, 1)


def test_define_hands_over_specs_that_rackctl_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, '{"defined": ["rack-2"], "present": ["rack-1"]}')
    specs = [rack.spec(SITE, 1), rack.spec(SITE, 2, firmware=BootMode.UEFI)]
    assert rack.define(ENGINE, SITE, specs) == ["rack-2"]
    assert docker.argv == [*EXEC, "--interactive", "rack.os-in-a-box", "rackctl", "define"]
    understood = rackctl.parse(docker.input)
    assert [asdict(item) for item in understood] == [asdict(item) for item in specs]


def test_nodes_are_read_as_values(monkeypatch: pytest.MonkeyPatch) -> None:
    item = {**asdict(rack.spec(SITE, 1)), "state": "running", "disk_used_mib": 12, "console_bytes": 34}
    Docker(monkeypatch, json.dumps([item]))
    (node,) = rack.nodes(ENGINE, SITE)
    assert (node.name, node.state, node.firmware, node.console_bytes) == (
        "rack-1",
        "running",
        BootMode.BIOS,
        34,
    )


def test_remove_nothing_asks_nobody() -> None:
    assert rack.remove(ENGINE, SITE, []) == []


def test_console_log_of_a_node_that_was_never_on(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, err="rackctl: node rack-1 has written nothing to its console yet", code=1)
    assert rack.console_log(ENGINE, SITE, "rack-1", lines=5) == ""
    assert docker.argv == [*EXEC, "rack.os-in-a-box", "rackctl", "log", "rack-1", "--lines=5"]


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            "rackctl: node a: cpus is missing",
            "cannot do that: node a: cpus is missing",
            "docker logs rack.os-in-a-box",
        ),
        (
            "Error response from daemon: No such container: rack.os-in-a-box",
            "does not answer",
            "osbox rack add",
        ),
    ],
)
def test_errors_name_the_next_command(
    monkeypatch: pytest.MonkeyPatch, said: str, message: str, hint: str
) -> None:
    Docker(monkeypatch, err=said, code=1)
    with pytest.raises(Error, match=message) as caught:
        rack.nodes(ENGINE, SITE)
    assert hint in caught.value.hint


@pytest.mark.usefixtures("own_user")
@pytest.mark.parametrize("tls", [True, False])
def test_enrolment_is_a_nodes_file(tmp_path: Path, paths: Paths, tls: bool) -> None:
    site = Site(tls=tls)
    store.ensure(paths, site, store.names_here(site), datetime.now(UTC))
    paths.secrets.mkdir(parents=True)
    password = paths.secrets / "bmc-password"
    password.touch(mode=0o600)
    password.write_text("secret\n")
    file = tmp_path / "nodes.yaml"
    specs = [rack.spec(SITE, 1), rack.spec(SITE, 2, ram=2048, firmware=BootMode.UEFI)]
    file.write_text(rack.enrolment(specs, paths, site))
    first, second = load(file, pytest.fail).nodes
    assert first.driver_info() == {
        "redfish_address": f"{site.scheme}://10.29.29.1:8000",
        "redfish_username": "admin",
        "redfish_password": "secret",
        "redfish_verify_ca": str(paths.trusted) if tls else False,
        "redfish_system_id": f"/redfish/v1/Systems/{specs[0].uuid}",
    }
    assert first.ports[0].address == specs[0].macs[0]
    assert second.ironic_properties() == {
        "cpus": 1,
        "memory_mb": 2048,
        "local_gb": 8,
        "cpu_arch": "x86_64",
        "capabilities": "boot_mode:uefi",
    }


def item(**changes: Any) -> dict[str, Any]:
    return {**asdict(rack.spec(SITE, 1)), **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../etc"}, "node ../etc: name cannot be"),
        ({"macs": []}, "macs cannot be"),
        ({"macs": ["52:54:00"]}, "macs cannot be"),
        ({"firmware": "coreboot"}, "firmware cannot be 'coreboot'"),
        ({"bridge": "a-name-that-is-too-long"}, "bridge cannot be"),
        ({"ram": "much"}, "no JSON list of nodes"),
        ({"uuid": "1"}, "no JSON list of nodes"),
    ],
)
def test_rackctl_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(rackctl.RackError, match=message):
        rackctl.parse(json.dumps([item(**changes)]))


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_definition_and_what_is_read_back_agree(firmware: str) -> None:
    (spec,) = rackctl.parse(
        json.dumps([item(firmware=firmware, macs=["52:54:00:00:00:01", "52:54:00:00:00:02"])])
    )
    xml = rackctl.domain_xml(spec)
    seen = rackctl.summary(xml.replace('unit="MiB">1536', 'unit="KiB">1572864'))
    assert {
        key: seen[key] for key in ("name", "uuid", "macs", "cpus", "ram", "firmware", "bridge", "accel")
    } == {
        "name": "rack-1",
        "uuid": spec.uuid,
        "macs": list(spec.macs),
        "cpus": 1,
        "ram": 1536,
        "firmware": firmware,
        "bridge": "provisioning",
        "accel": "tcg",
    }


def test_definition_boots_from_the_network_first_and_logs_its_console() -> None:
    (spec,) = rackctl.parse(json.dumps([item()]))
    domain = ET.fromstring(rackctl.domain_xml(spec))  # noqa: S314
    assert domain.get("type") == "qemu"
    assert [boot.get("dev") for boot in domain.findall("os/boot")] == ["network", "hd"]
    bios = domain.find("os/bios")
    assert bios is not None
    assert bios.attrib == {"useserial": "yes", "rebootTimeout": "5000"}, (
        "a node that nothing booted tries again"
    )
    log = domain.find("devices/serial/log")
    assert log is not None
    assert log.attrib == {"file": "/var/lib/rack/console/rack-1.log", "append": "on"}


def test_names_are_sorted_as_people_count() -> None:
    assert sorted(["rack-10", "rack-9", "a"], key=rackctl._natural) == ["a", "rack-9", "rack-10"]


def test_init_ends_when_one_of_its_own_ends_and_reaps_strangers() -> None:
    children: Any = {}
    init.start(children, "libvirtd", ["sh", "-c", "exit 3"])
    with pytest.raises(init.RackError, match="libvirtd ended with code 3"):
        init.reap(children, block=True)
    stranger = os.fork()
    if not stranger:
        os._exit(0)
    init.reap(children, block=True)
    assert not Path(f"/proc/{stranger}").exists()


def test_init_without_a_secret_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(init, "ROOT", tmp_path)
    monkeypatch.setattr(init, "RUN", tmp_path / "run")
    monkeypatch.setattr(init, "SECRET", tmp_path / "none")
    with pytest.raises(init.RackError, match=r"cannot read the secret .*none: No such file"):
        init.prepare()


def test_init_does_not_share_its_volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(init, "ROOT", tmp_path)
    assert init._can_lock() == ""
    assert "another rack works on the volume" in init._can_lock()


def test_init_waits_with_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "START_SECONDS", 0)
    with pytest.raises(init.RackError, match="waited 0 s in vain for the sun: it is night"):
        init.until("the sun", lambda: "it is night")


class Domain:
    """A node as libvirt's binding shows one, with a will of its own."""

    def __init__(self, name: str, power: str) -> None:
        self._name, self.power, self.on = name, power, True

    def name(self) -> str:
        return self._name

    def shutdown(self) -> None:
        if self.power == "refused":
            raise OSError("Requested operation is not valid: domain is not running")
        self.on = self.power != "obeyed"

    def destroy(self) -> None:
        if self.power == "refused":
            raise OSError("Timed out during operation: cannot acquire state change lock")
        self.on = False


def test_one_node_that_libvirt_refuses_does_not_keep_the_others_from_their_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It ended the whole shutdown before: those after it were switched off without a word to them."""
    powers = ["refused", "obeyed", "ignored", "refused", "obeyed"]
    domains = [Domain(f"rack-{number}", power) for number, power in enumerate(powers)]
    connection = SimpleNamespace(listAllDomains=lambda _: [one for one in domains if one.on])
    init.power_off(connection, {}, 0.3)
    assert [one.on for one in domains] == [True, False, False, True, False]
    said = capsys.readouterr().err
    assert "rack: rack-0: refused: Requested operation is not valid" in said
    assert "rack: rack-2: still on after 0 s, switched off" in said


def test_the_password_s_file_is_whole_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "ROOT", tmp_path)
    monkeypatch.setattr(init, "RUN", tmp_path / "run")
    monkeypatch.setattr(init, "SECRET", tmp_path / "secret")
    monkeypatch.setattr(init, "digest", lambda password: f"digest of {password}")
    init.SECRET.write_text("pw\n")
    init.RUN.mkdir()
    (init.RUN / "htpasswd").write_text("of an earlier start, readable by all")
    (init.RUN / "htpasswd").chmod(0o644)
    init.prepare()
    assert (init.RUN / "htpasswd").read_text() == "admin:digest of pw\n"
    assert (init.RUN / "htpasswd").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in init.RUN.iterdir()] == ["htpasswd"]


@pytest.mark.parametrize(
    ("typed", "reason"), [(b"ver\r\x1dmore", "detached"), (b"", "the node was switched off")]
)
def test_console_copies_until_the_escape_or_the_end(typed: bytes, reason: str) -> None:
    (keyboard, keys), (node, port) = os.pipe(), os.openpty()
    shown, screen = os.pipe()
    tty.setraw(port)
    if typed:
        os.write(node, b"login: ")
        select.select([port], [], [], 10)  # the kernel hands it over in its own time
        os.write(keys, typed)
    else:
        os.close(node)
    assert console.join(keyboard, screen, port) == reason
    if typed:
        assert (os.read(shown, 100), os.read(node, 100)) == (b"login: ", b"ver\r")


@pytest.mark.parametrize(
    ("state", "off"), [("running", True), ("paused", True), ("off", False), ("crashed", False)]
)
def test_a_virtual_node_is_switched_off_hard(
    monkeypatch: pytest.MonkeyPatch, state: str, *, off: bool
) -> None:
    one = rack.spec(SITE, 1)
    listed = [{**asdict(one), "state": state, "disk_used_mib": 1, "console_bytes": 0}]
    docker = Docker(monkeypatch, json.dumps(listed))
    assert rack.switch_off(ENGINE, SITE, {"redfish_system_id": f"/redfish/v1/Systems/{one.uuid}"}) is off
    expected = ["virsh", "destroy", "rack-1"] if off else ["rackctl", "list"]
    assert docker.argv == [*EXEC, "rack.os-in-a-box", *expected]


def test_real_hardware_is_left_on(monkeypatch: pytest.MonkeyPatch) -> None:
    Docker(monkeypatch, "[]")
    assert rack.switch_off(ENGINE, SITE, {"redfish_system_id": "/redfish/v1/Systems/1"}) is False
    assert rack.switch_off(ENGINE, SITE, {"ipmi_address": "192.0.2.7"}) is False


# --- when a console was written to
# --------------------------------------------------------------------------------


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (init, rackctl):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "console").mkdir()
    return tmp_path / "console" / "rack-1.log"


def writes(log: Path, text: str, moment: float) -> None:
    with log.open("a") as file:
        file.write(text)
    os.utime(log, (moment, moment))


def lines(log: Path, count: int = 100) -> list[str]:
    return list(rackctl.timed(log, count).decode().splitlines())


def test_every_line_of_a_console_has_its_time(volume: Path) -> None:
    """The log was read at one time, and all lines that had none of their own got that."""
    known: dict[Path, int] = {}
    writes(volume, "iPXE\n[ 0.0] Linux\n[ 1.", 1_795_852_800.25)
    init.note_time(volume, known)
    init.note_time(volume, known)
    writes(volume, "5] more\nrack-1 ", 1_795_852_867.5)
    init.note_time(volume, known)
    writes(volume, "login: ", 1_795_852_868)
    assert lines(volume) == [
        "2026-11-28T08:00:00.25Z iPXE",
        "2026-11-28T08:00:00.25Z [ 0.0] Linux",
        "2026-11-28T08:00:00.25Z [ 1.5] more",
        "2026-11-28T08:01:07.50Z rack-1 login: ",
    ]
    assert lines(volume, 1) == ["2026-11-28T08:01:07.50Z rack-1 login: "]
    assert volume.with_suffix(".times").read_text() == "\n1795852800.25 22\n1795852867.50 37"


def test_a_rack_goes_on_where_one_before_it_ended(volume: Path) -> None:
    writes(volume, "before any rack looked\n", 1_795_852_800)
    init.note_time(volume, {})
    writes(volume, "while none looked\n", 1_795_852_810)
    init.note_time(volume, {})
    writes(volume, "seen later", 1_795_852_820)
    assert lines(volume) == [
        "2026-11-28T08:00:00.00Z before any rack looked",
        "2026-11-28T08:00:10.00Z while none looked",
        "- seen later",
    ]


def test_the_times_of_a_node_that_is_gone_are_not_those_of_the_next(volume: Path) -> None:
    known: dict[Path, int] = {}
    writes(volume, "of the first, which says much\n", 1_795_852_800)
    init.note_time(volume, known)
    volume.unlink()
    writes(volume, "of the second\n", 1_795_852_900)
    init.note_time(volume, known)
    assert lines(volume) == ["2026-11-28T08:01:40.00Z of the second"]


def test_a_disk_that_was_full_costs_some_times_and_no_more(volume: Path) -> None:
    writes(volume, "one\n", 1_795_852_800)
    init.note_time(volume, {})
    with volume.with_suffix(".times").open("a") as times:
        times.write("\n17958")
    writes(volume, "two\n", 1_795_852_810)
    init.note_time(volume, {})
    writes(volume, "three\n", 1_795_852_820)
    init.note_time(volume, {})
    assert [line.split()[1] for line in lines(volume)] == ["one", "two", "three"]
    assert [line[14:19] for line in lines(volume)] == ["00:00", "00:10", "00:20"]


def test_a_rack_that_knows_no_times_is_asked_without(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[list[str]]()

    def answer(argv: list[str], **_: Any) -> run.Result:
        asked.append(argv)
        return (
            run.Result(2, "", "rackctl: error: unrecognized arguments: --times")
            if "--times" in argv
            else run.Result(0, "x\n", "")
        )

    monkeypatch.setattr(run, "run", answer)
    assert rack.console_log(ENGINE, SITE, "rack-1", lines=5, times=True) == "x\n"
    assert [argv[-1] for argv in asked] == ["--times", "--lines=5"]


def test_ctrl_c_and_sigterm_are_for_the_thread_that_waits() -> None:
    """The looker's thread takes no signal: the rack would not hear that it is to end."""
    masks = list[set[int]]()

    class Looked(Exception):  # noqa: N818 - no error
        pass

    def first_look(_: float) -> None:
        masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        raise Looked

    def look() -> None:
        with pytest.raises(Looked):
            init.note_times()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(init, "time", SimpleNamespace(sleep=first_look))
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert masks == [{signal.SIGTERM, signal.SIGINT}]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
