"""A backup as a file: what is written is read, and nothing else is taken for one."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest
import zstandard

from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import archive, backup, keep
from osbox.generations.archive import Header
from osbox.generations.record import Generation
from osbox.site.site import Paths, Site
from tests.generations.test_record import kept, one

KEY = pyrage.x25519.Identity.generate()
HEADER = Header("lab", "10.29.29.0/24", "workers = 2\n", "2026-12-03T00:00:00+00:00", one(3))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(f"# public key: {KEY.to_public()}\n{KEY}\n")
    return file


def write(file: Path, *, sealed: bool = True, size: int = 3 << 20) -> Path:
    place = file.with_name("tree")
    (place / "data" / "nova").mkdir(parents=True, exist_ok=True)
    (place / "data" / "nova" / "t.ibd").write_bytes(b"rows" * 1000)
    (place / "data" / "link").unlink(missing_ok=True)
    (place / "data" / "link").symlink_to("/etc/passwd")
    with archive.writing(file, [KEY.to_public()] if sealed else []) as sink:
        writer = archive.Writer(sink)
        writer.header(HEADER)
        writer.tree(archive.VOLUMES, place)
        writer.pieces(archive.OBJECTS, io.BytesIO(os.urandom(size)))
        writer.end()
    return file


@pytest.mark.parametrize("sealed", [True, False])
def test_what_is_written_is_read(tmp_path: Path, key: Path, *, sealed: bool) -> None:
    file = write(tmp_path / "cloud.osbox", sealed=sealed)
    told = backup.verify(file, key if sealed else None)
    assert (told.header, told.members, told.octets > 3 << 20) == (HEADER, 3, True)
    assert backup.header(file, key if sealed else None) == HEADER
    assert file.stat().st_mode & 0o777 == 0o600
    assert (b"workers" in file.read_bytes()) != sealed
    with archive.opened(file, key if sealed else None) as source:
        names = [info.name for info, _ in archive.read(source, "x")]
    assert names == [
        "osbox-backup.json",
        "volumes/data",
        "volumes/data/link",
        "volumes/data/nova",
        "volumes/data/nova/t.ibd",
        "objects.tar/000000",
    ]


def test_only_the_header_is_read_of_a_large_one(tmp_path: Path, key: Path) -> None:
    file = write(tmp_path / "cloud.osbox", size=40 << 20)
    assert backup.header(file, key) == HEADER


def read_whole(file: Path, key: Path | None) -> None:
    """By who reads the content, not by who looks whether it was read."""
    with archive.opened(file, key) as source:
        for _, content in archive.read(source, str(file)):
            content.read()


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9, 0.99])
def test_one_that_is_cut_or_changed_is_told(tmp_path: Path, key: Path, where: float, *, sealed: bool) -> None:
    file = write(tmp_path / "cloud.osbox", sealed=sealed)
    whole = file.read_bytes()
    place = max(300, int(len(whole) * where))
    changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    for other in (whole[:place], changed, whole[: -1 if sealed else -100]):
        file.write_bytes(other)
        with pytest.raises(Error, match="is damaged or cut"):
            backup.verify(file, key if sealed else None)
        with pytest.raises(Error, match="is damaged or cut"):
            read_whole(file, key if sealed else None)


def test_a_key_that_is_another_or_none(tmp_path: Path, key: Path) -> None:
    file = write(tmp_path / "cloud.osbox")
    with pytest.raises(UserError, match="is sealed") as caught:
        backup.verify(file, None)
    assert "--key" in caught.value.hint
    key.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(UserError, match="is sealed for another key"):
        backup.verify(file, key)
    key.write_text("AGE-SECRET-KEY-1NONSENSE")
    with pytest.raises(UserError, match="has no key of age"):
        backup.verify(file, key)


@pytest.mark.parametrize("text", [b"", b"no backup", b"\x1f\x8b", b"age-encryption.org/v1"])
def test_what_is_no_backup(tmp_path: Path, key: Path, text: bytes) -> None:
    file = tmp_path / "other"
    file.write_bytes(text)
    with pytest.raises(Error, match=r"no backup of osbox|damaged or cut"):
        backup.verify(file, key)
    with pytest.raises(UserError, match="cannot be read"):
        backup.verify(tmp_path / "nothing", key)


def packed(tmp_path: Path, fill: Callable[[tarfile.TarFile], None]) -> Path:
    """A stranger's tar, packed as ours."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        fill(tar)
    file = tmp_path / "strange"
    file.write_bytes(zstandard.ZstdCompressor().compress(raw.getvalue()))
    return file


