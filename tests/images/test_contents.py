"""What is in an image: layers one over the other, their digest, and what package managers wrote down."""

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from osbox.engine.info import ImageInfo
from osbox.images import contents, inventory, layers, packages
from osbox.images.contents import DIRECTORY, FILE, LINK, Entry, Layer


def layer(*entries: Entry, **texts: bytes) -> Layer:
    return Layer(
        "sha256:0",
        {entry.path: entry for entry in entries},
        {key.replace("__", "/"): text for key, text in texts.items()},
    )


def plain(path: str, sha256: str = "a") -> Entry:
    return Entry(path, FILE, 0o644, 0, 0, sha256=sha256)


def folder(path: str) -> Entry:
    return Entry(path, DIRECTORY, 0o755, 0, 0)


def tar(members: Mapping[str, bytes | None], *, mtime: int = 0, mode: int = 0o644) -> bytes:
    """A layer's tar; None makes a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.mtime, member.mode = mtime, mode
            member.type = tarfile.DIRTYPE if text is None else tarfile.REGTYPE
            member.size = len(text or b"")
            archive.addfile(member, io.BytesIO(text or b""))
    return buffer.getvalue()


# --- layers
# --------------------------------------------------------------------------------


def test_a_whiteout_removes_and_an_opaque_directory_hides() -> None:
    below = layer(
        folder("etc"), plain("etc/a"), plain("etc/b"), folder("opt"), plain("opt/old"), etc__a=b"text"
    )
    above = layer(plain("etc/.wh.a", ""), folder("opt"), plain("opt/.wh..wh..opq", ""), plain("opt/new"))
    tree = contents.merge([below, above])
    assert sorted(tree.entries) == ["etc", "etc/b", "opt", "opt/new"]
    assert tree.text("etc/a") == ""


def test_a_file_in_place_of_a_directory_takes_its_contents_away() -> None:
    tree = contents.merge([layer(folder("d"), plain("d/x")), layer(Entry("d", LINK, 0o777, 0, 0, link="e"))])
    assert list(tree.entries) == ["d"]


def test_the_higher_layer_wins_and_its_text_too() -> None:
    tree = contents.merge([layer(plain("a"), a=b"old"), layer(plain("a", "b"), a=b"new")])
    assert (tree.entries["a"].sha256, tree.text("a")) == ("b", "new")


@pytest.mark.parametrize(
    "change",
    [{"mode": 0o755}, {"uid": 1}, {"gid": 1}, {"sha256": "b"}, {"link": "x"}, {"more": "c"}, {"kind": LINK}],
)
def test_the_digest_sees_every_change(change: dict[str, str]) -> None:
    entry = plain("a")
    assert contents.digest({"a": entry}) != contents.digest({"a": replace(entry, **change)})  # type: ignore[arg-type]
    assert contents.digest({"a": entry, "b": plain("b")}) == contents.digest({"b": plain("b"), "a": entry})


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_layer_is_known_by_what_it_holds(compress: type[bytes]) -> None:
    whole = tar({"etc": None, "etc/a": b"1", "etc/b": b"2"})
    read = layers._layer(io.BytesIO(compress(whole)), lambda path: path == "etc/b")
    other = layers._layer(
        io.BytesIO(tar({"etc": None, "etc/a": b"1", "etc/b": b"2"}, mtime=7)), lambda path: False
    )
    assert read is not None
    assert other is not None
    assert read.texts == {"etc/b": b"2"}
    assert read.diff_id != other.diff_id
    assert contents.digest(read.entries) == contents.digest(other.entries)
    assert layers._layer(io.BytesIO(b'{"config": {}}'), lambda path: True) is None


def step(made: str, size: int = 0) -> dict[str, str]:
    return {"CreatedBy": made, "Size": str(size)}


@pytest.mark.parametrize(
    ("history", "sizes"),
    [
        (
            [step("Imported", 5), step("ENV A=b"), step("WORKDIR /"), step("RUN x", 3), step("LABEL x=y")],
            [5, 0, 3],
        ),
        ([step("x", 5), step("/bin/sh -c #(nop) WORKDIR /"), step("RUN x", 3), step("COPY a b")], [5, 3, 0]),
        ([step("x", 5)], [8]),
    ],
)
def test_layers_get_the_sizes_of_their_steps(history: list[dict[str, str]], sizes: list[int]) -> None:
    found = layers.paired(ImageInfo("sha256:1", size=8, layers=("a", "b", "c")), history)
    assert [size for _, size, _ in found] == sizes
    assert [one for one, _, _ in found] == (["a", "b", "c"] if len(sizes) == 3 else ["sha256:1"])


# --- packages
# --------------------------------------------------------------------------------

STATUS = """Package: libc6
Status: install ok installed
Source: glibc (2.41-12)
Version: 2.41-12+b1
Conffiles:
 /etc/ld.so.conf.d/x.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
 /etc/gone d4e7a7b88a71b5ffd9e2644e71a0cfab obsolete

