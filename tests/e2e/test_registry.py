"""A real registry (Debian's docker-registry, unpacked, on loopback): push to it, and stand on a Debian that
comes from it."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from osbox import run
from osbox.build import debian
from tests.deadlines import waited
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import HOME

pytestmark = pytest.mark.e2e

VERSION = "push-check"
# What bcrypt makes of the password "push-check": htpasswd is not on every machine.
USER, PASSWORD, HASHED = "box", "push-check", "$2b$05$abcdefghijklmnopqrstuu/hgdFwj9jBYCqIvedk8C2t4MVkg1DJu"
PROGRAM = "usr/bin/docker-registry"
CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {data}}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""
AUTH = "auth: {{htpasswd: {{realm: check, path: {file}}}}}"


@dataclass(frozen=True)
class Registry:
    """A registry that runs; data is where it keeps its images."""

    host: str
    data: Path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program from Debian's package; nothing is installed."""
    place = tmp_path_factory.mktemp("docker-registry")
    with waited("registry's package", within=300):
        if run.run(["apt-get", "download", "-q", "docker-registry"], cwd=place, check=False).code != 0:
            run.run(["apt-get", "update", "-q"])
            run.run(["apt-get", "download", "-q", "docker-registry"], cwd=place)
        [package] = place.glob("*.deb")
        run.run(["dpkg-deb", "-x", str(package), str(place)])
    return place / PROGRAM


@contextmanager
def serving(program: Path, place: Path, passwords: str = "") -> Iterator[Registry]:
    place.mkdir()
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (place / "htpasswd").write_text(passwords)
    auth = AUTH.format(file=place / "htpasswd") if passwords else ""
    (place / "config.yml").write_text(CONFIG.format(data=place / "data", port=port, auth=auth))
    with (
        (place / "log").open("w") as log,
        run.spawn(
            [str(program), "serve", str(place / "config.yml")], stdout=log.fileno(), stderr=log.fileno()
        ),
    ):
        deadline = time.monotonic() + 20
        while True:
            with closing(socket.socket()) as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline, (place / "log").read_text()
            time.sleep(0.1)
        yield Registry(f"localhost:{port}", place / "data")