def member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("README", "hello", "it begins with README"),
        ("osbox-backup.json", "{", "Expecting property name"),
        ("osbox-backup.json", "[]", "items"),
        ("osbox-backup.json", json.dumps({"format": 2}), ""),
        ("osbox-backup.json", json.dumps({"format": 1, "name": "x"}), "generation"),
    ],
)
def test_a_strangers_tar(tmp_path: Path, name: str, text: str, match: str) -> None:
    file = packed(tmp_path, lambda tar: member(tar, name, text.encode()))
    with pytest.raises(UserError, match=r"no backup of osbox|of format 2, and this osbox knows 1") as caught:
        backup.verify(file, None)
    assert match in caught.value.evidence


@pytest.mark.parametrize("name", ["volumes/../../x", "/volumes/x", "volumes/x/../../../y"])
def test_nothing_is_unpacked_outside_of_its_place(tmp_path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    with pytest.raises(UserError, match="no backup of osbox"):
        backup._member(info, io.BytesIO(), tmp_path / "new", 0)


def test_no_link_leads_out_of_a_backup(tmp_path: Path) -> None:
    """Swift's rings have one, and it is for who reads the volume."""
    new, outside = tmp_path / "new", tmp_path / "outside"
    new.mkdir()
    outside.mkdir()
    link = tarfile.TarInfo("volumes/link")
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    backup._member(link, io.BytesIO(), new, os.getuid())
    assert (new / "volumes/link").readlink() == outside
    link.name = "host/link"
    directory = tarfile.TarInfo("volumes/link")
    directory.type = tarfile.DIRTYPE
    device = tarfile.TarInfo("volumes/null")
    device.type = tarfile.CHRTYPE
    for info in (link, directory, device, tarfile.TarInfo("volumes/link/x"), tarfile.TarInfo("volumes/link")):
        with pytest.raises(UserError, match="no backup of osbox"):
            backup._member(info, io.BytesIO(), new, os.getuid())
    assert not list(outside.iterdir())


def test_a_file_that_was_there_stays_when_writing_ends_early(tmp_path: Path) -> None:
    file = tmp_path / "cloud.osbox"
    file.write_text("the last one")
    with pytest.raises(RuntimeError), archive.writing(file, [KEY.to_public()]):
        raise RuntimeError
    assert [place.name for place in tmp_path.iterdir()] == ["cloud.osbox"]
    assert file.read_text() == "the last one"


def test_whom_it_is_for(tmp_path: Path, key: Path) -> None:
    public = str(KEY.to_public())
    other = tmp_path / "public"
    other.write_text(f"{public}\n")
    for text in (public, str(key), str(other)):
        assert str(archive.recipient(text)) == public
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for wrong in ("age1nonsense", "nothing", str(tmp_path), str(binary)):
        with pytest.raises(UserError, match="is no public key of age"):
            archive.recipient(wrong)


def test_what_a_backup_does_not_fit(tmp_path: Path) -> None:
    now = datetime(2026, 12, 3, 1, tzinfo=UTC)
    backup.require_fits(HEADER, Site(), "2026.1", now)
    backup.require_fits(HEADER, Site(), "2026.2", now)
    backup.require_fits(HEADER, Site(), "", now)
    with pytest.raises(UserError, match="clock is behind"):
        backup.require_fits(HEADER, Site(), "2026.1", now - timedelta(hours=2))
    with pytest.raises(UserError, match=r"is of 2026\.1, and the images here are of 2025\.2"):
        backup.require_fits(HEADER, Site(), "2025.2", now)
    other = replace(HEADER, site_toml='swift_policies = ["gold", "silver"]')
    with pytest.raises(UserError, match="the storage policies gold, silver, and here are Policy-0") as caught:
        backup.require_fits(other, Site(), "2026.1", now)
    assert caught.value.hint == 'swift_policies = ["gold", "silver"] in site.toml'


def test_a_backup_costs_no_generation(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own is one too many for a moment: each night the oldest went, and with old age the last one."""
    spared = list[int]()

    def keeps(*_: object, needed: Sequence[int] = ()) -> Generation:
        spared.extend(needed)
        raise RuntimeError

    kept(paths, 1)
    kept(paths, 2)
    monkeypatch.setattr(keep, "keep", keeps)
    with pytest.raises(RuntimeError):
        backup.create(paths, Site(), Engine("host", "28"), None, [])
    assert spared == [1, 2]


def test_names_and_addresses_are_those_of_here(tmp_path: Path) -> None:
    """With the stack.env of a cloud beside this one Compose would act on that one's containers."""
    paths = Paths(tmp_path, tmp_path / "home")
    host = tmp_path / "host"
    for place in (host, paths.home):
        place.mkdir()
    for file in ("site.toml", "stack.env"):
        (host / file).write_text("theirs")
    paths.stack_env.write_text("ours")
    backup._take_site(paths, host)
    assert {file.name: file.read_text() for file in host.iterdir()} == {"stack.env": "ours"}
