"""Images of the user's own: what is a disk, and what is refused before anything is uploaded."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shlex
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard
from oslo_utils.imageutils import format_inspector

from osbox import run
from osbox.contents import diskformat, own, packed
from osbox.errors import UserError
from osbox.site.site import Paths


def at(place: int, magic: bytes, size: int = 70 << 10) -> bytes:
    """Zeros with some bytes in them."""
    return (bytes(place) + magic).ljust(size, b"\0")


def qcow2(
    version: int = 3, backing: int = 0, features: int = 0, size: int = 4 << 30, encrypted: int = 0
) -> bytes:
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", version, backing, 0, 16, size, encrypted)
    return at(0, head.ljust(72, b"\0") + struct.pack(">Q", features))


MBR, GPT = at(510, b"\x55\xaa"), at(510, b"\x55\xaaEFI PART")
PAGE = b"\n<!DOCTYPE html>\n<html><title>404 Not Found</title></html>\n"
PACK: dict[str, Callable[[bytes], bytes]] = {
    "xz": lzma.compress,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}
# file: its content, Glance's word for it or what the refusal says, and the beginning of what to do
DISKS = {
    "debian.raw": (GPT, "raw"),
    "mbr.img": (MBR, "raw"),
    "big-sectors.raw": (at(4096, b"EFI PART"), "raw"),
    "bsd.img": (at(512, b"\x57\x45\x56\x82"), "raw"),
    "apple.img": (at(0, b"ER\2\0".ljust(512, b"\0") + b"PM\0\0"), "raw"),
    "ext4.img": (at(1080, b"\x53\xef"), "raw"),
    "xfs.img": (at(0, b"XFSB"), "raw"),
    "btrfs.img": (at(0x10040, b"_BHRfS_M"), "raw"),
    "fedora.qcow2": (qcow2(), "qcow2"),
    "old.qcow2": (qcow2(2), "qcow2"),
    "guest.img.xz": (lzma.compress(GPT), "raw"),
    "guest.raw.gz": (gzip.compress(MBR), "raw"),
    "guest.raw.bz2": (bz2.compress(MBR), "raw"),
    "guest.raw.zst": (PACK["zst"](MBR), "raw"),
    "two-frames.zst": (PACK["zst"](MBR[:1000]) + PACK["zst"](MBR[1000:]), "raw"),
    # As pzstd packs: a frame that is skipped comes first.
    "threads.raw.zst": (struct.pack("<II", 0x184D2A50, 4) + b"size" + PACK["zst"](MBR), "raw"),
    "CAPITALS.IMG.XZ": (lzma.compress(MBR), "raw"),
    "ntfs.img": (at(3, b"NTFS    ".ljust(507, b"\0") + b"\x55\xaa"), "raw"),
    "exfat.img": (at(3, b"EXFAT   ".ljust(507, b"\0") + b"\x55\xaa"), "raw"),
    "fat16.img": (at(54, b"FAT16   ".ljust(456, b"\0") + b"\x55\xaa"), "raw"),
    "fat32.img": (at(82, b"FAT32   ".ljust(428, b"\0") + b"\x55\xaa"), "raw"),
    "jfs.img": (at(0x8000, b"JFS1"), "raw"),
    "reiser.img": (at(0x10034, b"ReIsEr2Fs"), "raw"),
    "named-wrongly.raw": (lzma.compress(qcow2()), "qcow2"),
}
NO_DISKS = {
    "page.html": (PAGE, "a web page", "a system's cloud image"),
    "page.qcow2": (PAGE, "a web page", "a system's cloud image"),
    "page.raw.xz": (lzma.compress(PAGE), "a web page, packed by xz", "a system's cloud image"),
    "empty.raw": (b"", "empty", "a system's cloud image"),
    "empty.raw.gz": (gzip.compress(b""), "empty, packed by gzip", "a system's cloud image"),
    "zeros.raw": (bytes(1 << 20), "nothing but zeros", "a system's cloud image"),
    "text.txt": (b"to do: milk\n" * 9999, "no partition table, no file system", "a system's cloud image"),
    # Two letters were enough for "a disk with an Apple partition map".
    "error.img": (b"ERROR 404: there is no such image\n", "no partition table", "a system's cloud image"),
    "noise.raw": (bytes(range(1, 256)) * 99, "no partition table, no file system", "a system's cloud image"),
    "debian.iso": (at(0x8001, b"CD001"), "a CD or DVD", "a system's cloud image"),
    "hybrid.iso": (at(0, MBR[:0x8001] + b"CD001"), "a CD or DVD", "a system's cloud image (raw, qcow2"),
    "vault.img": (at(0, b"LUKS\xba\xbe\0\2"), "a LUKS volume", "the whole disk that it is on"),
    "vmlinuz": (at(510, b"\x55\xaa\0\0HdrS"), "a Linux kernel", "a system's cloud image"),
    "initrd.gz": (gzip.compress(b"070701" * 99), "a cpio archive", "a system's cloud image"),
    "disk.vmdk": (at(0, b"KDMV"), "a VMware disk", "qemu-img convert -O raw"),
    "text.vmdk": (b"# Disk DescriptorFile\nversion=1\n", "the description of a VMware", "qemu-img"),
    "disk.vdi": (
        at(0, b"<<< Oracle VM".ljust(64, b"\0") + b"\x7f\x10\xda\xbe"),
        "a VirtualBox disk",
        "qemu-img",
    ),
    "disk.vhdx": (at(0, b"vhdxfile"), "a Hyper-V disk", "qemu-img convert"),
    "disk.vhd": (at(0, b"conectix"), "a Virtual PC disk", "qemu-img convert"),
    "disk.qcow": (qcow2(1), "a qcow disk of version 1", "qemu-img convert"),
    "over.qcow2": (qcow2(backing=512), "a qcow2 disk that holds only what differs", "qemu-img convert"),
    "apart.qcow2": (qcow2(features=4), "a qcow2 disk whose data are in another file", "qemu-img convert"),
    "newer.qcow2": (
        qcow2(features=32),
        "a qcow2 disk with features that Glance does not",
        "qemu-img convert",
    ),
    "aes.qcow2": (qcow2(2, encrypted=1), "a qcow2 disk that is encrypted", "the same disk unencrypted"),
    "luks.qcow2": (qcow2(encrypted=2), "a qcow2 disk that is encrypted", "the same disk unencrypted"),
    "no.qcow2": (qcow2(size=0), "a qcow2 disk of no size", "a system's cloud image"),
    "head.qcow2": (qcow2()[:20], "the beginning of a qcow2", "a system's cloud image"),
    "disk.tar": (at(257, b"ustar"), "a tar archive", "unpack it"),
    "disk.ova.gz": (gzip.compress(at(257, b"ustar")), "a tar archive, packed by gzip", "unpack it"),
    "disk.zip": (b"PK\x03\x04" + bytes(99), "a zip archive", "unpack it"),
    "disk.rar": (b"Rar!\x1a\x07\1\0" + bytes(99), "a rar archive", "unpack it to disk/"),
    "disk.lz4": (b"\x04\x22\x4d\x18" + bytes(99), "an lz4 file", "unpack it"),
    "disk.lz": (b"LZIP\1" + bytes(99), "an lzip file", "unpack it"),
    "disk.lzo": (b"\x89LZO\0\r\n\x1a\n" + bytes(99), "an lzop file", "unpack it"),
    "disk.Z": (b"\x1f\x9d\x90" + bytes(99), "a file of compress", "unpack it to disk/"),
    "install.wim": (b"MSWIM\0\0\0" + bytes(99), "an archive that Windows is installed", "a system's cloud"),
    "swap.img": (at(4086, b"SWAPSPACE2"), "swap space", "a system's cloud image"),
    "crc.cpio": (b"070702" * 99, "a cpio archive", "a system's cloud image"),
    "twice.raw.gz.gz": (gzip.compress(gzip.compress(GPT)), "packed twice: a gzip file", "gzip -dc"),
}


def put(directory: Path, name: str, content: bytes) -> str:
    file = directory / name
    file.write_bytes(content)
    return str(file)


@pytest.mark.parametrize("name", DISKS)
def test_a_disk(name: str, tmp_path: Path, paths: Paths) -> None:
    content, kind = DISKS[name]
    found = own.image(put(tmp_path, name, content), "", paths)
    assert (found.name, found.disk_format) == (name.partition(".")[0], kind)
    assert found.stamp == hashlib.sha256(content).hexdigest()[:32]


def test_what_is_taken_for_a_qcow2_disk_glance_takes_too() -> None:
    for content, kind in DISKS.values():
        if kind == "qcow2" and content.startswith(b"QFI"):
            assert glance_takes(content)


@pytest.mark.parametrize("name", NO_DISKS)
def test_no_disk(name: str, tmp_path: Path, paths: Paths) -> None:
    """A web page and an empty file were uploaded as raw disks, and became active."""
    content, what, hint = NO_DISKS[name]
    source = put(tmp_path, name, content)
    with pytest.raises(UserError, match=f"{name} is no disk for nodes: it (is|has) {what}") as error:
        own.image(source, "", paths)
    assert error.value.hint.startswith(hint)
    assert error.value.evidence
    assert own.image(source, "", paths, raw=True).disk_format == "raw"


# Each line was for a "disk.raw" or said no more than "unpack it".
SHOULD = {
    "fedora 42.vmdk": "qemu-img convert -O raw 'fedora 42.vmdk' 'fedora 42.raw';"
    " osbox setup --image 'fedora 42.raw'",
    "debian-12.5": "qemu-img convert -O raw debian-12.5 debian-12.5.raw; osbox setup --image debian-12.5.raw",
    # qemu-img would write over what it reads.
    "disk.raw": "qemu-img convert -O raw disk.raw disk-converted.raw; osbox setup --image disk-converted.raw",
    "-x.vmdk": "qemu-img convert -O raw ./-x.vmdk ./-x.raw; osbox setup --image ./-x.raw",
    # It would take the packed one for a raw disk.
    "f.vmdk.gz": "gzip -dc f.vmdk.gz > f.vmdk; qemu-img convert -O raw f.vmdk f.raw;"
    " osbox setup --image f.raw",
    "odd": "gzip -dc odd > odd-unpacked; qemu-img convert -O raw odd-unpacked odd.raw;"
    " osbox setup --image odd.raw",
    "my disk.tar": "unpack it to 'my disk'/, then osbox setup --image with the disk that is in it",
    "bundle": "unpack it to bundle-unpacked/, then osbox setup --image with the disk that is in it",
    "vm.ova.gz": "unpack it to vm/, then osbox setup --image with the disk that is in it",
    "it's.gz": """gzip -dc 'it'"'"'s.gz' > 'it'"'"'s'; osbox setup --image 'it'"'"'s'""",
    "a;b.txt": "a system's cloud image (raw, qcow2, or either packed); osbox setup --image 'a;b.txt' --raw,"
    " if nodes' disks shall have it as it is",
}
WITHIN = {
    "f.vmdk.gz": gzip.compress(at(0, b"KDMV")),
    "odd": gzip.compress(at(0, b"KDMV")),
    "my disk.tar": at(257, b"ustar"),
    "bundle": at(257, b"ustar"),
    "vm.ova.gz": gzip.compress(at(257, b"ustar")),
    "it's.gz": gzip.compress(gzip.compress(GPT)),
    "a;b.txt": b"to do: milk\n" * 9999,
}


@pytest.mark.parametrize("name", SHOULD)
def test_what_to_do_names_the_file(
    name: str, tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, name, WITHIN.get(name, at(0, b"KDMV")))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        own.image(name, "", paths)
    assert error.value.hint == SHOULD[name]


def test_an_address_is_a_word_too(paths: Paths) -> None:
    for url in ("https://x.example/d.raw?a=1&b=2", "https://x.example/?a=1&b='2"):
        with pytest.raises(UserError) as error:
            own.image(url, "", paths)
        assert shlex.quote(url) in error.value.hint


@pytest.mark.parametrize("name", NO_DISKS)
def test_raw_is_proposed_for_what_glance_takes(name: str, tmp_path: Path, paths: Paths) -> None:
    """Of a CD that also boots as a disk it was, and Glance answered 415 after all of it had been sent."""
    content = NO_DISKS[name][0]
    with pytest.raises(UserError) as error:
        own.image(put(tmp_path, name, content), "", paths)
    if "--raw" in error.value.hint:
        assert glance_takes(content)


def glance_takes(content: bytes) -> bool:
    """As Glance decides of a raw disk: glance.location, with the inspectors that it uses."""
    seen = format_inspector.InspectWrapper(io.BytesIO(content))
    while seen.read(1 << 16):
        pass
    seen.close()
    try:
        found = seen.format
        assert found
        found.safety_check()
    except format_inspector.ImageFormatError:
        return False
    except format_inspector.SafetyCheckFailed as error:
        return set(error.failures) == {"mbr"}  # the default of gpt_safety_checks_nonfatal
    return True


def test_the_first_bytes_are_shown(tmp_path: Path, paths: Paths) -> None:
    for content, said in ((PAGE, "<!DOCTYPE html>"), (b"\xff\x01" * 99, "ff 01 ff 01")):
        with pytest.raises(UserError) as error:
            own.image(put(tmp_path, "x.raw", content), "", paths)
        assert said in error.value.evidence


# Those of Windows were taken for a disk with an MBR.
BARE = {"ext4.img": "an ext", "fat16.img": "a FAT", "fat32.img": "a FAT", "ntfs.img": "an NTFS"}
BARE |= {"exfat.img": "an exFAT", "jfs.img": "a JFS", "reiser.img": "a ReiserFS"}


def test_a_file_system_alone_is_taken_with_a_warning(
    tmp_path: Path, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, what in BARE.items():
        own.image(put(tmp_path, name, DISKS[name][0]), "", paths)
        assert f"{name} is {what} file system, with no partition table" in capsys.readouterr().err


# --- checksums
# --------------------------------------------------------------------------------


def test_a_file_with_its_checksum(tmp_path: Path, paths: Paths) -> None:
    source = put(tmp_path, "mine.qcow2", qcow2())
    for kind in (hashlib.sha256, hashlib.sha512):
        upload = own.image(source, kind(qcow2()).hexdigest().upper(), paths)
        assert (upload.name, upload.disk_format, upload.container_format) == ("mine", "qcow2", "bare")


def test_a_wrong_checksum_shows_both(tmp_path: Path, paths: Paths) -> None:
    with pytest.raises(UserError, match="differs") as error:
        own.image(put(tmp_path, "mine.raw", GPT), "0" * 64, paths)
    assert hashlib.sha256(GPT).hexdigest() in error.value.evidence


@pytest.mark.parametrize("checksum", ["abc", "d41d8cd98f00b204e9800998ecf8427e", "sha256:" + "0" * 64])
def test_what_is_no_checksum(checksum: str, tmp_path: Path, paths: Paths) -> None:
    with pytest.raises(UserError, match="neither a SHA-256 nor a SHA-512"):
        own.image(put(tmp_path, "mine.raw", GPT), checksum, paths)


def test_what_is_not_there(tmp_path: Path, paths: Paths) -> None:
    with pytest.raises(UserError, match="there is no image"):
        own.image(str(tmp_path / "nothing.raw"), "", paths)


def test_what_is_there_and_no_file(tmp_path: Path, paths: Paths) -> None:
    """It was said that there was none; a name that is too long was a defect."""
    for source in (str(tmp_path), "/dev/null"):
        with pytest.raises(UserError, match=f"{source} is no file"):
            own.image(source, "", paths)
    with pytest.raises(UserError, match="File name too long"):
        own.image("a" * 5000, "", paths)


def test_a_home_that_no_shell_resolved(tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of `--image=~/mine.raw`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path, "mine.raw", GPT)
    assert own.image("~/mine.raw", "", paths).file == tmp_path / "mine.raw"
    with pytest.raises(UserError, match="knows no home of ~nobody-of-that-name"):
        own.image("~nobody-of-that-name/mine.raw", "", paths)


# --- names
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deploy-kernel", "deploy-ramdisk", "debian-13"])
def test_what_osboxs_own_images_are_called(name: str, tmp_path: Path, paths: Paths) -> None:
    """A person's would have taken the place of the one that nodes boot."""
    with pytest.raises(UserError, match=f"{name} is what an image of osbox's own is called"):
        own.image(put(tmp_path, f"{name}.raw.xz", lzma.compress(GPT)), "", paths)


