"""osbox as a package: the wheel is built and installed, and works in an empty directory with no checkout at
hand."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

from osbox import run
from osbox.errors import Error
from osbox.images import catalogue, labels
from osbox.site import package, recipes
from osbox.site.site import Paths
from osbox.supply import bundle as bundles
from osbox.supply import checkout, manifest
from tests.conftest import PROJECT

# As images.build looks at them, but for Debian and the engine.
LOOK = """
import json, sys
from osbox.build import budgets, dockerfile
from osbox.images import catalogue, labels, runspec
from osbox.releases import folder, resolve
from osbox.site import recipes
from osbox.site.load import find_paths

paths = find_paths()
at = recipes.frozen(paths)
arguments = {"DEBIAN": "", "RELEASE": "2026.1", "BASE": "", "BUILDER": ""}
for release in folder.known(paths.releases):
    resolve.check(paths, release)
print(json.dumps({
    "project": str(paths.project),
    "copies": [at.project.name, recipes.compose(paths).parent.name],
    "digests": {
        image.name: dockerfile.digest(at.project, image.dockerfile, image.name, arguments, {})
        for image in catalogue.with_bases(catalogue.IMAGES)
    },
    "releases": folder.known(paths.releases),
    "services": sorted(runspec.load(paths.compose)),
    "budgets": sorted(budgets.load(paths)),
    "revision": getattr(labels.commit(paths.project), "revision", ""),
}))
"""


def build(kind: str, project: Path, target: Path) -> Path:
    """With the build backend that is installed: no index is asked."""
    run.run([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)], cwd=project)
    return next(target.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", PROJECT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and with the libraries of the one that runs."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    run.run([sys.executable, "-m", "venv", "--without-pip", str(place)])
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(place)]
    run.run([*pip, "install", "--no-deps", "--no-index", "--no-compile", str(wheel)])
    [packages] = place.glob("lib/python*/site-packages")
    libraries = importlib.util.find_spec("pydantic")
    assert libraries
    assert libraries.origin
    (packages / "libraries.pth").write_text(f"{Path(libraries.origin).parents[1]}\n")
    # Once, and not at each start in the tests.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": ""}
    run.run([str(place / "bin/osbox"), "build", "--help"], env=compiled)
    return place


@pytest.fixture
def empty(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to be in."""
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def carried(venv: Path) -> Path:
    return next(venv.glob("lib/python*/site-packages/osbox/project"))


def state(top: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in top.rglob("*")}


def look(python: str, cwd: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.run([python, "-c", LOOK], cwd=cwd).out)
    return found


@pytest.mark.timeout(60)  # four seconds on an idle machine
def test_the_wheel_has_all_that_the_clone_has(installed: Path, empty: Path, home: Path) -> None:
    """The images above all: of one commit, clone and wheel share them."""
    ours = look(sys.executable, empty)
    theirs = look(str(installed / "bin/python"), empty)
    assert ours.pop("project") == str(PROJECT)
    assert theirs.pop("project") == str(carried(installed))
    assert theirs == ours
    assert len(list((home / "recipes").iterdir())) == 2, "one copy for builds and one for Compose"
    assert list(empty.iterdir()) == []


@pytest.mark.timeout(60)
def test_an_installer_that_forgets_modes_changes_no_image(
    installed: Path, empty: Path, tmp_path: Path
) -> None:
    """pip keeps the bits that say what is a program; and not much depends on it."""
    told = package.read(carried(installed))
    assert told
    inside = {name for name in told.programs if not name.startswith(package.SOURCE)}
    assert {name for name in inside if not os.access(carried(installed) / name, os.X_OK)} == set()
    assert {"images/base/bootstrap.py", "images/tftpboot/tftp-probe"} < inside
    copy = tmp_path / "osbox" / "project"
    shutil.copytree(carried(installed).parent, copy.parent)
    before = recipes.frozen(Paths(carried(installed), tmp_path / "home")).project
    for path in copy.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    after = recipes.frozen(Paths(copy, tmp_path / "home")).project
    assert after == before
    assert os.access(after / "images/base/bootstrap.py", os.X_OK)
    assert (after / "images/ironic/etc/ironic/ironic.conf.d/00-openstack.conf").is_symlink()


