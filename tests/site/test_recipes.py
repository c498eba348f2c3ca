"""What builds and Compose read: a copy that does not change, where every engine sees it."""

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from osbox import run
from osbox.build import debian, dockerfile, images
from osbox.cloud import compose
from osbox.engine import docker, engine
from osbox.engine.engine import Engine
from osbox.images import catalogue
from osbox.site import recipes
from osbox.site.site import Paths, Site
from tests.conftest import PROJECT

PRIVATE = Engine("private", "26", ("nsenter",))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    project = tmp_path / "clone"
    for name in (
        "images/a/Dockerfile",
        "images/a/etc/x/program",
        "releases/1/common.lock",
        "compose/stack.yaml",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(f"{name}\n")
    (project / ".dockerignore").write_text("*\n")
    (project / "images/a/etc/x/program").chmod(0o755)
    (project / "images/a/etc/x/link").symlink_to("/opt/nowhere")
    (project / "images/a/etc/x/folder").symlink_to("/opt")
    (project / "images/a/__pycache__").mkdir()
    (project / "images/a/__pycache__/a.pyc").write_text("")
    (project / "README.md").write_text("no image is made of it")
    return Paths(project, tmp_path / "home")


def tree(top: Path) -> dict[str, tuple[str, str]]:
    """Mode and content by name; a link has where it leads."""
    return {
        str(path.relative_to(top)): (
            f"{path.lstat().st_mode:o}",
            str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "",
        )
        for path in top.rglob("*")
    }


def test_a_copy_has_what_builds_read_with_the_modes_that_git_knows(paths: Paths) -> None:
    found = tree(recipes.frozen(paths).project)
    assert {name for name, (mode, _) in found.items() if not mode.startswith("40")} == {
        ".dockerignore",
        "images/a/Dockerfile",
        "images/a/etc/x/folder",
        "images/a/etc/x/link",
        "images/a/etc/x/program",
        "releases/1/common.lock",
    }
    assert found["images/a/etc/x"] == ("40755", "")
    assert found["images/a/etc/x/program"] == ("100755", "images/a/etc/x/program\n")
    assert found["images/a/etc/x/link"] == ("120777", "/opt/nowhere")
    assert tree(recipes.compose(paths)) == {"stack.yaml": ("100644", "compose/stack.yaml\n")}


def test_two_clones_share_it_whatever_their_umask(paths: Paths, tmp_path: Path) -> None:
    """Under umask 077 COPY kept modes that no service can read, and the digest was another one."""
    first = recipes.frozen(paths).project
    other = Paths(tmp_path / "elsewhere", paths.home)
    shutil.copytree(paths.project, other.project, symlinks=True)
    for path in other.project.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    umask = os.umask(0o077)
    try:
        assert recipes.frozen(other).project == first
        shutil.rmtree(first)
        assert recipes.frozen(other).project == first
    finally:
        os.umask(umask)
    assert {mode for mode, _ in tree(first).values()} == {"40755", "100644", "100755", "120777"}


def test_a_change_makes_another_copy_and_leaves_the_one_that_may_be_in_use(paths: Paths) -> None:
    first = recipes.frozen(paths).project
    (paths.project / "images/a/Dockerfile").write_text("changed")
    second = recipes.frozen(paths).project
    assert second != first
    assert (first / "images/a/Dockerfile").read_text() == "images/a/Dockerfile\n"
    (paths.project / "images/a/Dockerfile").chmod(0o755)
    assert recipes.frozen(paths).project not in (first, second)
    assert recipes.frozen(Paths(first, paths.home)).project == first


def test_a_second_use_writes_nothing(paths: Paths) -> None:
    recipes.compose(paths)
    before = {path: path.lstat().st_mtime_ns for path in paths.home.rglob("*")}
    recipes.compose(paths)
    assert {path: path.lstat().st_mtime_ns for path in paths.home.rglob("*")} == before


def test_what_was_long_not_used_goes(paths: Paths) -> None:
    old, used = recipes.frozen(paths).project, recipes.compose(paths).parent
    for path in (old, used):
        os.utime(path, (0, 0))
    recipes.compose(paths)
    (paths.recipes / "new-killed").mkdir()
    os.utime(paths.recipes / "new-killed", (0, 0))
    (paths.project / "images/a/Dockerfile").write_text("changed")
    new = recipes.frozen(paths).project
    assert set(paths.recipes.iterdir()) == {used, new}


def test_a_copy_that_is_about_to_be_used_stays(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another osbox removed it after it was looked at, and Compose did not find its files."""
    old, real = recipes.compose(paths).parent, recipes._is_whole
    os.utime(old, (0, 0))
    other = Paths(tmp_path / "other", paths.home)
    shutil.copytree(paths.project, other.project, symlinks=True)

    def looked_at(*words: Any) -> bool:
        answer = real(*words)
        monkeypatch.setattr(recipes, "_is_whole", real)
        recipes.frozen(other)
        return answer

    monkeypatch.setattr(recipes, "_is_whole", looked_at)
    assert recipes.compose(paths).is_dir()


def test_a_copy_that_a_power_cut_left_empty_is_made_anew(paths: Paths) -> None:
    place = recipes.frozen(paths).project
    before = tree(place)
    (place / "images/a/Dockerfile").write_text("")
    assert recipes.frozen(paths).project == place
    assert tree(place) == before
    assert list(paths.recipes.iterdir()) == [place]


def test_many_at_once_have_one(paths: Paths) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(recipes.frozen(paths).project)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert list(paths.recipes.iterdir()) == [found[0]]


# --- whose checkout it is, no engine knows
# --------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(docker, "images", lambda *_: {})
    monkeypatch.setattr(debian, "ensure", lambda *_: "digest")
    return Paths(PROJECT, tmp_path / "home")


def plan(paths: Paths) -> list[Any]:
    wanted = catalogue.with_bases(catalogue.IMAGES)
    return images.plan(paths, PRIVATE, wanted, version="latest", release="2026.1", no_cache=False)


def test_no_line_names_the_checkout(here: Paths) -> None:
    here.home.mkdir()
    (here.home / "stack.env").write_text("OSBOX_LISTEN=\n")
    lines = [*(task.argv for task in plan(here)), compose.argv(PRIVATE, here, "ps", rack=True)]
    assert all(lines)
    assert [line for line in lines if str(PROJECT) in " ".join(line)] == []
    seen = [Path(word) for line in lines for word in line if word.startswith("/")]
    assert seen
    assert [path for path in seen if here.home not in path.parents or not path.exists()] == []


def test_images_have_the_digests_that_they_had_in_the_checkout(here: Paths) -> None:
    """Whoever has images of before need not build them again."""
    arguments = {"DEBIAN": debian.TAG, "RELEASE": "2026.1", "BASE": ":latest", "BUILDER": "os-builder:latest"}
    image = catalogue.BY_NAME[catalogue.GROUND]
    inputs = dockerfile.digest(PROJECT, image.dockerfile, image.name, arguments, {"DEBIAN": "digest"})
    assert next(task.inputs for task in plan(here) if task.image == image) == inputs


def test_a_running_engine_is_everybodys(here: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a second clone it was refused: "started from another checkout"."""
    monkeypatch.setattr(engine, "find", lambda *_: PRIVATE)
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("nothing is asked of it"))
    assert engine.start(Paths(tmp_path / "another", here.home), Site()) is PRIVATE


@pytest.mark.root
def test_the_engine_sees_the_state_directory_and_no_checkout(paths: Paths, tmp_path: Path) -> None:
    """The real way in, with a shell in dockerd's place."""
    root = paths.engine / "root"
    for name in ("proc", "sys", "dev", "run", "etc/ssl/certs", "usr/bin"):
        (root / name).mkdir(parents=True)
    for top in ("bin", "lib", "lib64"):
        (root / top).symlink_to(f"usr/{top}")
    for name in ("sh", "umount"):
        program = Path(shutil.which(name) or name)
        libraries = [word for word in run.run(["ldd", str(program)]).out.split() if word.startswith("/")]
        shutil.copy(program.resolve(), root / "usr/bin" / name)
        for file in map(Path, libraries):
            target = root / "usr" / str(file).removeprefix("/").removeprefix("usr/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    place = recipes.frozen(paths).project
    init = Path(engine.__file__).with_name("engine-init.sh")
    script = f"test -f {place}/images/a/Dockerfile && test ! -e {paths.project} && echo seen"
    enter = ["unshare", "--mount", "--propagation", "private", "--", "sh", str(init)]
    assert run.run([*enter, str(root), str(paths.home), "sh", "-c", script]).out == "seen\n"
