"""The doctor's pure parts: logs, containers, clocks; and that one broken check does not hide the others."""

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osbox import doctor, run
from osbox.cli import execute
from osbox.cloud.services import SERVICES
from osbox.doctor import (
    accelerator,
    clock,
    finding,
    journals,
    logscan,
    machine,
    names,
    services,
    subnets,
    wires,
)
from osbox.doctor.finding import Facts, Finding, ok
from osbox.engine import asking, rules
from osbox.engine import engine as engines
from osbox.engine.engine import Engine
from osbox.engine.info import ContainerInfo, State
from osbox.errors import Error
from osbox.network import converge as net
from osbox.network.values import Link, NetState
from osbox.site import deployments
from osbox.site.site import Paths, Site

STAMP = "2026-11-23T07:38:12.123456789Z"
OSLO = "2026-11-23 07:38:12.123 7"


def lines(*texts: str) -> list[str]:
    return [f"{STAMP} {text}" for text in texts]


def seen(*texts: str) -> list[tuple[int, str]]:
    return [(group.count, group.text) for group in logscan.groups("nova-api", lines(*texts), ())]


def test_a_traceback_of_oslo_is_one_error() -> None:
    assert seen(
        f"{OSLO} INFO nova.api [None req-1] no ERROR here",
        f"{OSLO} ERROR nova.api [None req-0a6f8a0e-9e2c-4a55-8d3a-1d2b0c1f7a11 - - -] Unexpected: OSError:"
        " gone",
        f"{OSLO} ERROR nova.api Traceback (most recent call last):",
        f'{OSLO} ERROR nova.api   File "x.py", line 3, in f',
        f"{OSLO} ERROR nova.api OSError: gone",
        f"{OSLO} ERROR nova.api ",
    ) == [(1, "Unexpected: OSError: gone")]


def test_a_plain_traceback_is_told_by_its_exception() -> None:
    assert seen(
        "Traceback (most recent call last):",
        '  File "x.py", line 1',
        "    f()",
        "ValueError: no",
        "next line",
    ) == [(1, "ValueError: no")]


def test_the_same_but_for_numbers_is_counted() -> None:
    text = "{} ERROR nova.api [-] instance 0a6f8a0e-9e2c-4a55-8d3a-1d2b0c1f7a1{} at 10.0.0.{}"
    assert seen(text.format(OSLO, 1, 1), text.format(OSLO, 2, 22)) == [
        (2, "instance 0a6f8a0e-9e2c-4a55-8d3a-1d2b0c1f7a11 at 10.0.0.1")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23  7:38:10 0 [ERROR] mariadbd: out of memory",
        "2026-11-23 07:38:10.1+00:00 [error] <0.1.0> closing",
        "2026/11/23 07:38:10 [crit] 7#7: x",
        "2026-11-23T07:38:10.100Z|00012|dpif|ERR|no device",
        "[2026-11-23 07:38:10 +0000] [7] [ERROR] Worker died",
    ],
)
def test_every_service_has_words_of_its_own(text: str) -> None:
    assert len(seen(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '2026-11-23T07:38:10+00:00 10.0.0.1 "GET /error HTTP/1.1" 200 12',
        "INFO errors: 0",
        "no ERRORS",
        "[warning] x",
    ],
)
def test_what_is_no_error(text: str) -> None:
    assert seen(text) == []


def test_a_known_line_is_told_apart() -> None:
    known = logscan.read_harmless('[[line]]\nservice = "nova-api"\npattern = "gone"\nreason = "why"\n')
    groups = logscan.groups("nova-api", lines("[ERROR] gone"), known)
    assert groups[0].harmless == "why"
    assert logscan.groups("other", lines("[ERROR] gone"), known)[0].harmless == ""


def test_the_list_of_harmless_lines_is_of_our_services_with_reasons() -> None:
    for item in journals.harmless():
        assert item.service in (*SERVICES, "rack")
        assert item.reason


def facts(tmp_path: Path, containers: dict[str, ContainerInfo] | None = None) -> Facts:
    return Facts(Paths(tmp_path, tmp_path), Site(), Paths(tmp_path, tmp_path), containers=containers or {})


def container(
    status: str = "running", health: str = "healthy", *, oom_killed: bool = False, **more: Any
) -> ContainerInfo:
    state = State(
        status, exit_code=3, oom_killed=oom_killed, started_at=STAMP, health=health, health_log=("said",)
    )
    return ContainerInfo("1", "x", "os-x:latest", "sha256:1", state, **more)