@pytest.fixture(scope="module")
def registry(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(program, tmp_path_factory.mktemp("registry") / "open") as found:
        yield found


@pytest.fixture(scope="module")
def images(osbox: Tool) -> Iterator[Tool]:
    """os-base-image and os-memcached under a version of the test's own."""
    osbox("build", "memcached", "--version", VERSION)
    yield osbox
    osbox("clean", "base-image", "memcached", "--version", VERSION)


def engine(*words: str, code: int = 0) -> str:
    result = run.run(
        [Tool.program, "engine", "shell", "--", *words], env=ENVIRONMENT, timeout=300, check=False
    )
    assert result.code == code, result.err
    return result.out


def tags() -> set[str]:
    return set(engine("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())


def retag(source: str, target: str) -> None:
    engine("docker", "tag", source, target)


def test_push(images: Tool, registry: Registry) -> None:
    before = tags()
    text = images("push", f"{registry.host}/cloud", "base-image", "memcached", "--version", VERSION)
    found = dict(re.findall(r"📦  (\S+) - Done: (sha256:[0-9a-f]{64})", text))
    assert set(found) == {
        f"{registry.host}/cloud/os-{name}:{VERSION}" for name in ("base-image", "memcached")
    }
    for name, digest in found.items():
        repository = (
            registry.data / "docker/registry/v2/repositories" / name.partition("/")[2].partition(":")[0]
        )
        assert (repository / f"_manifests/tags/{VERSION}/current/link").read_text() == digest
    assert tags() == before, "the tags of the push are gone"
    again = images("push", f"{registry.host}/cloud", "base-image", "memcached", "--version", VERSION)
    assert dict(re.findall(r"(\S+) - Was there: (\S+)", again)) == found


def test_other_content_is_replaced_only_when_asked(images: Tool, registry: Registry) -> None:
    place, tag = f"{registry.host}/other", f"os-memcached:{VERSION}"
    images("push", place, "base-image", "--version", VERSION)
    retag(f"os-base-image:{VERSION}", f"{place}/{tag}")
    engine("docker", "push", "--quiet", f"{place}/{tag}")
    engine("docker", "image", "rm", f"{place}/{tag}")
    text = images("push", place, "memcached", "--version", VERSION, code=2)
    assert f"these tags are there with other content: {place}/{tag}" in text
    assert "--replace" in text
    assert f"{place}/{tag} - Done: sha256:" in images(
        "push", place, "memcached", "--version", VERSION, "--replace"
    )


def test_login(images: Tool, program: Path, tmp_path: Path) -> None:
    """The user's own login reaches the private engine's client, and is not kept there."""
    config = tmp_path / "config"
    with serving(program, tmp_path / "closed", passwords=f"{USER}:{HASHED}\n") as closed:
        text = images("push", closed.host, "memcached", "--version", VERSION, code=2)
        assert f"the registry {closed.host} wants a login" in text
        assert f"osbox engine shell -- docker login {closed.host}" in text
        config.mkdir()
        secret = run.run(["base64"], input=f"{USER}:{PASSWORD}").out.strip()
        (config / "config.json").write_text(json.dumps({"auths": {closed.host: {"auth": secret}}}))
        result = run.run(
            [Tool.program, "push", closed.host, "memcached", "--version", VERSION],
            env=ENVIRONMENT | {"DOCKER_CONFIG": str(config)},
        )
        assert "📦" in result.out
    kept = run.run(
        ["grep", "-rlF", secret, str(HOME / "tmp"), str(HOME / "engine/root/root"), str(HOME / "logs")],
        check=False,
    )
    assert kept.out == ""


def test_registries_that_cannot_be_had(images: Tool) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        text = images("push", f"localhost:{port}", "memcached", "--version", VERSION, code=1)
    assert f"the registry localhost:{port} does not answer as it should" in text
    assert "connection refused" in text
    assert "there is no host registry.invalid" in images(
        "push", "registry.invalid", "memcached", "--version", VERSION, code=2
    )
    assert "user is not the name of a registry" in images("push", "user", "memcached", code=2)
    assert "images are not built: os-memcached:never" in images(
        "push", "localhost:1", "memcached", "--version", "never", code=2
    )


def test_debian_from_a_registry(images: Tool, registry: Registry) -> None:
    """Images that stand on it have the very files of those that stand on a Debian made here; the label tells
    the difference."""
    name, kept = f"{registry.host}/debian:trixie", "osbox-debian:kept"
    before = layers(f"os-memcached:{VERSION}")
    retag(debian.TAG, name)
    engine("docker", "push", "--quiet", name)
    retag(debian.TAG, kept)
    engine("docker", "image", "rm", name, debian.TAG)
    try:
        environment = ENVIRONMENT | {"OSBOX_DEBIAN": name}
        result = run.run(
            [Tool.program, "-v", "build", "memcached", "--version", VERSION], env=environment, timeout=600
        )
        assert f"Fetch the Debian base image {name}" in result.err
        assert "mmdebstrap" not in result.err
        assert label(debian.TAG) == name
        assert layers(debian.TAG) == layers(kept)
        assert layers(f"os-memcached:{VERSION}") == before, "the same Debian: nothing is built anew"
        assert label(f"os-base-image:{VERSION}") != name
        images("clean", "base-image", "memcached", "--version", VERSION)
        run.run([Tool.program, "build", "memcached", "--version", VERSION], env=environment, timeout=600)
        assert label(f"os-base-image:{VERSION}") == name
        assert layers(f"os-memcached:{VERSION}") == before
        assert engine(
            "docker", "run", "--rm", "--entrypoint", "memcached", f"os-memcached:{VERSION}", "--version"
        ).startswith("memcached")
        wrong = run.run(
            [Tool.program, "build", "memcached"],
            env=ENVIRONMENT | {"OSBOX_DEBIAN": f"{registry.host}/debian:no"},
            check=False,
        )
        assert wrong.code == 2
        assert f"the Debian base image {registry.host}/debian:no could not be fetched" in wrong.err
        assert label(debian.TAG) == name, "what was there stays"
    finally:
        retag(kept, debian.TAG)
        engine("docker", "image", "rm", kept)


def layers(tag: str) -> list[str]:
    return list(json.loads(engine("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", tag)))


def label(tag: str) -> str:
    return engine(
        "docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{debian.SOURCE}"}}}}', tag
    ).strip()