@pytest.mark.parametrize("name", ["a\nb.raw", "\x1b[31mred.raw", os.fsdecode(b"\xff.raw"), "x" * 251])
def test_what_no_image_can_be_called(name: str, tmp_path: Path, paths: Paths) -> None:
    with pytest.raises(UserError, match=r"no name for an image|too long a name") as error:
        own.image(put(tmp_path, name, GPT), "", paths)
    assert "another name" in error.value.hint
    (error.value.message + error.value.evidence).encode()


def test_two_of_one_name(tmp_path: Path, paths: Paths) -> None:
    """The second one took the first one's place, in the same run."""
    sources = [put(tmp_path, "mine.raw", GPT), put(tmp_path, "mine.qcow2", qcow2())]
    with pytest.raises(UserError, match="two images would be called mine") as error:
        own.images(sources, [], paths)
    assert all(source in error.value.evidence for source in sources)


def test_each_image_has_the_checksum_of_its_place(tmp_path: Path, paths: Paths) -> None:
    sources = [put(tmp_path, "one.raw", GPT), put(tmp_path, "two.raw", MBR)]
    sums = [hashlib.sha256(content).hexdigest() for content in (GPT, MBR)]
    for some in (sums, sums[:1], []):
        assert [found.name for found in own.images(sources, some, paths)] == ["one", "two"]
    with pytest.raises(UserError, match=r"the checksum of .*one.raw differs"):
        own.images(sources, sums[::-1], paths)
    with pytest.raises(UserError, match="2 checksums are given for 1 images"):
        own.images(sources[:1], sums, paths)