def test_containers(tmp_path: Path) -> None:
    well = {name: container() for name in SERVICES}
    assert [one.level for one in services.check_services(facts(tmp_path, well))] == ["ok"]
    bad = {
        **well,
        "mysql": container("exited", oom_killed=True),
        "keystone": container(health="unhealthy"),
        "nova-api": container(restart_count=4),
        "glance-api": container(health="starting"),
    }
    del bad["rabbitmq"]
    found = {one.what: one.level for one in services.check_services(facts(tmp_path, bad))}
    assert found == {
        "rabbitmq has no container": "error",
        "mysql does not run: exited, killed for lack of memory": "error",
        "keystone is unhealthy": "error",
        "nova-api was started again 4 times by the engine": "warning",
        "glance-api has not been healthy since it started": "warning",
    }


def test_a_clock_before_the_release_is_wrong(tmp_path: Path) -> None:
    labels = {"org.opencontainers.image.created": "2099-01-01T00:00:00+00:00"}
    found = list(clock.check_clock(facts(tmp_path, {"mysql": container(labels=labels)})))
    assert "this machine's clock is wrong" in found[0].what
    assert found[0].level == "error"


def test_how_far_clocks_are_apart() -> None:
    now = time.time()
    assert clock._apart(now, now - 0.1) == 0
    assert round(clock._apart(now + 60, now)) == 60
    assert round(clock._apart(now - 61, now)) == -60


def test_memory_and_disk_against_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CLOUD_BYTES", 1 << 60)
    assert [one.level for one in machine.check_memory(facts(tmp_path))] == ["error"]
    assert [one.level for one in machine.check_memory(facts(tmp_path, {"mysql": container()}))] in (
        ["ok"],
        ["warning"],
    )
    monkeypatch.setattr("osbox.engine.engine.MIN_FREE_BYTES", 1 << 60)
    assert [one.level for one in machine.check_disk(facts(tmp_path))] == ["error"]
    (tmp_path / "engine" / "data").mkdir(parents=True)
    monkeypatch.setattr(machine, "LOW_DISK_BYTES", 1 << 60)
    assert [one.level for one in machine.check_disk(facts(tmp_path))] == ["warning"]


def test_an_unknown_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osbox.site.sources.proxy_args", dict)
    monkeypatch.setattr("osbox.site.sources.apt_mirrors", lambda: ["http://mirror.invalid/debian"])
    monkeypatch.setattr("osbox.site.sources.pip_settings", lambda: {"index-url": "http://localhost/simple"})
    found = list(names.check_host(facts(tmp_path)))
    assert [(one.level, "invalid" in one.what) for one in found] == [("ok", False), ("warning", True)]


def test_one_check_that_fails_does_not_hide_the_others(tmp_path: Path) -> None:
    def breaks(_: Facts) -> Iterator[Finding]:
        yield ok("never told")
        raise RuntimeError("oops")

    def tells(_: Facts) -> Iterator[Finding]:
        raise Error("no engine", hint="osbox up")

    found = doctor.examine(facts(tmp_path), {"a": breaks, "b": tells, "c": lambda _: [ok("fine")]})
    assert [(one.check, one.level) for one in found] == [("a", "warning"), ("b", "error"), ("c", "ok")]
    assert "RuntimeError: oops" in found[0].evidence
    assert found[1].next == "osbox up"


SILENT = asking.SilentError("the container engine gave no answer within 120 s", hint="osbox engine status")


@pytest.mark.parametrize(
    "late", [SILENT, run.LateError("docker did not end within 5 s", evidence="$ docker")]
)
def test_who_gives_no_answer_in_time_has_told_nothing(tmp_path: Path, late: Error) -> None:
    """It was an error of what was asked for, and what the check had found before was lost."""

    def hangs(_: Facts) -> Iterator[Finding]:
        yield ok("some of it")
        yield finding.error("something is wrong", "", "osbox up")
        raise late

    found = doctor.examine(facts(tmp_path), {"clock": hangs})
    assert [(one.level, one.what) for one in found] == [
        ("error", "something is wrong"),
        ("warning", "clock: not looked at"),
    ]
    assert late.message in found[1].evidence
    assert found[1].next


