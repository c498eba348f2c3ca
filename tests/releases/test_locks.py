"""Locks: how a resolution is split, when a lock is out of date, what a failing resolution says.

uv is a script here.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from osbox.cli import execute
from osbox.engine import engine
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.releases import folder as releases
from osbox.releases import lock, release, resolve
from osbox.releases.lock import Change
from osbox.site.site import Paths
from tests.conftest import PROJECT

RESOLVED = """\
amqp==5.3.1 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via
    #   -c constraints.txt
    #   glance
    #   nova
chicken==1 \\
    --hash=sha256:{a}
    # via egg
egg==2 \\
    --hash=sha256:{a}
    # via
    #   chicken
    #   glance
glance==30.0.0 \\
    --hash=sha256:{a}
    # via -r glance.in
gunicorn==23.0.0 \\
    --hash=sha256:{a}
    # via -r common.in
nova==31.0.0 \\
    --hash=sha256:{a}
    # via -r nova.in
packaging==24.2 \\
    --hash=sha256:{a}
    # via gunicorn
six==1.17.0 \\
    --hash=sha256:{a}
    # via amqp
wsme==0.12.1 \\
    --hash=sha256:{a}
    # via
    #   -r nova.in
    #   -r glance.in
""".format(a="a" * 64, b="b" * 64)
SPLIT = {
    # gunicorn is for all, and brings packaging; amqp is needed by two, and brings six; wsme is wanted by two.
    "common": ["amqp", "gunicorn", "packaging", "six", "wsme"],
    # egg and chicken need each other, and nobody but glance needs them.
    "glance": ["chicken", "egg", "glance"],
    "nova": ["nova"],
    "swift": [],
}


def test_what_only_one_project_needs_is_its_own() -> None:
    parts = lock.split(lock.parse(RESOLVED), list(SPLIT))
    assert {group: [package.name for package in packages] for group, packages in parts.items()} == SPLIT


def test_a_lock_has_the_hashes_and_says_nothing_of_others() -> None:
    packages = lock.parse(RESOLVED)[:2]
    text = lock.render(_release(), "glance", packages)
    assert text.splitlines()[1:] == [
        "amqp==5.3.1 \\",
        f"    --hash=sha256:{'a' * 64} \\",
        f"    --hash=sha256:{'b' * 64}",
        "chicken==1 \\",
        f"    --hash=sha256:{'a' * 64}",
    ]
    assert [package.text for package in lock.parse(text)] == [package.text for package in packages]


def test_changes() -> None:
    old = {"common": "a==1 \\\n    --hash=sha256:1\nb==1\nc==1\n", "glance": "d==1\n", "ramdisk": "a==1\n"}
    new = {"common": "a==1 \\\n    --hash=sha256:2\nb==2\nd==1\n", "glance": "e==1\n", "ramdisk": "a==1\n"}
    assert lock.changes(old, new) == [
        Change("a", "1", "1", "common"),
        Change("b", "1", "2", "common"),
        Change("c", "1", "", "common"),
        Change("d", "1", "1", "glance → common"),
        Change("e", "", "1", "glance"),
    ]
    assert lock.changes(new, new) == []


def test_own_constraints_replace_upstreams() -> None:
    upstream = "# a comment\noslo.config===1;python_version=='3.9'\noslo.config===2\noslo.db===3\n"
    assert lock.constrain(upstream, ["oslo-config>=4", "new<2"]) == "oslo.db===3\noslo-config>=4\nnew<2\n"


# --- release.toml
# --------------------------------------------------------------------------------


def _release() -> release.Release:
    return releases.read(PROJECT / "releases" / "2026.1")


WRONG = {
    "no TOML": ('name = "2026.1', "is not valid TOML", ""),
    "another release": (("2026.1", "2026.2"), "says that it is release 2026.2", ""),
    "a word too much": (("python =", "pyton ="), "has wrong settings", "pyton: Extra inputs"),
    "a project missing": (("ironic = [", "# = ["), "has wrong settings", "requirements: nothing for ironic"),
    "an unknown project": (
        ("ironic = [", "ironic = ['x']\nhorizon = ["),
        "has wrong settings",
        "no project is called horizon (known: common, ",
    ),
}


@pytest.mark.parametrize(("change", "message", "evidence"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_release_toml_says_where(
    paths: Paths, change: str | tuple[str, str], message: str, evidence: str, tmp_path: Path
) -> None:
    folder = _copy(paths, tmp_path).releases / "2026.1"
    text = (folder / "release.toml").read_text()
    (folder / "release.toml").write_text(change if isinstance(change, str) else text.replace(*change))
    with pytest.raises(UserError, match=message) as caught:
        releases.read(folder)
    assert evidence in caught.value.evidence
    assert (
        "releases/2026.1/release.toml" in caught.value.message
        or "2026.1/release.toml" in caught.value.message
    )


# --- is a lock of its inputs?
# --------------------------------------------------------------------------------


def _copy(paths: Paths, tmp_path: Path) -> Paths:
    """A checkout with one release."""
    shutil.copytree(PROJECT / "releases" / "2026.1", tmp_path / "project" / "releases" / "2026.1")
    return Paths(tmp_path / "project", paths.home)


OUTDATED = {
    "an input": (
        "release.toml",
        "# new\n",
        "the lock of release 2026.1 is out of date: it is older than release.toml",
    ),
    "the constraints": (
        "constraints.txt",
        "",
        "the lock of release 2026.1 is out of date: it is older than constraints.txt",
    ),
    "a lock by hand": (
        "nova.lock",
        "x==1\n",
        "the lock of release 2026.1 is out of date: nova.lock is not what was locked",
    ),
    "a lock gone": ("nova.lock", None, "releases/2026.1/nova.lock is missing"),
    "the sums gone": (
        "SHA256SUMS",
        None,
        "the lock of release 2026.1 is out of date: it is older than release.toml",
    ),
}


@pytest.mark.parametrize(("file", "text", "message"), OUTDATED.values(), ids=OUTDATED.keys())
def test_a_lock_that_is_not_of_its_inputs(
    paths: Paths, tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    here = _copy(paths, tmp_path)
    resolve.check(here, "2026.1")
    place = here.releases / "2026.1" / file
    if text is None:
        place.unlink()
    else:
        place.write_text(text)
    with pytest.raises(UserError) as caught:
        resolve.check(here, "2026.1")
    assert caught.value.message == message
    assert caught.value.hint == "osbox lock --release 2026.1"


def test_a_missing_input_is_no_matter_of_locking(paths: Paths, tmp_path: Path) -> None:
    here = _copy(paths, tmp_path)
    (here.releases / "2026.1" / "constraints.txt").unlink()
    with pytest.raises(UserError, match=r"releases/2026.1/constraints.txt is missing") as caught:
        resolve.check(here, "2026.1")
    assert caught.value.hint == "git checkout -- releases/2026.1/constraints.txt"


def test_the_sums_are_for_everybody(paths: Paths, tmp_path: Path) -> None:
    folder = _copy(paths, tmp_path).releases / "2026.1"
    assert (
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=False).returncode
        == 0
    )


@pytest.mark.usefixtures("home")
def test_a_build_refuses_a_lock_that_is_out_of_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, paths: Paths
) -> None:
    here = _copy(paths, tmp_path)
    monkeypatch.setattr(engine, "start", lambda *_: Engine("host", "26"))
    monkeypatch.setattr("osbox.commands.context.find_paths", lambda: here)
    (here.releases / "2026.1" / "release.toml").write_text("# new\n")
    assert execute(["build"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "Error: the lock of release 2026.1 is out of date: it is older than release.toml\n"
    )
    assert said.endswith("Next: osbox lock --release 2026.1\n")


# --- osbox lock
# --------------------------------------------------------------------------------


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, paths: Paths, tmp_path: Path) -> Paths:
    """A checkout whose uv is a script."""
    here = _copy(paths, tmp_path)
    monkeypatch.setattr("osbox.commands.context.find_paths", lambda: here)
    monkeypatch.setattr(resolve, "_uv", lambda _: tmp_path / "uv")
    _script(tmp_path, ": nothing")
    return here


def _script(folder: Path, last: str) -> None:
    """A uv that knows the services and the ramdisk, and does one thing more."""
    (folder / "services").write_text(RESOLVED)
    (folder / "agent").write_text(
        RESOLVED.replace("-r glance.in", "-r ramdisk.in").replace("six==1.17.0", "six==1.16.0")
    )
    script = (
        f'#!/bin/sh\necho "$@" >>{folder}/asked\n{last}\n'
        f'case "$*" in *ramdisk.in*) cat {folder}/agent ;; *) cat {folder}/services ;; esac\n'
    )
    (folder / "uv").write_text(script)
    (folder / "uv").chmod(0o755)


def test_lock_writes_all_and_shows_what_changed(
    checkout: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkout.releases / "2026.1"
    assert execute(["lock"]) == 0
    table = capsys.readouterr().out
    assert [
        line.split()
        for line in table.splitlines()
        if line.startswith(("PACKAGE", "amqp", "chicken", "alembic"))
    ] == [
        ["PACKAGE", "OLD", "NEW", "LOCK"],
        ["alembic", "1.18.4", "-", "common"],
        ["amqp", "5.3.1", "5.3.1", "(other", "files)", "common"],
        ["amqp", "-", "5.3.1", "ramdisk"],
        ["chicken", "-", "1", "glance"],
        ["chicken", "-", "1", "ramdisk"],
    ]
    resolve.check(checkout, "2026.1")
    assert [package.name for package in lock.parse((folder / "glance.lock").read_text())] == SPLIT["glance"]
    assert "six==1.16.0" in (folder / "ramdisk.lock").read_text()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert all(
        "--generate-hashes" in line and "--excludes" in line and "--python-version 3.13" in line
        for line in asked
    )
    assert sorted({word for line in asked for word in line.split() if "linux" in word}) == sorted(
        resolve.PLATFORMS
    )
    assert execute(["lock"]) == 0
    assert capsys.readouterr().out == "Release 2026.1: nothing changed\n"


def test_check_touches_nothing(checkout: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkout.releases / "2026.1"
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert execute(["lock", "--check", "--json"]) == 1
    said = capsys.readouterr()
    assert {"package": "chicken", "old": "", "new": "1", "group": "glance"} in json.loads(said.out)
    assert "packages of release 2026.1 would change" in said.err
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    assert not list((checkout.home / "tmp").iterdir())


def test_half_a_set_is_seen(checkout: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two files: the next build asks for the lock again."""
    rename = Path.rename

    def tired(self: Path, target: Path) -> Path:
        if target.name == "nova.lock":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", tired)
    with pytest.raises(KeyboardInterrupt):
        resolve.refresh(checkout, "2026.1")
    assert not list((checkout.releases / "2026.1").glob("*.new"))
    with pytest.raises(UserError, match="out of date"):
        resolve.check(checkout, "2026.1")