@pytest.mark.timeout(60)
def test_commands_of_the_wheel(installed: Path, empty: Path) -> None:
    before = state(installed)

    def osbox(*words: str, code: int = 0) -> str:
        done = run.run([str(installed / "bin/osbox"), *words], cwd=empty, check=False)
        assert done.code == code, done.err
        return done.out + done.err

    assert osbox("--version") == f"osbox {importlib.metadata.version('osbox')}\n"
    assert "--no-cache" in osbox("build", "--help")
    said = osbox("schema", "--release", "1999.1", code=2)
    assert "known releases: 2025.1, 2025.2, 2026.1, 2026.2" in said
    for command in ("lock", "schema"):
        said = osbox(command, code=2)
        assert "writes into releases/ of a checkout, and this osbox was installed as a package" in said
        assert f"Next: osbox {command} --release 2026.1 --check only looks; or in a clone: make setup" in said
    assert state(installed) == before, "it may be read only"


@pytest.mark.timeout(60)  # beside the others that need it installed
def test_a_bundle_of_it_has_a_checkout_that_installs(installed: Path, tmp_path: Path) -> None:
    """Laid out as in a clone, for bundle-load installs it as one."""
    found = checkout.of(carried(installed), tmp_path / "checkout")
    entries = {entry.name: entry for entry in package.entries(found.place, *package.CARRIED)}
    assert set(found.names) == set(entries)
    ours = {entry.name: entry for entry in package.entries(PROJECT, *package.CARRIED)}
    assert {name for name, entry in entries.items() if entry != ours[name]} == set()
    assert {"src/osbox/cli.py", "requirements.lock", "compose/stack.yaml"} < set(entries)
    bundles._pack_checkout(found, tmp_path)
    assert set(bundles._packed(tmp_path)) == set(entries)
    build("wheel:editable", found.place, tmp_path / "editable")


def test_a_bundle_is_held_against_what_a_wheel_has(data: Path) -> None:
    """Tests and pages are not in it, and are no reason to build an image anew."""
    names = {entry.name: entry.sha256 for entry in package.entries(data, "images/")}
    assert len(names) == 3
    at = manifest.Manifest("", (), "", "", "", "", (), "", {}, names | {"tests/x.py": "1"}, ())
    assert checkout.others(data, at) == []
    other = replace(at, files=names | {"images/base/run": "1", "releases/1/common.lock": "1"})
    assert checkout.others(data, other) == ["images/base/run", "releases/1/common.lock"]


# --- what it asks for
# --------------------------------------------------------------------------------


def test_it_asks_for_the_libraries_that_it_was_tried_with() -> None:
    """Without a lower bound pip is content with what is there, however old."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    asked = [Requirement(line) for line in listed]
    text = (PROJECT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE))
    assert [one.name for one in asked if not one.specifier] == []
    assert [one.name for one in asked if locked[one.name] not in one.specifier] == []


def test_it_asks_for_what_the_lock_is_made_of() -> None:
    """`make lock` reads requirements.in; what a wheel needs stands there before the tests' own."""
    ours, _, tests = (PROJECT / "requirements.in").read_text().partition("# tests\n")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    for_the_install = {"hatchling", "editables"}
    assert names(project["dependencies"]) == names(ours.splitlines()) - for_the_install
    assert names(project["optional-dependencies"]["test"]) < names(tests.splitlines())


def names(lines: list[str]) -> set[str]:
    words = [line.partition("#")[0].strip() for line in lines]
    return {f"{one.name}{sorted(one.extras) or ''}" for one in map(Requirement, filter(None, words))}


# --- what a wheel says of itself
# --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", PROJECT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(folder: Path, *words: str) -> str:
    name = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return run.run(["git", "-C", str(folder), *name, *words]).out


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    place = tmp_path / "clone"
    place.mkdir()
    git(place, "init", "--quiet")
    git(place, "remote", "add", "origin", "https://person:password@example.org/osbox.git")
    for name in (
        "images/keystone/Dockerfile",
        "images/base/run",
        "src/osbox/x.py",
        "tests/x.py",
        ".gitignore",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("*.junk\n")
    (place / "images/base/run").chmod(0o755)
    (place / "images/base/link").symlink_to("/opt/nowhere")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "-m", "first")
    (place / "images/base/x.junk").write_text("")
    return place


