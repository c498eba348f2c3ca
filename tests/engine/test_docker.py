"""What is asked of Docker, with a client of the test's own on PATH: it prints what Docker 26 prints."""

import ast
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from osbox import files
from osbox.cloud import compose
from osbox.engine import asking, docker, engine, host, lostports
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.images.runspec import RunSpec
from osbox.images.sandbox import Sandbox
from osbox.site.site import Paths, Site
from tests.answers import CASES

ENGINE = Engine("host", "26")
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
CLIENT = """\
#!/bin/sh
echo "$@" >>{0}/asked
cat {0}/out
cat {0}/err >&2
exit "$(cat {0}/code)"
"""
Client = Callable[..., Path]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Has a client that prints this; returns the file of what it was asked."""
    program = tmp_path / "docker"
    program.write_text(CLIENT.format(tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def prints(out: str = "[]\n", err: str = "", code: int = 0) -> Path:
        for name, text in (("out", out), ("err", err), ("code", str(code))):
            (tmp_path / name).write_text(text)
        return tmp_path / "asked"

    return prints


def absent(kind: str, *names: str) -> str:
    return "".join(f"Error response from daemon: No such {kind}: {name}\n" for name in names)


def test_an_image_has_a_place_for_each_tag_that_was_asked_for(client: Client) -> None:
    asked = client((CASES / "image.json").read_text(), absent("image", "os-nova-api:latest"), 1)
    found = docker.images(ENGINE, "os-nova-api:latest", "os-keystone:latest")
    assert asked.read_text() == "image inspect os-nova-api:latest os-keystone:latest\n"
    assert list(found) == ["os-keystone:latest"]
    assert found["os-keystone:latest"].labels["io.osbox.release"] == "2026.1"


def test_one_image_by_any_name(client: Client) -> None:
    client((CASES / "image.json").read_text())
    found = docker.image(ENGINE, "sha256:3f45684e")
    assert found
    assert found.tags[0] == "os-keystone:latest"


def test_containers(client: Client) -> None:
    client((CASES / "container.json").read_text(), absent("container", "b"), 1)
    assert [one.name for one in docker.containers(ENGINE, "keystone.os-in-a-box", "b")] == [
        "keystone.os-in-a-box"
    ]


def test_what_is_not_there_is_left_out(client: Client) -> None:
    client(err=absent("image", "a"), code=1)
    assert docker.image(ENGINE, "a") is None
    assert docker.images(ENGINE, "a") == {}
    client(err=absent("container", "a"), code=1)
    assert docker.container(ENGINE, "a") is None
    assert docker.containers(ENGINE, "a") == []


def test_nothing_is_asked_for_nothing(client: Client) -> None:
    asked = client(err=DOWN, code=1)
    assert docker.images(ENGINE) == {}
    assert docker.containers(ENGINE) == []
    assert not asked.exists()


NO_ANSWER = {
    "the engine is down": ("[]\n", DOWN, 1),
    "nobody may ask it": (
        "[]\n",
        "permission denied while trying to connect to the Docker daemon socket\n",
        1,
    ),
    "it ended in between": ("[]\n", absent("image", "b") + "error during connect: EOF\n", 1),
    "the client was killed": ("", "", 137),
    "the engine's processes are gone": (
        "",
        "nsenter: cannot open /proc/9/ns/mnt: No such file or directory",
        1,
    ),
    "no JSON": ("<html>502 Bad Gateway</html>", "", 0),
    "half of it": ('[{"Id": "sha', "", 0),
    "no list": ('{"message": "page not found"}', "", 0),
    "something else": ('[{"Id": "a"}, {"Id": "b"}]', "", 0),
    "not even objects": ('["a", "b"]', "", 0),
}


@pytest.mark.parametrize("case", NO_ANSWER)
def test_no_answer_is_not_taken_for_nothing(client: Client, case: str) -> None:
    out, err, code = NO_ANSWER[case]
    client(out, err, code)
    for ask in (
        lambda: docker.images(ENGINE, "a", "b"),
        lambda: docker.containers(ENGINE, "a", "b"),
        lambda: asking.networks(["docker"], ["a", "b"]),
    ):
        with pytest.raises(Error, match="the container engine gave no answer") as caught:
            ask()
        assert "inspect a b" in caught.value.evidence
        assert (err or out)[:60].strip() in caught.value.evidence
        assert caught.value.hint


TWINS = """\
#!/bin/sh
case "$*" in
"network ls"*Name*) echo shop; echo shop ;;
"network ls"*) echo 1111; echo 2222 ;;
*shop*) echo 'Error response from daemon: network shop is ambiguous (2 matches found on name)' >&2; exit 1 ;;
"network inspect 1111 2222") cat {0} ;;
esac
"""


def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose engine has two networks of one name, made long ago with bits of a host in the subnet."""
    found = [
        {
            "Id": f"{n}" * 4,
            "Name": "shop",
            "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": f"10.{n}.0.5/24"}]},
        }
        for n in (1, 2)
    ]
    (tmp_path / "answer.json").write_text(json.dumps(found))
    (tmp_path / "docker").write_text(TWINS.format(tmp_path / "answer.json"))
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_two_networks_may_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were asked for by name, to which Docker gives no answer: no command went on."""
    twins(tmp_path, monkeypatch)
    assert [one.subnets for one in docker.networks(ENGINE)] == [("10.1.0.5/24",), ("10.2.0.5/24",)]


def test_a_subnet_with_the_bits_of_a_host_holds_its_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was a ValueError, and so a defect of osbox, when the engine was started."""
    twins(tmp_path, monkeypatch)
    lost = lostports.Proxy(1, "tcp", "0.0.0.0", "80", "10.2.0.9")
    monkeypatch.setattr(lostports, "find", lambda *_: [lost])
    monkeypatch.setattr(lostports, "_ids", lambda *_: ["1111", "2222"])
    monkeypatch.setattr(lostports, "_docker", lambda _: ["docker"])
    assert lostports.remove(Paths(tmp_path, tmp_path), []) == []
    assert "Docker's network shop holds ports" in " ".join(capsys.readouterr().err.split())