# --- what is packed in parts, and what follows
# --------------------------------------------------------------------------------


def unpacked(directory: Path, packing: str, content: bytes) -> bytes:
    file = Path(put(directory, f"x.{packing}", content))
    with packed.plain(file, packed.head(file)[1], directory / "tmp") as disk:
        return disk.read()


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("between", [b"", bytes(4), bytes(4 << 10)], ids=len)
def test_parts_are_one_disk(packing: str, between: bytes, tmp_path: Path) -> None:
    """Of two xz streams with padding between them the second was left out without a word."""
    content = PACK[packing](GPT[:999]) + between + PACK[packing](GPT[999:]) + between
    assert unpacked(tmp_path, packing, content) == GPT


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize(
    "rest", [b"signature" * 99, b"\0\0signature", b"\x1f\x8b no", b"?" * 99_999], ids=len
)
def test_what_follows_is_left_out(
    packing: str, rest: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images of OpenWrt are gzip with a signed tail: they were told as "broken or not whole"."""
    assert unpacked(tmp_path, packing, PACK[packing](GPT) + rest) == GPT
    size = len(rest.lstrip(b"\0"))
    assert f"x.{packing}: the last {size} bytes are not packed by" in capsys.readouterr().err


@pytest.mark.parametrize("packing", PACK)
def test_a_part_that_ends_early_is_no_rest(packing: str, tmp_path: Path) -> None:
    second = PACK[packing](GPT[999:])
    for size in range(1, len(second)):
        with pytest.raises(UserError, match="broken or not whole"):
            unpacked(tmp_path, packing, PACK[packing](GPT[:999]) + second[:size])


@pytest.mark.parametrize("packing", PACK)
def test_a_part_that_is_broken_is_no_rest(packing: str, tmp_path: Path) -> None:
    second = PACK[packing](GPT[999:])
    with pytest.raises(UserError, match="broken or not whole"):
        unpacked(tmp_path, packing, PACK[packing](GPT[:999]) + second[:8] + b"\xff" * 9 + second[17:])


@pytest.mark.parametrize("packing", PACK)
def test_more_than_a_signature_is_no_rest(packing: str, tmp_path: Path) -> None:
    """Of a file in parts whose second one has a wrong first byte: a disk that ended there was uploaded."""
    second = b"\xff" + PACK[packing](os.urandom(packed.LONGEST_REST + 9))[1:]
    with pytest.raises(UserError, match="broken or not whole"):
        unpacked(tmp_path, packing, PACK[packing](GPT) + second)


def test_a_frame_of_zstd_that_is_skipped(tmp_path: Path) -> None:
    """As a table of contents at the end is."""
    skipped = struct.pack("<II", 0x184D2A5E, 5) + b"table"
    assert unpacked(tmp_path, "zst", PACK["zst"](GPT[:9]) + skipped + PACK["zst"](GPT[9:]) + skipped) == GPT


# --- memory and disk
# --------------------------------------------------------------------------------


def test_a_large_file_is_not_read_into_memory(tmp_path: Path, paths: Paths) -> None:
    """All of it was, to look at four bytes."""
    file = tmp_path / "large.raw"
    with file.open("wb") as stream:
        stream.write(GPT)
        stream.truncate(64 << 20)
    assert peak(lambda: own.image(str(file), "", paths)) < 8 << 20


@pytest.mark.parametrize("packing", PACK)
def test_what_unpacks_to_much_takes_little_memory(packing: str, tmp_path: Path, paths: Paths) -> None:
    """64 MiB of zeros in some KiB; zstd packs a block of them into 4 bytes."""
    source = put(tmp_path, f"bomb.{packing}", PACK[packing](GPT + bytes(64 << 20)))
    upload = own.image(source, "", paths)

    def unpack() -> None:
        with packed.plain(upload.file, upload.packing, tmp_path) as disk:
            found = os.fstat(disk.fileno())
            assert found.st_size == len(GPT) + (64 << 20)
            assert found.st_blocks * 512 < 8 << 20  # holes

    assert peak(unpack) < 40 << 20
    assert peak(lambda: own.image(source, "", paths)) < 40 << 20


def peak(work: object) -> int:
    assert callable(work)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packing", PACK)
def test_what_the_disk_does_not_take(packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(put(tmp_path, f"bomb.{packing}", PACK[packing](GPT + bytes(20 << 20))))
    free = packed.SPARE + (8 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    kind = packed.head(source)[1]
    with (
        pytest.raises(UserError, match="unpacks to more than the disk takes, 4 MiB"),
        packed.plain(source, kind, tmp_path / "tmp"),
    ):
        pass
    assert list((tmp_path / "tmp").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from osbox.contents import packed
source, kind, place = sys.argv[1:]
with packed.plain(Path(source), kind, Path(place)) as disk:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_of_a_killed_run(tmp_path: Path) -> None:
    """A directory with the whole unpacked disk was, and nobody removed it."""
    source = put(tmp_path, "x.gz", gzip.compress(GPT))
    with run.spawn([sys.executable, "-c", KILLED, source, "gzip", str(tmp_path / "tmp")]) as process:
        assert process.wait() == -9
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("packing", PACK)
def test_what_is_packed_and_ends_early(packing: str, tmp_path: Path, paths: Paths) -> None:
    whole = PACK[packing](GPT + hashlib.shake_128(b"noise").digest(2 * diskformat.HEAD))
    source = put(tmp_path, f"half.{packing}", whole[: len(whole) - 99])
    upload = own.image(source, "", paths)  # its first bytes are those of a disk
    with (
        pytest.raises(UserError, match="cannot be unpacked: it is broken or not whole"),
        packed.plain(upload.file, upload.packing, tmp_path / "tmp"),
    ):
        pass
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("packing", PACK)
def test_what_is_packed_and_broken(packing: str, tmp_path: Path, paths: Paths) -> None:
    whole = PACK[packing](GPT)
    source = put(tmp_path, f"broken.{packing}", whole[:12] + b"\xff" * 20 + whole[32:])
    with pytest.raises(UserError, match=f"broken.{packing} cannot be unpacked"):
        own.image(source, "", paths)


def test_the_head_is_enough_for_every_magic_number() -> None:
    assert all(one.at + len(one.magic) <= diskformat.HEAD for one in diskformat.MAGIC)
