"""The ramdisk's and the guest image's cache, and the BIOS boot code, without an engine."""

import hashlib
import importlib.util
import os
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from osbox.build import artifacts
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import Error
from osbox.site.site import Paths, Site

PROJECT = Path(__file__).parents[2]
RELEASE = "2026.1"
ENGINE = Engine("private", "26.1.5")
FILES = {"ramdisk": {"kernel": b"linux", "initramfs": b"cpio"}, "guest": {"debian.raw": b"a disk"}}


@dataclass
class FakeBuilds:
    """Stands for BuildKit: writes what the recipe's last stage would hold."""

    code: int = 0
    targets: list[str] = field(default_factory=list)
    interrupt: bool = False
    base: str = "sha256:1"

    def build_argv(self, engine: Engine, paths: Paths, dockerfile: Path, **words: Any) -> list[str]:
        return [str(dockerfile), words["target"], str(words["output"])]

    def build(self, engine: Engine, argv: Sequence[str], on_line: Callable[[str], None]) -> int:
        _, target, output = argv
        self.targets.append(target)
        on_line("#1 building")
        if self.interrupt:
            Path(output, "kernel").write_bytes(b"half")
            raise KeyboardInterrupt
        if self.code:
            on_line("#1 ERROR: no such package")
            return self.code
        for name, content in FILES[target].items():
            Path(output, name).write_bytes(content)
        return 0

    def image(self, engine: Engine, name: str) -> ImageInfo:
        return ImageInfo(self.base)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> FakeBuilds:
    fake = FakeBuilds()
    for name in ("build_argv", "build", "image"):
        monkeypatch.setattr(docker, name, getattr(fake, name))
    return fake


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    project = tmp_path / "project"
    for kind in FILES:
        (project / "images" / kind).mkdir(parents=True)
        (project / "images" / kind / "Dockerfile").write_text("FROM scratch\n")
    (project / "images/base").mkdir()
    for name in artifacts.BASE_FILES:
        (project / "images/base" / name).write_text(name)
    (project / "releases" / RELEASE).mkdir(parents=True)
    (project / "releases" / RELEASE / "ramdisk.lock").write_text("ironic-python-agent==11.6.0\n")
    return Paths(project=project, home=tmp_path / "home")


def ramdisk(paths: Paths, **options: Any) -> artifacts.Ramdisk:
    def silent(_: str) -> None: ...

    return artifacts.build_ramdisk(
        ENGINE, paths, Site(), debian="osbox-debian:trixie", on_line=silent, release=RELEASE, **options
    )


def guest(paths: Paths) -> artifacts.Guest:
    return artifacts.build_guest(ENGINE, paths, Site(), debian="osbox-debian:trixie", on_line=lambda _: None)


def test_the_base_files_are_there() -> None:
    assert [name for name in artifacts.BASE_FILES if not (PROJECT / "images/base" / name).is_file()] == []


def test_recipes_copy_only_files_that_the_hash_covers() -> None:
    for kind in FILES:
        text = (PROJECT / "images" / kind / "Dockerfile").read_text().splitlines()
        copied = [word for line in text if line.startswith("COPY images/") for word in line.split()[1:-1]]
        outside = [word for word in copied if not word.startswith(f"images/{kind}/")]
        assert {word.removeprefix("images/base/") for word in outside} <= set(artifacts.BASE_FILES)


def test_a_second_build_does_nothing(paths: Paths, builds: FakeBuilds) -> None:
    first = ramdisk(paths)
    assert (first.kernel.read_bytes(), first.initramfs.read_bytes()) == (b"linux", b"cpio")
    assert ramdisk(paths) == first
    assert builds.targets == ["ramdisk"]


@pytest.mark.parametrize("change", ["recipe", "lock", "base file", "base image", "argument", "mode"])
def test_every_input_counts(paths: Paths, builds: FakeBuilds, change: str) -> None:
    first, options = ramdisk(paths), {}
    if change == "recipe":
        (paths.images / "ramdisk/packages.txt").write_text("parted\n")
    elif change == "lock":
        (paths.releases / RELEASE / "ramdisk.lock").write_text("ironic-python-agent==11.7.0\n")
    elif change == "base file":
        (paths.images / "base/apt-install").write_text("changed")
    elif change == "base image":
        builds.base = "sha256:2"
    elif change == "mode":
        (paths.images / "ramdisk/Dockerfile").chmod(0o755)
    else:
        options = {"kernel": "generic"}
    os.utime(first.kernel.parent, (0, 0))
    second = ramdisk(paths, **options)
    assert second != first
    assert first.kernel.exists() == (change == "argument"), "an older one goes, another kind of one stays"
    assert second.kernel.exists()


def test_what_another_checkout_used_today_stays(paths: Paths, builds: FakeBuilds, tmp_path: Path) -> None:
    """It may be read this moment: one checkout removed the ramdisk that another one uploaded."""
    first = ramdisk(paths)
    os.utime(first.kernel.parent, (0, 0))
    assert ramdisk(paths) == first, "used today"
    other = Paths(tmp_path / "other", paths.home)
    shutil.copytree(paths.project, other.project)
    (other.images / "ramdisk/packages.txt").write_text("parted\n")
    second = ramdisk(other)
    assert first.kernel.exists()
    assert second.kernel.exists()


