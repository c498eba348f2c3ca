"""What a person's environment says of other things reaches neither our engine nor our cloud."""

import os
from pathlib import Path

import pytest
from keystoneauth1.session import Session

from osbox import environment, run
from osbox.cloud import credentials, sessions
from osbox.engine import engine, host
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.site.site import Paths, Site

STRANGE = {
    "DOCKER_HOST": "tcp://127.0.0.1:9",
    "DOCKER_CONTEXT": "elsewhere",
    "COMPOSE_PROJECT_NAME": "other",
    "COMPOSE_FILE": "/other.yaml",
    "BUILDX_BUILDER": "remote",
}
SEEN = ["sh", "-c", "env | cut -d= -f1 | grep -E '^(DOCKER|COMPOSE|BUILDX)_' | sort"]


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**STRANGE, "DOCKER_CONFIG": "/of/a/person"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("private", ["DOCKER_CONFIG"]),
        ("host", ["BUILDX_BUILDER", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST"]),
    ],
)
def test_the_engines_client_sees_what_is_meant_for_it(strange: None, kind: str, left: list[str]) -> None:
    assert run.run(Engine(kind, "26").argv(*SEEN)).out.split() == left


def test_nothing_is_put_before_a_command_when_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in STRANGE:
        monkeypatch.delenv(name, raising=False)
    assert environment.client("private") == []
    assert Engine("private", "26", ("nsenter",)).argv("docker") == ["nsenter", "docker"]


DOCKER = """#!/bin/sh
if [ "$1" = --host ]; then
    [ "$2" = unix:///var/run/docker.sock ] || exit 1
    unset DOCKER_HOST DOCKER_CONTEXT
    shift 2
    [ "$1" != version ] || { [ -n "$LOCAL" ] && echo "\\"$LOCAL\\""; exit; }
fi
case "$1" in
    version) echo '"28.2.2"' ;;
    context) echo "${DOCKER_HOST:-unix:///var/run/docker.sock}" ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reaches a recent engine, wherever DOCKER_HOST says."""
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in STRANGE:
        monkeypatch.delenv(name, raising=False)


def test_an_engine_elsewhere_is_refused_by_name(
    docker: None, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(engine="host")
    found = engine.find(paths, site)
    assert found
    assert (found.kind, found.version) == ("host", "28.2.2")
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")
    assert engine.find(paths, site) is None
    with pytest.raises(
        UserError,
        match=r"Docker's client is set to tcp://build\.example:2376, which is another machine's engine",
    ):
        engine.start(paths, site)
    host.refuse_beside_old()  # that one is not beside ours


@pytest.mark.parametrize("variable", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_an_old_engine_here_is_seen_whatever_the_client_is_set_to(
    docker: None, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A private one beside it would rewrite its firewall chains."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")
    monkeypatch.setenv(variable, "tcp://build.example:2376")
    host.refuse_beside_old()
    monkeypatch.setenv("LOCAL", "28.2.2")
    host.refuse_beside_old()
    monkeypatch.setenv("LOCAL", "20.10.24")
    with pytest.raises(Error, match=r"Docker 20\.10\.24 runs on this machine"):
        host.refuse_beside_old()


@pytest.mark.usefixtures("home")
def test_sessions_use_no_proxy(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    made: Session = sessions.log_in(paths, Site(), "admin", "x", {})
    assert not made.session.trust_env
    told = credentials.client_environment(paths, "x")
    assert (told["http_proxy"], told["HTTPS_PROXY"], told["no_proxy"]) == ("", "", "*")