def test_it_tells_the_commit_and_the_files(clone: Path, hook: ModuleType) -> None:
    told = hook.describe(clone)
    assert told.revision == git(clone, "rev-parse", "HEAD").strip()
    assert told.source == "https://example.org/osbox.git", "and no password"
    assert sorted(told.files) == ["images/base/run", "images/keystone/Dockerfile", "src/osbox/x.py"]
    assert (told.links, told.programs) == ({"images/base/link": "/opt/nowhere"}, ("images/base/run",))
    assert told.changed == ()
    (clone / "images/keystone/Dockerfile").write_text("changed")
    (clone / "images/base/new").write_text("")
    told = hook.describe(clone)
    assert told.changed == ("images/base/new", "images/keystone/Dockerfile")
    assert "images/base/new" in told.files


@pytest.mark.parametrize("without", ["git", "a clone"])
def test_it_knows_no_commit_without(
    without: str, clone: Path, hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "images/base/x.junk").unlink()
    before = hook.describe(clone)
    if without == "git":
        monkeypatch.setenv("PATH", "/nonexistent")
    else:
        shutil.rmtree(clone / ".git")
    assert hook.describe(clone) == replace(before, revision="", created="", source="")


@pytest.fixture
def data(clone: Path, hook: ModuleType, tmp_path: Path) -> Path:
    """Such a wheel, installed."""
    told, place = hook.describe(clone), tmp_path / "site/osbox/project"
    shutil.copytree(clone / "src/osbox", place.parent)
    shutil.copytree(clone / "images", place / "images", ignore=shutil.ignore_patterns("link", "*.junk"))
    (place / package.FILE).write_text(package.render(told))
    return place


def labelled(project: Path) -> dict[str, str]:
    image, at = catalogue.BY_NAME["os-keystone"], labels.commit(project)
    return labels.of(Paths(project, project), image, version="1", release="2026.1", digest="d", commit=at)


def test_images_have_the_labels_of_its_commit(data: Path, clone: Path) -> None:
    assert labelled(data) == labelled(clone)
    (data / "images/keystone/Dockerfile").write_text("changed after it was installed")
    assert labelled(data)[f"{labels.OCI}revision"] == git(clone, "rev-parse", "HEAD").strip() + "-dirty"
    told = package.read(data)
    assert told
    (data / package.FILE).write_text(package.render(replace(told, revision="")))
    assert labels.commit(data) is None


def test_what_is_missing_in_it_is_told(data: Path, tmp_path: Path) -> None:
    (data / "images/keystone/Dockerfile").unlink()
    with pytest.raises(Error, match=r"damaged: .*/images/keystone/Dockerfile is missing") as caught:
        recipes.frozen(Paths(data, tmp_path / "home"))
    assert "pip install --force-reinstall" in caught.value.hint
    (data / package.FILE).write_text("{")
    with pytest.raises(Error, match=r"damaged: wheel.json cannot be read"):
        package.read(data)


@pytest.mark.timeout(60)
def test_a_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """It has no git; and whoever unpacks it refuses links that lead out of it, which recipes have."""
    source = build("sdist", PROJECT, tmp_path / "sdist")
    with tarfile.open(source) as tar:
        assert [info.name for info in tar if not info.isfile()] == []
    run.run(["tar", "-C", str(tmp_path), "-xf", str(source)])
    [place] = tmp_path.glob("osbox-*")
    ours = {entry.name: entry for entry in package.entries(PROJECT, *package.CARRIED)}
    there = {entry.name: entry for entry in package.entries(place, *package.CARRIED)}
    assert {name for name, entry in there.items() if entry != ours[name]} == set(), "an editable install's"
    assert {"src/osbox/cli.py", "images/ironic/etc/ironic/ironic.conf.d/00-openstack.conf"} < set(there)
    again = build("wheel", place, tmp_path / "again")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        record = next(name for name in one.namelist() if name.endswith("/RECORD"))
        assert sorted(one.read(record).splitlines()) == sorted(other.read(record).splitlines())