FAILURES = {
    "a conflict": (
        (
            "error: No solution found when resolving dependencies\n  cause: Because you require ironic>=99,"
            " we can conclude"
        ),
        UserError,
        "the requirements of release 2026.1 cannot be met together",
        "releases/2026.1/release.toml",
    ),
    "a silent index": (
        (
            "error: Request failed after 3 retries\n  cause: Failed to fetch:"
            " `http://me:secret@i:9931/simple/six/`\n  cause: operation timed out"
        ),
        Error,
        "Python packages could not be fetched from http://i:9931: ",
        "network",
    ),
    "an index that nobody knows": (
        (
            "error: Request failed after 3 retries\n  cause: Failed to fetch: `http://i/simple/six/`\n "
            " cause: dns error"
        ),
        Error,
        "Python packages could not be fetched from http://i: ",
        "network",
    ),
    "no requirement": (
        "error: Couldn't parse requirement in `swift.in` at position 0",
        UserError,
        "releases/2026.1/release.toml has a requirement that is none",
        "put it right",
    ),
    "something else": (
        "error: unexpected argument",
        Error,
        "release 2026.1 could not be resolved",
        "pip config list",
    ),
}


@pytest.mark.parametrize("case", FAILURES.values(), ids=FAILURES.keys())
def test_a_failing_resolution(
    checkout: Paths, tmp_path: Path, case: tuple[str, type[Error], str, str]
) -> None:
    said, kind, message, hint = case
    (tmp_path / "said").write_text(said)
    _script(tmp_path, f"cat {tmp_path}/said >&2; exit 2")
    before = (checkout.releases / "2026.1" / "common.lock").read_bytes()
    with pytest.raises(Error) as caught:
        resolve.refresh(checkout, "2026.1")
    assert type(caught.value) is kind
    assert caught.value.message.startswith(message)
    assert caught.value.message.endswith(" (tried 4 times)") == (hint == "network")
    assert hint in caught.value.hint
    assert "secret" not in caught.value.evidence
    assert (checkout.releases / "2026.1" / "common.lock").read_bytes() == before


def test_a_long_explanation_is_cut(checkout: Paths, tmp_path: Path) -> None:
    _script(tmp_path, "{ echo No solution found; seq 100; } >&2; exit 1")
    with pytest.raises(UserError) as caught:
        resolve.refresh(checkout, "2026.1")
    assert caught.value.evidence.splitlines()[-2:] == [str(resolve.CONFLICT_LINES - 1), "…"]


def test_a_release_that_differs_by_machine_is_refused(checkout: Paths, tmp_path: Path) -> None:
    _script(
        tmp_path, f'case "$*" in *aarch64*) sed s/six==1.17.0/six==1.15.0/ {tmp_path}/services; exit ;; esac'
    )
    with pytest.raises(UserError, match="not the same on x86-64 and arm64") as caught:
        resolve.refresh(checkout, "2026.1")
    assert caught.value.evidence == "six 1.15.0, six 1.17.0"


@pytest.mark.usefixtures("home")
def test_an_unknown_release(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["lock", "--release", "1999.1"]) == 2
    said = capsys.readouterr().err
    assert "Error: no OpenStack release 1999.1 is here\nNext: known releases: 2025.1, " in said
