"""Images of the user's own: what is refused before anything is uploaded."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osbox.contents import images, setup
from osbox.errors import Error, UserError
from osbox.site.site import Paths


def test_a_file_with_its_checksum(tmp_path: Path, paths: Paths) -> None:
    file = tmp_path / "mine.qcow2"
    file.write_bytes(b"QFI\xfb and more")
    for kind in (hashlib.sha256, hashlib.sha512):
        upload = images.own_image(str(file), kind(file.read_bytes()).hexdigest(), paths)
        assert (upload.name, upload.disk_format, upload.container_format) == ("mine", "qcow2", "bare")


def test_a_wrong_checksum_shows_both(tmp_path: Path, paths: Paths) -> None:
    file = tmp_path / "mine.raw"
    file.write_bytes(b"disk")
    with pytest.raises(UserError, match="differs") as error:
        images.own_image(str(file), "0" * 64, paths)
    assert hashlib.sha256(b"disk").hexdigest() in error.value.evidence


def test_what_is_not_there(tmp_path: Path, paths: Paths) -> None:
    with pytest.raises(UserError, match="there is no image"):
        images.own_image(str(tmp_path / "nothing.raw"), "", paths)


def test_an_address_needs_a_checksum_and_http(paths: Paths) -> None:
    with pytest.raises(UserError, match="needs its checksum"):
        images.own_image("http://127.0.0.1:9/disk.raw", "", paths)
    with pytest.raises(UserError, match="neither a file nor"):
        images.own_image("ftp://127.0.0.1/disk.raw", "0" * 64, paths)


def test_an_address_that_does_not_answer(paths: Paths) -> None:
    with pytest.raises(Error, match="could not be fetched"):
        images.own_image("http://127.0.0.1:9/disk.raw", "0" * 64, paths)
    assert not list((paths.home / "downloads").glob("disk.raw"))


def test_half_a_key_of_a_killed_run_is_not_taken_for_the_key(paths: Paths) -> None:
    """Killed while it wrote: what is there is of another name, and the key is made anew."""

    class Compute:
        def find_keypair(self, _: str) -> None:
            return None

        def create_keypair(self, **_: str) -> None:
            return None

    paths.home.mkdir(parents=True)
    (paths.home / "id_ed25519.new").write_text("-----BEGIN OPENSSH")
    cloud: Any = SimpleNamespace(compute=Compute())
    assert setup.key_pair(cloud, paths) == [f"key {paths.home / 'id_ed25519'}", "key pair osbox"]
    assert (paths.home / "id_ed25519").stat().st_mode & 0o777 == 0o600
    assert not (paths.home / "id_ed25519.new").exists()
    assert setup.key_pair(cloud, paths) == ["key pair osbox"]
