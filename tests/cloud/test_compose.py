"""Our Compose files, as other versions of Compose than the private engine's read them; their containers."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from osbox import run
from osbox.cloud import compose, stack
from osbox.cloud.changes import Live
from osbox.cloud.compose import ServiceState
from osbox.engine import docker, info
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.images import runspec
from osbox.site import recipes
from osbox.site.site import Paths, Site
from tests.answers import answer
from tests.conftest import PROJECT

FILES = sorted((PROJECT / "compose").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_health_checks_start_interval_comes_with_its_period(file: Path) -> None:
    """Newer Composes refuse the one without the other, though the image has it; Debian 13's takes it."""
    services = yaml.safe_load(file.read_text()).get("services", {})
    checks = {name: service.get("healthcheck", {}) for name, service in services.items()}
    assert [
        name for name, check in checks.items() if "start_interval" in check and "start_period" not in check
    ] == []


def test_nobody_is_free_of_apparmors_profile() -> None:
    """Debian and Ubuntu have docker-default; it denies mount(2), which no service of ours calls."""
    for file in FILES:
        for name, service in (yaml.safe_load(file.read_text()).get("services") or {}).items():
            assert set(service.get("security_opt", [])) <= {"no-new-privileges:true"}, name


def test_images_are_tested_under_the_restraints_of_the_cloud() -> None:
    for name, spec in runspec.load(PROJECT / "compose").items():
        assert "--security-opt=no-new-privileges:true" in spec.options(), name
        assert "SYS_ADMIN" not in spec.capabilities, name


STARTED = "2026-11-23T09:12:02.304529396Z"


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with one container of a cloud, and one that Compose was interrupted with."""
    there = info.container(answer("container")[0])
    renamed = replace(there, name="36edfdff24ae_keystone.os-in-a-box")
    monkeypatch.setattr(docker, "ids", lambda *_: [there.name, renamed.name])
    monkeypatch.setattr(
        docker, "containers", lambda _, *names: [one for one in (there, renamed) if one.name in names]
    )
    return Engine("host", "26")


def test_what_is_seen_of_a_service(running: Engine) -> None:
    state = ServiceState("keystone", "running", "unhealthy", "os-keystone:latest", STARTED, "36edfdff24ae", 4)
    assert compose.observe(running, Site(), "keystone") == {"keystone": state}
    assert compose.observe(running, Site(), "mysql") == {}


def test_a_container_is_known_by_its_service_or_else_by_its_name(running: Engine) -> None:
    found = compose.live(running, Site())
    assert list(found) == ["keystone", "36edfdff24ae_keystone.os-in-a-box"]
    assert found["keystone"] == Live(
        "keystone",
        info.container(answer("container")[0]).id,
        "running",
        STARTED,
        info.image(answer("image")[0]).id,
        "4bb46517cac3",
        release="2026.1",
    )


def test_a_cloud_goes_down_when_no_file_can_be_written(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose reads a copy of our files, for which a full disk has no room; purging is what would free it."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    paths.home.mkdir(parents=True)
    paths.stack_env.write_text("OSBOX_LISTEN=\n")
    removed = list[tuple[str, ...]]()
    monkeypatch.setattr(recipes, "compose", full)
    monkeypatch.setattr(docker, "ids", lambda _, kind, *__: [f"a-{kind}"])
    monkeypatch.setattr(docker, "network_ids", lambda *_: ["7d86d31b1478"])
    monkeypatch.setattr(docker, "docker", lambda _, *words: removed.append(words))
    private = Engine("private", "26", ("nsenter",))
    assert stack.down(paths, Site(), private, volumes=True) == ["container a-container", "volume a-volume"]
    assert removed == [
        ("rm", "--force", "a-container"),
        ("network", "rm", "7d86d31b1478"),
        ("volume", "rm", "a-volume"),
    ]


def test_a_compose_that_finds_no_chain_says_whose_doing_that_is(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the machine's own Docker: "Compose could not start the containers", `Next: osbox status`."""
    said = (
        "Error response from daemon: driver failed programming external connectivity on endpoint"
        " nova-api.os-in-a-box: (iptables failed: iptables --wait -t nat -A DOCKER -p tcp -j DNAT:"
        " iptables: No chain/target/match by that name.\n (exit status 1))\n"
    )
    monkeypatch.setattr(compose, "argv", lambda *_, **__: ["docker"])
    monkeypatch.setattr(run, "run", lambda *_, **__: run.Result(1, "", said))
    with pytest.raises(Error, match="something flushed the packet filter") as caught:
        compose.up(Engine("host", "26"), paths, rack=False)
    assert "systemctl restart docker" in caught.value.hint
