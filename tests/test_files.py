"""A file is there whole, with the mode that was asked for; a disk that is full leaves the old one and nothing
beside it."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from osbox import files


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


@pytest.fixture(params=[0o022, 0o077, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    old = os.umask(request.param)
    yield
    os.umask(old)


def test_a_file_has_its_content_and_mode_whatever_the_umask(umask: None, tmp_path: Path) -> None:
    public, private = tmp_path / "below" / "a", tmp_path / "b"
    files.write(public, "grün\n")
    files.write(private, b"\x00", mode=files.PRIVATE)
    assert (public.read_bytes(), mode(public)) == ("grün\n".encode(), 0o644)
    assert (private.read_bytes(), mode(private)) == (b"\x00", 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "below"]


def test_a_file_that_is_there_keeps_its_mode_unless_another_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("old")
    file.chmod(0o640)
    files.write(file, "new")
    assert (file.read_text(), mode(file)) == ("new", 0o640)
    files.write(file, "secret", mode=files.PRIVATE)
    assert mode(file) == 0o600


def test_what_is_right_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert files.write_changed(file, "x", mode=files.PRIVATE)
    before = file.stat().st_ino
    assert not files.write_changed(file, "x", mode=files.PRIVATE)
    assert file.stat().st_ino == before
    file.chmod(0o644)
    assert files.write_changed(file, "x", mode=files.PRIVATE), "a secret that others could read"
    assert mode(file) == 0o600


@pytest.mark.parametrize("shared", [False, True])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shared: bool
) -> None:
    file = tmp_path / "a"
    files.write(file, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(file, "new", shared=shared)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("there", [True, False], ids=["a file", "nothing yet"])
def test_a_link_stays_and_what_it_leads_to_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    """Beside the target: the link's own directory may be of another disk, and a rename goes across none."""
    disk, file = tmp_path / "disk", tmp_path / "home" / "ledger.json"
    disk.mkdir()
    file.parent.mkdir()
    if there:
        (disk / "real").write_text("old")
        (disk / "real").chmod(0o640)
    (disk / "again").symlink_to("real")
    file.symlink_to("../disk/again")
    seen = list[str]()
    rename = Path.rename

    def noted(self: Path, target: Path) -> Path:
        seen.append(f"{self.parent} {target.parent}")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", noted)
    files.write(file, "new")
    assert (disk / "real").read_text() == file.read_text() == "new"
    assert file.readlink() == Path("../disk/again")
    assert mode(disk / "real") == (0o640 if there else 0o644)
    assert seen == [f"{disk} {disk}"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "again",
        "disk",
        "home",
        "ledger.json",
        "real",
    ]
    assert files.write_changed(file, "newer")
    assert file.is_symlink()


IN_PLACE = {
    "build/artifacts.py": "a build's log; facts inside of a directory that is renamed when it is whole",
    "build/pool.py": "a build's log",
    "cli.py": "a defect's trace",
    "commands/inventory.py": "where the user said",
    "contents/download.py": "a download, under another name",
    "contents/images.py": "a file without a name",
    "engine/docker.py": "logins, in a private directory of the block",
    "engine/footprint.py": "the kernel's settings",
    "engine/root.py": "inside of a root that is renamed when it is whole",
    "generations/archive.py": "a stream under another name, renamed when it is whole",
    "generations/backup.py": "inside of a directory that is renamed when it is whole",
    "generations/inside/trees.py": "in a container, inside of a directory that is renamed when it is whole",
    "judges/disk.py": "inside of a container, by a line of Python",
    "images/sandbox.py": "made-up secrets of a test",
    "judges/environment.py": "inside of a directory that is renamed when it is whole",
    "judges/inside/osbox_recorder.py": "records, so that a run that is killed has told what it knew",
    "judges/run.py": "a suite's output",
    "run.py": "a daemon's log",
    "supply/sbom.py": "in a scratch directory",
    "releases/resolve.py": "a scratch directory; locks, which git keeps",
    "site/recipes.py": "inside of a directory that is renamed when it is whole",
    "supply/bundle.py": "in a scratch directory",
    "supply/unbundle.py": "compared with their checksums before they are used",
    "supply/wheels.py": "copies of wheels",
}
"""Which modules write a file as it lies, and why that does no harm."""
WRITES = re.compile(r"\.write_(?:text|bytes)\(|\.open\([^)]*[\"'][wax]|copyfile\(|shutil\.copy")


def test_files_are_written_whole_but_for_those_that_say_why() -> None:
    """A file with secrets was cut off by a kill, or kept the mode of one that all could read."""
    source = Path(files.__file__).parent
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if path.name != "files.py" and WRITES.search(path.read_text())
    }
    assert found == set(IN_PLACE)
