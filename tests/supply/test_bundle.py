"""Packing what lives: an engine runs on its root, and somebody works in the checkout, while a bundle is
made."""

import hashlib
import os
import shutil
import tarfile
import time
from pathlib import Path

import pytest
import zstandard

from osbox import run
from osbox.engine import root as engine_root
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Paths
from osbox.supply import bundle as bundles
from osbox.supply import manifest as bundle
from osbox.supply.checkout import Checkout
from tests import background

ENGINE = Engine("private", "26")
VOLATILE = ("tmp", "run", "var/tmp", "var/log", "var/cache")


@pytest.fixture
def root(paths: Paths) -> Path:
    """An engine's root, as small as one can be."""
    top = paths.engine / "root"
    for name in ("usr/lib", "etc/osbox", "var/lib/dpkg", *VOLATILE, "root", "proc", "dev"):
        (top / name).mkdir(parents=True, exist_ok=True)
    (top / "tmp").chmod(0o1777)
    (top / "var/lock").symlink_to("/run/lock")
    (top / "bin").symlink_to("usr/bin")
    (top / engine_root.RECIPE).write_text(engine_root.recipe())
    (top / "usr/lib/large").write_bytes(b"x" * (8 << 20))
    (top / "usr/lib/small").write_text("library")
    return top


def members(file: Path) -> dict[str, tarfile.TarInfo]:
    with (
        file.open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        return {member.name: member for member in tar}


def test_what_is_volatile_is_not_read(paths: Paths, root: Path, tmp_path: Path) -> None:
    """Each directory is there, empty, with its mode, however its contents come and go."""

    def come_and_go() -> None:
        for name in VOLATILE:
            (root / name / "file").touch()
            (root / name / "file").unlink()

    with background.busy(come_and_go):
        for number in range(30):
            (parts := tmp_path / f"parts-{number}").mkdir()
            bundles._pack_engine(paths, ENGINE, parts)
    found = members(parts / bundle.ENGINE)
    assert {
        f"./{name}" for name in (*VOLATILE, "usr/lib/small", "etc/osbox-engine", "var/lib/dpkg")
    } <= found.keys()
    assert not [name for name in found if name.endswith("/file")]
    assert found["./tmp"].mode == 0o1777
    assert found["./var/lock"].linkname == "/run/lock"
    assert {member.uid for member in found.values()} == {os.geteuid()}
    assert [name for name in found if list(found).count(name) > 1] == []


def changes(monkeypatch: pytest.MonkeyPatch, script: Path, file: Path, *, times: int) -> None:
    """tar itself changes the file, in the midst of reading it: a thread beside it may not get a turn."""
    script.write_text(
        f"""#!/bin/sh
test $TAR_CHECKPOINT -eq 100 && echo >>{script}.tries
test $(wc -l <{script}.tries) -gt {times} || printf more >>{file}
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("TAR_OPTIONS", f"--checkpoint=100 --checkpoint-action=exec={script}")


def test_a_file_that_changes_is_packed_again(
    paths: Paths, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = root / "usr/lib/large"
    monkeypatch.setattr(bundles, "PAUSE_SECONDS", 0.01)
    changes(monkeypatch, tmp_path / "change", large, times=1)
    bundles._pack_engine(paths, ENGINE, tmp_path)
    assert (tmp_path / "change.tries").read_text() == "\n\n"
    assert members(tmp_path / bundle.ENGINE)["./usr/lib/large"].size == large.stat().st_size > 8 << 20


def test_a_file_that_goes_on_changing_is_named(
    paths: Paths, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "PAUSE_SECONDS", 0.01)
    changes(monkeypatch, tmp_path / "change", root / "usr/lib/large", times=99)
    with pytest.raises(Error, match="changed while") as caught:
        bundles._pack_engine(paths, ENGINE, tmp_path)
    assert "usr/lib/large: file changed as we read it" in caught.value.evidence
    assert caught.value.hint
    assert (tmp_path / "change.tries").read_text() == "\n" * bundles.TRIES


def test_what_fails_otherwise_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "PAUSE_SECONDS", 60)
    begin = time.monotonic()
    with pytest.raises(Error, match="tar failed with exit code 2"):
        bundles._pack(["tar", "--create", "--directory", str(tmp_path), "nothing"], tmp_path, "x")
    assert time.monotonic() - begin < 30


def test_the_manifest_tells_the_files_that_were_packed(tmp_path: Path) -> None:
    """Not those that are there a moment later, under somebody's editor."""
    place, parts = tmp_path / "checkout", tmp_path / "parts"
    for directory in (place, parts):
        directory.mkdir()
    (place / "file").write_text("first")
    (place / "link").symlink_to("nowhere")
    bundles._pack_checkout(Checkout(place, "c0ffee", ("file", "link"), ()), parts)
    (place / "file").write_text("second")
    expected = {
        name: hashlib.sha256(text).hexdigest() for name, text in (("file", b"first"), ("link", b"nowhere"))
    }
    assert bundles._packed(parts) == expected
    run.run(["tar", "-C", str(tmp_path), "-xf", str(parts / bundle.CHECKOUT)])
    assert {name: bundle.sha256(tmp_path / name) for name in ("file", "link")} == expected


def test_provenance_is_told_as_it_was_copied(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.provenance.mkdir(parents=True)
    file = paths.provenance / "os-a_latest.json"
    file.write_text("first")
    copy = shutil.copyfile
    monkeypatch.setattr(
        shutil, "copyfile", lambda *words: (copy(*words), file.write_text("second, built meanwhile"))
    )
    [member] = bundles._copy_provenance(paths, ["os-a:latest"], tmp_path)
    assert (member.sha256, member.size) == (hashlib.sha256(b"first").hexdigest(), len("first"))