@pytest.mark.parametrize("wrong", [SILENT, Error("the container engine gave no answer", hint="osbox up")])
def test_an_engine_that_tells_nothing_of_its_containers_ends_no_doctor(
    paths: Paths, wrong: Error, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> dict[str, ContainerInfo]:
        raise wrong

    monkeypatch.setattr(finding, "containers", silent)
    known = doctor.look(paths, Site(), paths, lambda: Engine("host", "28"))
    assert [one.what for one in machine.check_engine(known)] == [wrong.message]
    checks = {name: doctor.CHECKS[name] for name in ("ports", "memory", "services", "database", "logs")}
    told = [(one.level, one.what) for one in doctor.examine(known, checks)]
    assert told == [("warning", f"{name}: not looked at") for name in checks], (
        "there was no cloud, memory was short for one, and of the rest nothing was said"
    )
    monkeypatch.setattr(accelerator, "DEVICE", tmp := paths.home / "kvm")
    tmp.parent.mkdir()
    tmp.touch()
    [unseen] = accelerator.check_accelerator(known)
    assert unseen.what == "accelerator: not looked at", "it said that there was no image"


def test_one_log_that_does_not_come_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: Facts, service: str) -> list[str]:
        if service == "mysql":
            raise run.LateError("docker did not end within 8 s")
        return lines(f"{OSLO} ERROR nova.api [-] lost")

    monkeypatch.setattr(journals, "_lines", read)
    here = facts(tmp_path, {"mysql": container(), "nova-api": container()})
    at = replace(here, engine=Engine("host", "28"))
    assert [(one.level, one.what) for one in journals.check_logs(at)] == [
        ("warning", "the log of mysql: not looked at"),
        ("warning", "nova-api has told of 1 error since it started"),
    ]


def test_a_network_that_is_not_looked_at_is_not_wrong(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error said that the network was not as it should be."""

    def silent(*_: object) -> NetState:
        raise SILENT

    monkeypatch.setattr(net, "observe", silent)
    monkeypatch.setattr(wires, "_connected", lambda _: True)
    here = facts(paths.home, {"neutron-network": container()})
    [one] = doctor.examine(here, {"network": wires.check_connected})
    assert (one.level, one.what) == ("warning", "network: not looked at")


def test_a_flushed_packet_filter_is_told_as_such(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was "no chain DOCKER-USER … see daemon.json", and the next command did not help."""
    monkeypatch.setattr(rules, "swept", lambda *_: True)
    monkeypatch.setattr(rules, "is_kept", lambda *_: True)
    at = Engine("private", "26", ("nsenter",))
    well, lost = machine.check_engine(Facts(paths, Site(), paths, at))
    assert well.level == "ok"
    assert "something flushed the packet filter" in lost.what
    assert lost.next == "osbox up puts them back"

    def gone(_: object) -> NetState:
        return NetState(pid=7, chain=False, swept="private")

    monkeypatch.setattr(net, "observe", gone)
    monkeypatch.setattr(wires, "_connected", lambda _: True)
    running = {"neutron-network": ContainerInfo("1", "a", "b", "c", State("running"))}
    [wrong] = wires.check_connected(Facts(paths, Site(), paths, at, running))
    assert "something flushed the packet filter" in wrong.evidence
    assert wrong.next == "osbox up puts them back"


STUBBORN = """
import time
from pathlib import Path
from osbox import doctor
from osbox.site.site import Paths, Site
def check(facts):
    print("begun", flush=True)
    time.sleep(60)
    return []
paths = Paths(Path("/nonexistent"), Path("/nonexistent"))
doctor.examine(doctor.Facts(paths, Site(), paths), {"stubborn": check})
"""


def test_ctrl_c_is_heard_while_a_check_hangs() -> None:
    with run.spawn([sys.executable, "-c", STUBBORN], stdout=-1, stderr=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(70) != 0
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize("name", ["os-in-a-box", "lab"])
def test_the_engines_subnet_is_set_in_the_file_of_the_deployment_without_a_name(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """With --name, plan and doctor told to set it where it does not count."""
    taken = Link(name="vpn0", addresses=("10.29.27.9/24",))

    def observe(doors: net.Doors) -> NetState:
        file = doors.ledger.file.with_name("site.toml")
        return NetState(site=doors.site, links=(taken,), file=str(file))

    monkeypatch.setattr(net, "observe", observe)
    monkeypatch.setattr(engines, "find", lambda *_: None)
    own = deployments.paths(paths, name) if name != "os-in-a-box" else paths
    site = deployments.site(paths, Site(), name, lambda _: True) if own != paths else Site()
    [one] = subnets.check_subnets(Facts(own, site, paths))
    assert one.next.endswith(f'engine_subnet = "10.29.0.0/24" in {paths.site_toml}')
    assert execute(["--name", name, "plan"]) == 2
    assert f'engine_subnet = "10.29.0.0/24" in {paths.site_toml}' in " ".join(capsys.readouterr().err.split())