Package: gone
Status: deinstall ok config-files
Version: 1

Package: adduser
Status: install ok installed
Version: 3.152
"""


def test_debian_packages_come_from_the_status_file() -> None:
    found = packages.debian(STATUS)
    assert [(item.name, item.version, item.source, item.source_version) for item in found] == [
        ("adduser", "3.152", "adduser", "3.152"),
        ("libc6", "2.41-12+b1", "glibc", "2.41-12"),
    ]
    assert list(packages.conffiles(STATUS)) == [
        ("etc/ld.so.conf.d/x.conf", "d4e7a7b88a71b5ffd9e2644e71a0cfab")
    ]


def test_python_packages_come_from_dist_info() -> None:
    site = "opt/openstack/lib/python3.13/site-packages"
    found = packages.python(
        [
            f"{site}/oslo_config-10.0.0.dist-info/METADATA",
            f"{site}/setuptools/_vendor/x-1.dist-info/METADATA",
            "usr/lib/python3/dist-packages/libvirt_python-11.3.0.dist-info/METADATA",
            f"{site}/oslo_config-10.0.0.dist-info/RECORD",
        ]
    )
    assert [(item.name, item.version) for item in found] == [("oslo-config", "10.0.0")]


def test_a_record_names_files_from_the_root() -> None:
    text = "../../../bin/flask,sha256=-tikklYeo0p4k-HC9O86ZaH2fl5XyJMKbbmHTVrB0q0,296\nflask/x.py,,\n"
    found = dict(packages.recorded(text, "opt/v/lib/python3.13/site-packages/flask-3.1.3.dist-info"))
    site = "opt/v/lib/python3.13/site-packages"
    assert found == {
        "opt/v/bin/flask": "fad8a492561ea34a7893e1c2f4ef3a65a1f67e5e57c8930a6db9874d5ac1d2ad",
        f"{site}/flask/x.py": "",
    }


def test_a_lock_is_read_with_its_hashes() -> None:
    text = (
        f"a-b==1.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n    # via x\nC_d[e]==2"
        " ; python_version > '3'\n"
    )
    found = packages.locked(text)
    assert found["a-b"].hashes == ("0" * 64, "1" * 64)
    assert found["c-d"].version == "2"


def test_what_dpkg_leaves_out() -> None:
    rules = packages.excluded("# x\npath-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n")
    assert packages.is_excluded("usr/share/doc/a/README", rules)
    assert not packages.is_excluded("usr/bin/a", rules)


@pytest.mark.root
def test_packages_in_overlay_directories(tmp_path: Path) -> None:
    """The highest directory first: one package removed by a whiteout, the rest of a directory emptied."""
    lower, middle, upper = (tmp_path / name for name in ("lower", "middle", "upper"))
    site, other = "opt/a/lib/python3.13/site-packages", "opt/b/lib/python3.13/site-packages"
    for place, name in (
        (lower, f"{site}/x-1.dist-info"),
        (lower, f"{site}/y-1.dist-info"),
        (lower, f"{other}/z-1.dist-info"),
        (middle, f"{site}/x-2.dist-info"),
        (upper, other),
    ):
        (place / name).mkdir(parents=True)
    os.mknod(middle / site / "x-1.dist-info", stat.S_IFCHR, 0)
    os.setxattr(upper / "opt/b", "trusted.overlay.opaque", b"y")
    found = inventory._from_directories([upper, middle, lower])
    assert [(item.name, item.version) for item in found or []] == [("x", "2"), ("y", "1")]
    assert inventory._from_directories([]) is None