def test_only_older_ones_of_the_same_kind_are_removed(paths: Paths, builds: FakeBuilds) -> None:
    disk = guest(paths)
    strangers = [paths.artifacts / "ramdisk-of-mine", paths.artifacts / "fedora.qcow2"]
    for stranger in strangers:
        stranger.mkdir()
    (paths.artifacts / "ramdisk-0123456789ab.new").mkdir()
    ramdisk(paths)
    assert disk.path.exists()
    assert all(stranger.exists() for stranger in strangers)
    assert not (paths.artifacts / "ramdisk-0123456789ab.new").exists()


def test_the_guest_is_described_for_glance(paths: Paths, builds: FakeBuilds) -> None:
    disk = guest(paths)
    assert (disk.size, disk.min_disk_gib) == (6, 2)
    assert disk.checksum == hashlib.sha256(b"a disk").hexdigest()
    assert guest(paths) == disk


def test_a_failed_build_shows_its_end_and_its_log(paths: Paths, builds: FakeBuilds) -> None:
    builds.code = 1
    with pytest.raises(Error) as caught:
        ramdisk(paths)
    log = paths.logs / "build-ramdisk.log"
    assert "no such package" in caught.value.evidence
    assert str(log) in caught.value.hint
    assert "#1 building" in log.read_text()
    assert list(paths.artifacts.iterdir()) == []


def test_a_failed_build_keeps_the_older_artefact(paths: Paths, builds: FakeBuilds) -> None:
    first = ramdisk(paths)
    (paths.images / "ramdisk/packages.txt").write_text("parted\n")
    builds.code = 1
    with pytest.raises(Error):
        ramdisk(paths)
    assert first.kernel.exists()


def test_an_interrupted_build_is_not_taken_for_a_whole_one(paths: Paths, builds: FakeBuilds) -> None:
    builds.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        ramdisk(paths)
    builds.interrupt = False
    assert ramdisk(paths).kernel.read_bytes() == b"linux"
    assert [entry.name for entry in paths.artifacts.iterdir() if entry.name.endswith(".new")] == []


def load(path: str) -> ModuleType:
    """A Python file that stands beside a Dockerfile."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, PROJECT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bios() -> ModuleType:
    return load("images/guest/bios.py")


BOOT = b"\xeb\x63" + bytes(range(256)) + bytes(252) + b"\x55\xaa"


def test_boot_code_is_embedded_beside_the_partition_table(bios: ModuleType, tmp_path: Path) -> None:
    table = b"\x11" * 6 + b"\x22" * 64
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(440) + table + b"\x55\xaa" + bytes(20 * 512))
    core = b"\x33" * 1500
    bios.embed(disk, BOOT, core, 8, 4)
    content = disk.read_bytes()
    assert content[:0x5C] == BOOT[:0x5C]
    assert struct.unpack_from("<Q", content, 0x5C) == (8,)
    assert content[0x66:0x68] == b"\x90\x90"
    assert content[440:510] == table
    assert content[510:512] == b"\x55\xaa"
    placed = content[8 * 512 :]
    assert struct.unpack_from("<Q", placed, 500) == (9,)
    assert placed[:500] == core[:500]
    assert placed[508:1500] == core[508:]
    assert len(content) == 21 * 512


def test_a_core_image_that_does_not_fit_is_refused(bios: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"its partition 1024"):
        bios.core_image(bytes(1025), 2048, 2)


def test_a_boot_image_without_signature_is_refused(bios: ModuleType) -> None:
    with pytest.raises(ValueError, match="55 aa"):
        bios.boot_sector(bytes(512), bytes(512), 2048)


def test_kept_kernel_modules_keep_what_they_need(tmp_path: Path) -> None:
    dep = {
        "kernel/fs/ext4/ext4.ko.xz": "kernel/lib/crc16.ko.xz",
        "kernel/lib/crc16.ko.xz": "",
        "kernel/drivers/net/virtio_net.ko.xz": "",
        "kernel/drivers/net/wireless/ath.ko.xz": "kernel/net/mac80211.ko.xz",
        "kernel/drivers/network_like/other.ko.xz": "",
        "kernel/net/mac80211.ko.xz": "",
    }
    for name in dep:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "modules.dep").write_text("".join(f"{name}: {needs}\n" for name, needs in dep.items()))
    rules = tmp_path / "modules.txt"
    rules.write_text("# families\ndrivers/net\n-drivers/net/wireless\nfs/ext4\n")
    load("images/ramdisk/trim_modules.py").main(tmp_path, rules)
    left = {file.name for file in tmp_path.rglob("*.ko.xz")}
    assert left == {"ext4.ko.xz", "crc16.ko.xz", "virtio_net.ko.xz"}
