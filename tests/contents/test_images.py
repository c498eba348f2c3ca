"""Images in Glance: uploaded once, replaced when their making changed, kept while a node names them."""

import bz2
import gzip
import json
import lzma
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pytest
import zstandard
from openstack.connection import Connection

from osbox.contents import agent, images
from osbox.contents.images import KERNEL, RAMDISK, Upload
from osbox.errors import Error, UserError
from osbox.metal import records
from tests.fakecloud import DOWN, LOST, Cloud, serving

PACK: dict[str, Callable[[bytes], bytes]] = {
    "xz": lzma.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def there(cloud: Cloud) -> Iterator[Connection]:
    with serving(cloud) as connection:
        yield connection


def wish(tmp_path: Path, name: str = KERNEL, stamp: str = "new", content: bytes = b"kernel") -> Upload:
    file = tmp_path / stamp
    file.write_bytes(content)
    return Upload(name, file, "aki", "aki", stamp, {})


def by(nodes: Mapping[str, Sequence[str]]) -> images.Named:
    return lambda: nullcontext(nodes)


nobody = by({})


def test_uploaded_once(cloud: Cloud, there: Connection, tmp_path: Path) -> None:
    assert images.ensure(there, [wish(tmp_path)], nobody) == [f"image {KERNEL}"]
    assert list(cloud.contents.values()) == [b"kernel"]
    assert images.ensure(there, [wish(tmp_path)], nobody) == []


def test_what_nobody_names_goes(cloud: Cloud, there: Connection, tmp_path: Path) -> None:
    cloud.add(KERNEL, "old")
    cloud.add(KERNEL, "new", status="queued")
    images.ensure(there, [wish(tmp_path)], nobody)
    assert cloud.names() == [(KERNEL, "new")]


def test_what_a_node_names_stays(
    cloud: Cloud, there: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deleted, the next cleaning of a node that was enrolled before would fail: its kernel is gone."""
    old = cloud.add(KERNEL, "old")
    named = {old: ["rack-1", "rack-2"]}
    assert images.ensure(there, [wish(tmp_path)], by(named)) == [f"image {KERNEL}"]
    assert cloud.names() == [(KERNEL, "new"), (f"{KERNEL}-before", "old")]
    assert "rack-1, rack-2 still boot" in capsys.readouterr().err
    assert images.ensure(there, [wish(tmp_path)], by(named)) == []
    assert len(cloud.images) == 2
    assert images.ensure(there, [wish(tmp_path)], nobody) == [f"1 leftover of image {KERNEL} removed"]
    assert cloud.names() == [(KERNEL, "new")]


def test_back_to_the_one_before(cloud: Cloud, there: Connection, tmp_path: Path) -> None:
    """`osbox setup --firmware` and then `osbox setup` again: the one that was kept has its name back."""
    kept = cloud.add(f"{KERNEL}-before", "old", osbox_replaced=KERNEL)
    cloud.add(KERNEL, "new")
    assert images.ensure(there, [wish(tmp_path, stamp="old")], by({kept: ["rack-1"]})) == [f"image {KERNEL}"]
    assert cloud.names() == [(KERNEL, "old")]
    assert "osbox_replaced" not in cloud.images[kept]
    assert not cloud.contents


def test_a_persons_image_is_no_leftover_by_its_name(cloud: Cloud, there: Connection, tmp_path: Path) -> None:
    """`osbox setup --image disk-before.raw` was deleted by the next `osbox setup --image disk.raw`."""
    theirs = cloud.add("disk-before", "theirs")
    old = cloud.add("disk", "old")
    images.ensure(there, [wish(tmp_path, "disk")], by({old: ["rack-1"]}))
    both = [("disk-before", "old"), ("disk-before", "theirs")]
    assert cloud.names() == [("disk", "new"), *both]
    # Nor is the one that was replaced theirs, to be found, replaced or deleted with it.
    assert images.ensure(there, [wish(tmp_path, "disk-before", "theirs")], nobody) == []
    assert cloud.names() == [("disk", "new"), *both]
    images.ensure(there, [wish(tmp_path, "disk-before", "old")], nobody)
    assert sorted(cloud.names()) == [("disk", "new"), ("disk-before", "old"), ("disk-before", "old")]
    assert theirs not in cloud.images
    images.ensure(there, [wish(tmp_path, "disk")], nobody)
    assert cloud.names() == [("disk", "new"), ("disk-before", "old")]
    assert old not in cloud.images


def test_a_stranger_of_either_name_is_left_alone(cloud: Cloud, there: Connection, tmp_path: Path) -> None:
    cloud.add(f"{KERNEL}-before")
    images.ensure(there, [wish(tmp_path)], nobody)
    assert (f"{KERNEL}-before", "") in cloud.names()
    cloud.add(RAMDISK)
    with pytest.raises(UserError, match="not of osbox's making"):
        images.ensure(there, [wish(tmp_path, RAMDISK)], nobody)


def test_what_nodes_name(cloud: Cloud, there: Connection) -> None:
    kernel, disk = "0f9d2f6c-0000-4000-8000-000000000001", "0f9d2f6c-0000-4000-8000-000000000002"
    info = {"deploy_kernel": kernel, "redfish_username": "admin"}
    deployed = {"image_source": f"glance://{disk}", "root_gb": 4}
    nodes = [
        {"uuid": "a", "name": "rack-1", "driver_info": info, "instance_info": deployed},
        {"uuid": "b", "name": "rack-2", "driver_info": info, "instance_info": {}},
    ]
    cloud.answers["GET /v1/nodes/detail"] = (200, json.dumps({"nodes": nodes}))
    assert records.images_named(there) == {kernel: ["rack-1", "rack-2"], disk: ["rack-1"]}


def deploy(tmp_path: Path, authority: bytes = b"") -> list[Upload]:
    files = tmp_path / "build-1" / "vmlinuz", tmp_path / "build-1" / "initramfs"
    files[0].parent.mkdir(exist_ok=True)
    for file in files:
        file.write_bytes(file.name.encode())
    return images.deploy_images(*files, tmp_path / "scratch", authority)


def test_a_ramdisk_with_the_authority_of_its_cloud(cloud: Cloud, there: Connection, tmp_path: Path) -> None:
    """Another authority is another image, of the kernel too: one of each would be told to be of two
    builds."""
    for authority, new in ((b"one", 2), (b"one", 0), (b"two", 2), (b"", 2)):
        assert len(images.ensure(there, deploy(tmp_path, authority), nobody)) == new
        content = {one["name"]: cloud.contents[key] for key, one in cloud.images.items()}
        behind = agent.trusting(authority, 9) if authority else b""
        assert content == {KERNEL: b"vmlinuz", RAMDISK: b"initramfs" + behind}
        assert len({stamp for _, stamp in cloud.names()}) == 1
    assert list((tmp_path / "scratch").iterdir()) == []


def test_nodes_are_told_of_the_next_pair(cloud: Cloud, there: Connection, tmp_path: Path) -> None:
    images.ensure(there, deploy(tmp_path, b"one"), nobody)
    old = images.boot_images(there)
    images.ensure(there, deploy(tmp_path, b"two"), by({one: ["rack-1"] for one in old.values()}))
    new = images.boot_images(there)
    assert images.outdated(there) == {old[key]: new[key] for key in old}
    nodes = [
        {"uuid": "a", "name": "rack-1", "driver_info": {**old, "redfish_username": old["deploy_kernel"]}},
        {"uuid": "b", "name": "busy", "driver_info": {"rescue_ramdisk": old["deploy_ramdisk"]}},
        {"uuid": "c", "name": "new", "driver_info": new},
        {"uuid": "d", "name": "own", "driver_info": {"deploy_kernel": "file:///mine"}},
    ]
    cloud.answers |= {
        "GET /v1/nodes/detail": (200, json.dumps({"nodes": nodes})),
        "PATCH /v1/nodes/a": (200, json.dumps(nodes[0])),
        "PATCH /v1/nodes/b": (409, json.dumps({"error_message": "node is locked"})),
    }
    with mock.patch.object(there.baremetal, "patch_node", wraps=there.baremetal.patch_node) as patch:
        assert records.boot_others(there, images.outdated(there)) == (["rack-1"], ["busy"])
    first = patch.call_args_list[0].args[1]
    assert {one["path"]: one["value"] for one in first} == {f"/driver_info/{key}": new[key] for key in old}


# --- which images nodes are told to boot
# --------------------------------------------------------------------------------


def test_nodes_boot_the_current_pair(cloud: Cloud, there: Connection) -> None:
    kernel, ramdisk = cloud.add(KERNEL, "new"), cloud.add(RAMDISK, "new")
    cloud.add(f"{KERNEL}-before", "old")
    assert images.boot_images(there) == {"deploy_kernel": kernel, "deploy_ramdisk": ramdisk}


@pytest.mark.parametrize("rest", [[(KERNEL, "old"), (RAMDISK, "new")], [(RAMDISK, "old")]])
def test_a_kernel_of_another_ramdisk_is_refused(
    cloud: Cloud, there: Connection, rest: list[tuple[str, str]]
) -> None:
    """A setup that was killed between the two: a kernel that finds no modules would come of it."""
    for name, stamp in [(KERNEL, "new"), *rest]:
        cloud.add(name, stamp)
    with pytest.raises(UserError, match="of two builds") as error:
        images.boot_images(there)
    assert error.value.hint == "osbox setup"


def test_none_to_boot(cloud: Cloud, there: Connection) -> None:
    cloud.add(KERNEL, "new")
    cloud.add(RAMDISK, "new", status="saving")
    with pytest.raises(UserError, match=f"no image {RAMDISK} for nodes to boot"):
        images.boot_images(there)


# --- what is sent
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", PACK)
def test_what_is_packed_is_sent_unpacked(
    cloud: Cloud, there: Connection, tmp_path: Path, packing: str
) -> None:
    disk = b"disk" * 1000 + bytes(3 << 20) + b"end"
    file = tmp_path / "packed"
    file.write_bytes(PACK[packing](disk))
    scratch = tmp_path / "tmp"
    one = Upload("guest", file, "raw", "bare", "new", {}, packing=packing, scratch=scratch)
    images.ensure(there, [one], nobody)
    assert list(cloud.contents.values()) == [disk]
    assert list(scratch.iterdir()) == []


def test_a_node_needs_memory_for_what_is_not_raw(
    there: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "guest.qcow2"
    file.write_bytes(bytes(5 << 20))
    images.ensure(there, [Upload("guest", file, "qcow2", "bare", "new", {})], nobody)
    assert "a node needs free memory for all of its 5 MiB" in capsys.readouterr().err


# Not 503: the SDK tries again after it, for 15 s.
@pytest.mark.parametrize("answer", [(500, DOWN[1]), (409, '{"message": "no"}'), (201, "<html>")])
def test_a_glance_that_refuses_is_no_defect(
    cloud: Cloud, there: Connection, tmp_path: Path, answer: tuple[int, str]
) -> None:
    """`record["id"]` of its answer was told as "osbox has a defect: KeyError"."""
    cloud.answers["POST /v2/images"] = answer
    with pytest.raises(Error, match=f"Glance did not take {KERNEL}: HTTP {answer[0]}") as error:
        images.ensure(there, [wish(tmp_path)], nobody)
    assert "osbox logs glance-api" in error.value.hint


FIRST = f"/v2/images/{uuid.UUID(int=1)}"


@pytest.mark.parametrize("status", [401, 413, 415, 503, LOST])
@pytest.mark.parametrize("also", [204, 500, LOST])
def test_nothing_is_left_of_an_upload_that_is_refused(
    cloud: Cloud, there: Connection, tmp_path: Path, status: int, also: int
) -> None:
    """The record stayed, queued. After a 503 the SDK sent the rest of the file, nothing, and an empty image
    was active."""
    cloud.answers[f"PUT {FIRST}/file"] = (status, "no such format")
    if also != 204:
        cloud.answers[f"DELETE {FIRST}"] = (also, "")
    with pytest.raises(Exception, match=f"HTTP {status}: no such format" if status else "aborted") as error:
        images.ensure(there, [wish(tmp_path)], nobody)
    assert isinstance(error.value, Error) == bool(status)
    assert [one.split()[0] for one in cloud.asked if FIRST in one] == ["PUT", "DELETE"]
    assert bool(cloud.images) == (also != 204)
    del cloud.answers[f"PUT {FIRST}/file"]
    cloud.answers.pop(f"DELETE {FIRST}", None)
    images.ensure(there, [wish(tmp_path)], nobody)
    assert list(cloud.contents.values()) == [b"kernel"]
    assert [one["status"] for one in cloud.images.values()] == ["active"]


def test_nothing_is_left_of_an_upload_that_is_interrupted(
    cloud: Cloud, there: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        assert [one["status"] for one in cloud.images.values()] == ["queued"]
        raise KeyboardInterrupt

    monkeypatch.setattr(there.image, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        images.ensure(there, [wish(tmp_path)], nobody)
    assert not cloud.images
