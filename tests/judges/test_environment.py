"""Where the suites are installed: once for a lock, apart from what a person has set. Nothing is fetched."""

import io
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from osbox import run
from osbox.errors import Error
from osbox.judges import environment
from osbox.releases import folder, lock
from osbox.run import Result
from osbox.site.site import Paths, Site
from tests.conftest import PROJECT

RELEASE = folder.known(PROJECT / "releases")[-1]
REFUSED = Error(
    "python failed with exit code 1", evidence="$ pip install\nNo matching distribution", hint="x"
)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What would be run. Making an environment makes its directory."""
    lines = list[Sequence[str]]()

    def fake(argv: Sequence[str], **_: Any) -> Result:
        lines.append(argv)
        if "venv" in argv:
            (Path(argv[-1]) / "bin").mkdir(parents=True)
        return Result(0, "", "")

    monkeypatch.setattr(run, "run", fake)
    return lines


def fails(at: str) -> Callable[..., Result]:
    """run.run, of which pip's command of that name fails."""

    def fake(argv: Sequence[str], **_: Any) -> Result:
        if "venv" in argv:
            Path(argv[-1]).mkdir(parents=True)
        if at in argv:
            raise REFUSED
        return Result(0, "", "")

    return fake


def test_it_is_made_once_for_a_lock(paths: Paths, said: list[Sequence[str]]) -> None:
    place = environment.ready(paths)
    assert place.parent == paths.tools
    assert (place / environment.READY).exists()
    assert [line[-1] for line in said] == [str(place), str(environment.LOCK)]
    assert {"--require-hashes", "--no-deps", "--no-user"} < set(said[1])
    assert str(place / "bin/python") in said[1]
    assert environment.ready(paths) == place
    assert len(said) == 2


def test_another_lock_has_another_one_and_the_old_one_goes(
    paths: Paths, said: list[Sequence[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = environment.ready(paths)
    (paths.tools / "mmdebstrap").mkdir()
    (tmp_path / "lock").write_text("tempest==1\n")
    monkeypatch.setattr(environment, "LOCK", tmp_path / "lock")
    new = environment.ready(paths)
    assert new != old
    assert sorted(paths.tools.iterdir()) == sorted([paths.tools / "mmdebstrap", new])


def test_another_python_has_another_one(
    paths: Paths, said: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = environment.ready(paths)
    monkeypatch.setattr(sys, "version", "4.0")
    assert environment.ready(paths) != old
    assert not old.exists()


def test_one_that_was_half_made_is_made_again(paths: Paths, said: list[Sequence[str]]) -> None:
    place = environment.ready(paths)
    (place / environment.READY).unlink()
    (place / "half").touch()
    assert environment.ready(paths) == place
    assert not (place / "half").exists()
    assert (place / environment.READY).exists()


def test_pips_refusal_is_told_in_our_words(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "run", fails("install"))
    with pytest.raises(Error, match="the test suites could not be installed") as refused:
        environment.ready(paths)
    assert refused.value.evidence == REFUSED.evidence
    assert "pip config list" in refused.value.hint
    assert list(paths.tools.iterdir()) == [], "so that the next run begins anew"


def test_the_lock_is_of_what_is_wanted() -> None:
    """`make lock` makes it of requirements.in."""
    wanted = {
        line.partition("#")[0].strip()
        for line in environment.LOCK.with_suffix(".in").read_text().splitlines()
    }
    text = environment.LOCK.read_text()
    locked = {one.name: one for one in lock.parse(text)}
    assert wanted - {""} <= locked.keys()
    assert [name for name, one in locked.items() if "--hash=sha256:" not in one.text] == []
    assert all("requirements.in" in " ".join(locked[name].parents) for name in wanted - {""})


# --- Swift's source
# --------------------------------------------------------------------------------


def version(paths: Paths) -> str:
    locked = (paths.releases / RELEASE / "swift.lock").read_text()
    return next(line.split()[0] for line in locked.splitlines() if line.startswith("swift==")).split("==")[1]


def index(paths: Paths, asked: list[str]) -> Callable[..., Result]:
    """run.run of a pip whose index has the source that is locked; notes what it is asked for."""

    real = run.run

    def fake(argv: Sequence[str], **_: Any) -> Result:
        if argv[0] == "tar":
            return real(argv)
        asked.append(Path(argv[argv.index("--requirement") + 1]).read_text())
        name = f"swift-{version(paths)}"
        with tarfile.open(Path(argv[-1]) / f"{name}.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo(f"{name}/test/functional/tests.py")
            member.size = 4
            archive.addfile(member, io.BytesIO(b"pass"))
        return Result(0, "", "")

    return fake


def test_the_source_is_that_of_the_release(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(run, "run", index(paths, asked))
    half = paths.tools / f"swift-{version(paths)}.new"
    half.mkdir(parents=True)
    (half / "swift-0.tar.gz").write_text("of a run that was killed")
    place = environment.swift(paths, paths.tools / "suites-x", RELEASE)
    assert (place / "test/functional/tests.py").read_text() == "pass"
    assert list(paths.tools.iterdir()) == [place]
    assert len(asked) == 1
    assert asked[0].startswith(f"swift=={version(paths)} ")
    assert "--hash=sha256:" in asked[0]
    assert "xattr" not in asked[0]
    assert environment.swift(paths, paths.tools / "suites-x", RELEASE) == place
    assert len(asked) == 1


def test_an_index_without_the_source(paths: Paths, said: list[Sequence[str]]) -> None:
    with pytest.raises(Error, match=f"the index has no source of Swift {version(paths)}"):
        environment.swift(paths, paths.tools / "suites-x", RELEASE)


def test_an_environment_stays_when_the_source_is_refused(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run", fails("download"))
    place = environment.ready(paths)
    with pytest.raises(Error, match="could not be installed"):
        environment.swift(paths, place, RELEASE)
    assert environment.ready(paths) == place


# --- in which it is run
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("theirs", ["", "/of/a/person"])
def test_the_suites_see_what_is_meant_for_them(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, theirs: str, tls: bool
) -> None:
    """A person's PYTHONPATH took ours, and with it the recorder, away from the suite."""
    for name in ("PYTHONPATH", "PYTHONHOME", "OS_CLOUD", "OS_AUTH_URL", "https_proxy"):
        monkeypatch.setenv(name, theirs) if theirs else monkeypatch.delenv(name, raising=False)
    place = paths.tools / "suites-x"
    (place / "bin").mkdir(parents=True)
    (place / "bin/python").write_text(
        '#!/bin/sh\necho "$PYTHONPATH,$PYTHONHOME,$OS_CLOUD,$OS_AUTH_URL,$https_proxy"\n'
    )
    (place / "bin/python").chmod(0o755)
    more = environment.variables(paths, Site(tls=tls), {"PYTHONPATH": "/ours", "OS_CLOUD": "judge"})
    assert more.get("SSL_CERT_FILE") == (str(paths.trusted) if tls else None)
    assert run.run(environment.python(place, "-m", "pytest"), env=more).out == "/ours,,judge,,\n"
    assert more["no_proxy"] == "*"


def test_pip_is_led_nowhere_else(
    paths: Paths, said: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_USER", "PIP_TARGET", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    environment.ready(paths)
    for line in said:
        assert line[0] == "env"
        assert {"PIP_USER", "PIP_TARGET", "PYTHONPATH"} < set(line)
