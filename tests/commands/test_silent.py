"""An engine that hangs: what each command says, and that a purge comes to its end all the same."""

from collections.abc import Callable

import pytest

from osbox import doctor
from osbox.cli import execute
from osbox.doctor import machine
from osbox.engine import engine, footprint
from osbox.engine.asking import SilentError
from osbox.engine.engine import Engine
from osbox.network import connect as network
from osbox.site.ledger import Entry, ledger
from osbox.site.site import Paths, Site
from tests.fulldisk import no_room

SILENT = SilentError(
    "the private engine gives no answer", evidence="$ docker version", hint="osbox engine stop"
)


@pytest.fixture
def hung(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hung engine that can be stopped; returns what was done to it."""
    done = list[str]()

    def find(*_: object) -> Engine | None:
        if "stop" not in done:
            raise SILENT
        return None

    def stop(_: Paths) -> bool:
        first = "stop" not in done
        done.append("stop")
        return first

    def notes(what: str) -> Callable[..., list[str]]:
        def act(*_: object) -> list[str]:
            done.append(what)
            return []

        return act

    monkeypatch.setattr(engine, "find", find)
    monkeypatch.setattr(engine, "stop", stop)
    monkeypatch.setattr(engine, "_stop", stop)
    monkeypatch.setattr(engine, "require_root", lambda: None)
    monkeypatch.setattr(footprint, "undo", notes("undo"))
    monkeypatch.setattr(network, "remove", notes("network"))
    (paths.engine / "data").mkdir(parents=True)
    (paths.home / "secrets").mkdir()
    return done


@pytest.mark.parametrize("command", [["status"], ["engine", "status"], ["plan"], ["down"], ["logs"]])
def test_it_is_told_as_such(hung: list[str], command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(command) == 1
    said = capsys.readouterr().err
    assert "the private engine gives no answer" in said
    assert "osbox engine stop" in said
    assert hung == []


def test_a_purge_ends_it_without_being_asked(
    hung: list[str], paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hung dockerd kept all that osbox had made on the machine, for good."""
    assert execute(["down", "--purge"]) == 0
    assert hung[0] == "stop"
    assert {"network", "undo"} <= set(hung)
    assert not paths.home.exists()
    assert "it was ended without being asked" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("words", [["down", "--purge"], ["engine", "stop"]])
def test_what_frees_the_disk_needs_no_room_on_it(
    hung: list[str], paths: Paths, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """No inode was left, and so none for the lock."""
    for name in ("bridge", "veth"):
        ledger(paths.home).add(Entry(kind="link", name=name, made_by="osbox up"))
    no_room(monkeypatch)
    assert execute(words) == 0
    assert "stop" in hung
    assert paths.home.exists() == (words[0] == "engine")


def test_a_purge_of_one_deployment_leaves_the_engine_of_all(hung: list[str], paths: Paths) -> None:
    home = paths.deployments / "lab"
    home.mkdir(parents=True)
    (home / "site.toml").write_text('name = "lab"\n')
    assert execute(["--name", "lab", "down", "--purge"]) == 1
    assert hung == []
    assert home.is_dir()


def test_an_engine_that_hangs_while_it_is_emptied_is_stopped(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(_: Engine) -> list[str]:
        raise SILENT

    found: list[Engine | None] = [Engine("private", "26"), None]
    monkeypatch.setattr(engine, "require_root", lambda: None)
    monkeypatch.setattr(engine, "find", lambda *_: found.pop(0))
    monkeypatch.setattr(engine, "_empty", empty)
    monkeypatch.setattr(engine, "_stop", lambda _: True)
    monkeypatch.setattr(footprint, "undo", lambda *_: [])
    paths.engine.mkdir(parents=True)
    assert "private engine" in engine.purge(paths, Site())
    assert not paths.home.exists()


def test_doctor_goes_on_with_the_rest(paths: Paths) -> None:
    def find() -> Engine | None:
        raise SILENT

    facts = doctor.look(paths, Site(), paths, find)
    assert facts.running == set()
    [one] = machine.check_engine(facts)
    assert (one.level, one.what, one.next) == ("error", SILENT.message, SILENT.hint)
    found = doctor.examine(facts, {name: doctor.CHECKS[name] for name in ("ports", "memory", "kernel")})
    assert [one.what for one in found][:2] == ["ports: not looked at", "memory: not looked at"], (
        "docker-proxy would be named as a stranger on each, and memory be short for a cloud that runs"
    )
    assert len(found) > 2
