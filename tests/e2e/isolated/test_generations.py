"""A cloud is kept, changed and led back: by what people have in it, with their passwords, also when the way
back is killed."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osbox import run, waiting
from osbox.cloud import sessions
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.e2e.asking import client, engine
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import HOME, NAME
from tests.samples import scene

pytestmark = pytest.mark.e2e
USER = "of-a-generation"
FIRST, SECOND = "p-the-first-password", "p-the-second-password"


@pytest.fixture(scope="module")
def kept(ready: Tool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tool, int, str]]:
    """The cloud with a user and an image, kept, and then changed; the generation's number, and the image's
    SHA-256."""
    file = tmp_path_factory.mktemp("generation") / "disk.raw"
    file.write_bytes(os.urandom(3 << 20))
    client("user", "create", "--password", FIRST, "--project", "admin", USER)
    client("role", "add", "--user", USER, "--project", "admin", "member")
    form = ("--disk-format", "raw", "--container-format", "bare")
    client("image", "create", "--file", str(file), *form, USER)
    begin = time.monotonic()
    said = ready("generation", "create", "before all of it")
    print(f"kept within {time.monotonic() - begin:.1f} s")
    assert "writers waited" in said
    one = listed(ready)[-1]
    client("user", "set", "--password", SECOND, USER)
    client("image", "delete", USER)
    client("project", "create", "made-later")
    yield ready, one["number"], hashlib.sha256(file.read_bytes()).hexdigest()
    for found in listed(ready):
        ready("generation", "remove", str(found["number"]))
    assert listed(ready) == []
    assert "generation_" not in engine("docker", "images")
    client("user", "delete", USER)


def listed(cloud: Tool) -> list[dict[str, Any]]:
    found: Any = cloud.json_of("generation", "list")
    return list(found)


def lets_in(password: str) -> bool:
    site, paths = load_site(HOME), Paths(PROJECT, HOME)
    scope = {"project_name": "admin", "project_domain_id": "default"}
    try:
        return bool(sessions.log_in(paths, site, USER, password, scope).get_token())
    except Exception:  # noqa: BLE001 - whatever it is, one is not let in
        return False


def digest(tmp_path: Path) -> str:
    file = tmp_path / "saved"
    client("image", "save", "--file", str(file), USER)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_plan_says_what_is_lost(kept: tuple[Tool, int, str]) -> None:
    cloud, number, _ = kept
    said = cloud("rollback", str(number), "--plan", code=2)
    assert "made since, and lost: 1\n  project made-later" in said
    assert f"removed since, and there again: 1\n  image {USER}" in said
    assert lets_in(SECOND)
    assert "no generation 77" in cloud("rollback", "77", code=2)


def test_killed_on_its_way_it_goes_on(kept: tuple[Tool, int, str], tmp_path: Path) -> None:
    cloud, number, sha = kept
    assert cloud.killed_after(" services", "rollback", str(number), seconds=0.7)
    assert f"on its way back to generation {number}" in cloud("up", code=1)
    assert "on its way back" in cloud("generation", "create", code=1)
    begin = time.monotonic()
    said = cloud("rollback")
    print(f"went on, and was back after {time.monotonic() - begin:.1f} s")
    assert f"is as generation {number} has it" in said
    assert (lets_in(FIRST), lets_in(SECOND)) == (True, False)
    assert digest(tmp_path) == sha
    assert "made-later" not in client("project", "list")
    assert "Nothing to change" in cloud("up")


@scene("way back taken back")
def test_the_way_back_is_taken_back(kept: tuple[Tool, int, str], tmp_path: Path) -> None:
    """To what was there before it, of which the first was made; and then to the first again."""
    cloud, number, sha = kept
    origin = max(one["number"] for one in listed(cloud))
    assert origin > number
    begin = time.monotonic()
    cloud("rollback", str(origin))
    print(f"back within {time.monotonic() - begin:.1f} s")
    assert (lets_in(FIRST), lets_in(SECOND)) == (False, True)
    assert "made-later" in client("project", "list")
    assert USER not in client("image", "list")
    cloud("down")
    said = cloud("rollback", str(number), code=2)
    assert "osbox rollback --no-keep" in said
    cloud("rollback", str(number), "--no-keep")
    assert lets_in(FIRST)
    assert digest(tmp_path) == sha


@pytest.mark.usefixtures("kept")
def test_who_writes_meanwhile_waits() -> None:
    with run.spawn([Tool.program, "generation", "create"], env=ENVIRONMENT) as process:
        answered = 0
        while process.poll() is None:
            client("project", "list")
            answered += 1
        assert process.returncode == 0
    assert answered


def test_nobody_stands_still_for_ever(kept: tuple[Tool, int, str]) -> None:
    """The tool is killed while it keeps, with the writers paused."""
    cloud, _, _ = kept
    known = len(listed(cloud))
    for _ in range(5):
        with run.spawn([Tool.program, "generation", "create"], env=ENVIRONMENT) as process:
            while process.poll() is None and not paused():
                pass
            process.kill()
        if process.returncode != 0:
            break
        known += 1  # it was faster than we
    assert process.returncode != 0
    assert waiting.happens(lambda: not paused(), 30)
    cloud("up")  # which finds the helper of who was killed
    assert len(listed(cloud)) == known
    engine("docker", "pause", f"mysql.{NAME}")  # as by a shell that was killed, too
    cloud("generation", "create", "--expires", "of one that stood still")
    assert "Nothing to change" in cloud("up")


def paused() -> bool:
    return bool(engine("docker", "ps", "--quiet", "--filter", "status=paused").split())


# --- images of another release: the same ones under other tags, one of which says so


def tagged(version: str, release: str, more: str = "") -> None:
    """Images of a version that were never built: those of latest, and a conductor of that release."""
    names = engine("docker", "images", "--filter", "reference=os-*:latest", "--format", "{{.Repository}}")
    lines = [f"docker tag {name}:latest {name}:{version}" for name in names.split()]
    recipe = f"FROM os-ironic-conductor:latest\nLABEL io.osbox.release={release}\n{more}"
    lines.append(f"printf '{recipe}' | docker build --quiet --tag os-ironic-conductor:{version} -")
    engine("sh", "-ec", "\n".join(lines))


@pytest.fixture
def others(kept: tuple[Tool, int, str]) -> Iterator[Tool]:
    assert kept
    tagged("older", "2025.2")
    tagged("newer", "2026.2")
    tagged("broken", "2026.2", 'ENTRYPOINT ["false"]\\n')
    yield kept[0]
    gone = engine("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").split()
    engine("docker", "rmi", *(name for name in gone if name.endswith((":older", ":newer", ":broken"))))


@scene("upgrade to images")
def test_another_release_is_kept_before_and_left_again(others: Tool, tmp_path: Path) -> None:
    cloud = others
    for command in ("plan", "up"):
        said = " ".join(cloud(command, "--version", "older", code=2).split())
        assert "the images of older are of 2025.2: no database goes back" in said
        assert "no generation of 2025.2 was kept" in said
    said = cloud("up", "--version", "newer")
    number = listed(cloud)[-1]["number"]
    assert f"kept: generation {number}" in said
    assert listed(cloud)[-1]["reason"].startswith("before the upgrade from 20")
    assert "Nothing to change" in cloud("up", "--version", "newer")
    said = " ".join(cloud("up", code=2).split())
    assert f"osbox rollback {number} leads back to" in said
    begin = time.monotonic()
    cloud("rollback", str(number))
    print(f"back to the release of before within {time.monotonic() - begin:.1f} s")
    assert "Nothing to change" in cloud("up")
    assert lets_in(FIRST)


@scene("upgrade that fails")
def test_a_release_that_does_not_come_up_is_left_by_itself(others: Tool) -> None:
    """Its conductor ends as soon as it is started."""
    cloud = others
    known = len(listed(cloud))
    before = engine("docker", "inspect", "--format", "{{.Id}}", f"mysql.{NAME}", f"front.{NAME}")
    begin = time.monotonic()
    said = " ".join(cloud("up", "--version", "broken", code=1).split())
    print(f"failed, and back within {time.monotonic() - begin:.1f} s")
    assert f"the upgrade failed and was taken back: {NAME} is as it was before" in said
    assert "ironic-conductor: ended" in said
    kept_before, kept_after = listed(cloud)[known:]
    assert kept_before["reason"].startswith("before the upgrade from 20")
    assert kept_after["reason"] == f"before the way back to generation {kept_before['number']}"
    logs = HOME / "generations" / str(kept_before["number"]) / "failed.log"
    assert "=== ironic-conductor\n" in logs.read_text()
    assert engine("docker", "inspect", "--format", "{{.Id}}", f"mysql.{NAME}", f"front.{NAME}") == before
    assert "Nothing to change" in cloud("up")
    assert lets_in(FIRST)