def test_ports_are_not_lost_because_the_engine_gives_no_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Taken for "no container", it had every proxy's network removed, and its containers."""
    monkeypatch.setattr(
        lostports, "_proxies", lambda _: [lostports.Proxy(1, "tcp", "0.0.0.0", "80", "10.0.0.2")]
    )
    monkeypatch.setattr(lostports, "_ids", lambda *_: ["a"])
    client(err=DOWN, code=1)
    with pytest.raises(Error, match="the container engine gave no answer"):
        lostports.find(Paths(tmp_path, tmp_path), [])


# --- a person's settings of the client

SEES = """\
#!/bin/sh
cat "$DOCKER_CONFIG/config.json"
echo
ls "$DOCKER_CONFIG"
echo "$DOCKER_CONFIG" >{0}/place
"""
LOGINS = {"auths": {"registry.example": {"auth": "eDp5"}}, "currentContext": "here"}
PROXIES = {"proxies": {"default": {"httpProxy": "http://127.0.0.1:9"}}}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's settings, with a plug-in; and a client that shows those that it is given."""
    place, program = tmp_path / "settings", tmp_path / "docker"
    (place / "cli-plugins").mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(LOGINS | PROXIES))
    program.write_text(SEES.format(tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("DOCKER_CONFIG", str(place))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return place


def test_containers_are_made_without_a_persons_proxies(settings: Path, paths: Paths, tmp_path: Path) -> None:
    """Services would ask the proxy for one another."""
    files.write(paths.stack_env, "OSBOX_LISTEN=\n")
    seen = compose._bring_up(ENGINE, paths, rack=False).out.splitlines()
    assert json.loads(seen[0]) == LOGINS
    assert seen[1:] == ["cli-plugins", "config.json"]
    place = Path((tmp_path / "place").read_text().strip())
    assert place != settings
    assert not place.exists(), "logins are left on the disk"


def test_containers_of_the_tests_too(settings: Path, tmp_path: Path) -> None:
    seen = Sandbox(ENGINE, tmp_path / "scratch").run("x", RunSpec(), []).out
    assert "proxies" not in seen
    assert "registry.example" in seen


@pytest.mark.parametrize(
    "text", [json.dumps(LOGINS), "{", "[]", None], ids=["none", "broken", "a list", "no file"]
)
def test_settings_without_proxies_are_used_as_they_are(
    settings: Path, tmp_path: Path, text: str | None
) -> None:
    (settings / "config.json").unlink()
    if text is not None:
        (settings / "config.json").write_text(text)
    with docker.direct(ENGINE, tmp_path / "scratch") as env:
        assert env == {}


def test_the_private_engines_client_sees_no_settings_of_a_person(settings: Path, tmp_path: Path) -> None:
    with docker.direct(Engine("private", "26"), tmp_path / "scratch") as env:
        assert env == {}


# --- an engine that is there and says nothing
# --------------------------------------------------------------------------------


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for a hung dockerd, as the real one does: for ever."""
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(asking, "SECONDS", 0.3)
    monkeypatch.setattr(host, "ANSWER_SECONDS", 0.3)


QUESTIONS: dict[str, Callable[[], object]] = {
    "images": lambda: docker.images(ENGINE, "a"),
    "containers": lambda: docker.containers(ENGINE, "a"),
    "networks": lambda: asking.networks(["docker"], ["a"]),
    "names": lambda: docker.ids(ENGINE, "volume"),
    "logs": lambda: docker.ask(ENGINE, "logs", "a", check=False),
    "ports": lambda: lostports._ids((), "container"),
    "its version": lambda: host.server_version("private", ()),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_every_question_has_a_deadline(silent: None, ask: Callable[[], object]) -> None:
    begin = time.monotonic()
    with pytest.raises(asking.SilentError, match="gave no answer within") as caught:
        ask()
    assert time.monotonic() - begin < 10
    assert "docker" in caught.value.evidence
    assert caught.value.hint


def test_a_hung_engine_of_ours_is_named_with_its_process(
    silent: None, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told as "nsenter did not end within 20 s", by every command, a purge included."""
    monkeypatch.setattr(engine, "_private_pid", lambda _: os.getpid())
    real = host.server_version
    monkeypatch.setattr(host, "server_version", lambda kind, _: real(kind, ()))
    paths.engine.mkdir(parents=True)
    (paths.engine / "dockerd.log").write_text("level=error msg=stuck\n")
    with pytest.raises(asking.SilentError) as caught:
        engine.find(paths, Site(engine="private"))
    assert f"the private engine gives no answer: dockerd runs (pid {os.getpid()})" in caught.value.message
    assert "level=error msg=stuck" in caught.value.evidence
    assert "osbox engine stop" in caught.value.hint


def test_a_start_waits_for_an_engine_that_cannot_answer_yet(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dockerd listens while it still looks at its containers."""
    answers: list[Engine | None] = [None, None, ENGINE]

    def find(*_: object) -> Engine:
        if found := answers.pop(0):
            return found
        raise asking.SilentError("not yet")

    monkeypatch.setattr(engine, "find", find)
    assert engine._wait(paths, Site(), os.getpid()) == ENGINE


def test_the_machines_own_docker_that_hangs_is_told_as_such(
    silent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_is_here", lambda: True)
    with pytest.raises(asking.SilentError, match="the machine's own Docker gave no answer") as caught:
        host.usable()
    assert "systemctl status docker" in caught.value.hint


def test_an_engine_elsewhere_is_not_waited_for(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_is_here", lambda: False)
    assert host.usable() == ""


ASKS = {"exec", "history", "info", "inspect", "logs", "ls", "ps", "version"}
"""Words of Docker's client that change nothing."""
SOURCE = Path(docker.__file__).parents[1]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_question_is_put_without_a_deadline(path: Path) -> None:
    """By docker.ask or asking.ask, which have one; or by docker.docker or run.run with a timeout."""
    assert endless(path.read_text()) == []


def endless(source: str) -> list[str]:
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        words = {node.value for node in ast.walk(call) if isinstance(node, ast.Constant)}
        speaks = ast.unparse(call.func) == "docker.docker" or (
            ast.unparse(call.func) == "run.run" and '"docker"' in ast.unparse(call).replace("'", '"')
        )
        if speaks and words & ASKS and not any(keyword.arg == "timeout" for keyword in call.keywords):
            found.append(ast.unparse(call))
    return found


def test_the_check_sees_a_question() -> None:
    text = (
        "docker.docker(at, 'logs', name)\nrun.run(at.argv('docker', 'container', 'ls'))\n"
        "docker.ask(at, 'logs', name)\n"
        "docker.docker(at, 'rm', name)\ndocker.docker(at, 'exec', name, timeout=5)\n"
    )
    assert endless(text) == [
        "docker.docker(at, 'logs', name)",
        "run.run(at.argv('docker', 'container', 'ls'))",
    ]
