"""Images in Glance: the deploy ramdisk, the guest and the user's own, each uploaded once.

What is there is left alone. An older one of ours goes when no node names it any more: until then it is called
NAME-before, and marked as such, for a person may call one so, too.
"""

import hashlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

from osbox import answers, log
from osbox.contents import agent, packed
from osbox.errors import Error, UserError

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.image.v2.image import Image

KERNEL, RAMDISK = "deploy-kernel", "deploy-ramdisk"
GUEST = "debian-13"
STAMP = "osbox_inputs"
"""Image property that names what an image was made from: another value means another content."""
REPLACED = "osbox_replaced"
"""Image property of one that a newer one replaced: the name it had. Any other NAME-before is no leftover."""
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
STREAMED = ("raw", "aki", "ari")
"""What a node's ramdisk does not fetch into its memory first ([agent]stream_raw_images), or what it is."""
BEFORE = "-before"
"""What the name of an image ends in that a newer one replaced and that a node still names."""
LOGS = "osbox logs glance-api, then the same command again"
ONCE: Mapping[str, Any] = {"connect_retries": 0, "status_code_retries": 0, "allow_reauth": False}
"""For the SDK, which else tries again by itself."""
Named = Callable[[], AbstractContextManager[Mapping[str, Sequence[str]]]]
"""Which nodes name an image, by its id: to boot it, or as what is on their disk. True within the block."""


@dataclass(frozen=True)
class Upload:
    """A file to be an image: stamp says what it was made from.

    packing: how it is packed, "" when it is not; scratch: where it is unpacked, or put together. behind: what
    stands behind the file's own content.
    """

    name: str
    file: Path
    disk_format: str
    container_format: str
    stamp: str
    properties: dict[str, str]
    min_disk: int = 0
    packing: str = ""
    scratch: Path = Path()
    behind: bytes = b""


def deploy_images(kernel: Path, initramfs: Path, scratch: Path, authority: bytes = b"") -> list[Upload]:
    """The deploy ramdisk as Glance wants it; with an authority (PEM) its agent verifies the APIs by that."""
    stamp, behind = kernel.parent.name, b""
    if authority:
        stamp = f"{stamp}-{mark(authority)}"
        behind = agent.trusting(authority, initramfs.stat().st_size)
    ramdisk = Upload(RAMDISK, initramfs, "ari", "ari", stamp, {"hw_architecture": "x86_64"})
    return [
        Upload(KERNEL, kernel, "aki", "aki", stamp, {"hw_architecture": "x86_64"}),
        replace(ramdisk, scratch=scratch, behind=behind),
    ]


def mark(authority: bytes) -> str:
    """What the stamp of a ramdisk ends in that verifies by this authority."""
    return hashlib.sha256(authority).hexdigest()[:12]


def guest_image(path: Path, min_disk: int) -> Upload:
    properties = {"os_type": "linux", "os_distro": "debian", "os_admin_user": "debian"}
    return Upload(GUEST, path, "raw", "bare", path.parent.name, properties, min_disk)


def boot_images(cloud: "Connection") -> dict[str, str]:
    """The deploy images, in the words of a node's driver_info.

    Raises UserError when there are none, or those of a setup that was interrupted.
    """
    found, stamps = dict[str, str](), set[str | None]()
    for key, name in (("deploy_kernel", KERNEL), ("deploy_ramdisk", RAMDISK)):
        active = [image for image in _called(cloud, name) if image.status == "active"]
        if not active:
            raise UserError(f"there is no image {name} for nodes to boot", hint="osbox setup")
        found[key] = active[0].id
        stamps |= {_stamp(image) for image in active}
    if len(stamps) > 1:
        raise UserError(
            f"{KERNEL} and {RAMDISK} are of two builds: an osbox setup did not end",
            evidence=", ".join(str(stamp) for stamp in stamps),
            hint="osbox setup",
        )
    return found


def outdated(cloud: "Connection") -> dict[str, str]:
    """The deploy images that newer ones replaced and that a node still names: the id that takes its place, by
    id."""
    now = boot_images(cloud)
    new = {KERNEL: now["deploy_kernel"], RAMDISK: now["deploy_ramdisk"]}
    return {
        have.id: new[name]
        for name in new
        for have in _called(cloud, name + BEFORE)
        if _property(have, REPLACED) == name
    }


def ensure(cloud: "Connection", wishes: Iterable[Upload], named: Named) -> list[str]:
    """Have these images; returns what was changed."""
    return [line for wish in wishes for line in image(cloud, wish, named)]


def image(
    cloud: "Connection", wish: Upload, named: Named, on_start: Callable[[str], None] = log.say
) -> list[str]:
    """Upload an image unless it is there, made from the same; what an older or killed upload of ours left of
    that name goes, unless a node names it.

    Raises UserError when somebody else's image has the name (the name would not tell them apart), Error when
    Glance does not take ours.
    """
    # Of two alike the older one stays: nodes may name it.
    # One that a newer "disk" replaced is none of those of a person's own "disk-before".
    there = [
        have for have in _called(cloud, wish.name) if f"{_property(have, REPLACED)}{BEFORE}" != have.name
    ]
    _refuse_a_stranger(wish.name, there)
    before = _called(cloud, wish.name + BEFORE)
    ours = [*there, *(have for have in before if _property(have, REPLACED) == wish.name)]
    same = next((have for have in ours if have.status == "active" and _stamp(have) == wish.stamp), None)
    changed = []
    if not same:
        on_start(f"Upload {wish.name} ({wish.file.stat().st_size >> 20} MiB) to Glance")
        _upload(cloud, wish)
        changed.append(f"image {wish.name}")
    elif same.name != wish.name:  # it was replaced, and is wanted again
        _rename(cloud, same, wish.name, {"op": "remove", "path": f"/{REPLACED}"})
        changed.append(f"image {wish.name}")
    # Only now: a run that is killed here has left two, and the next one sees both.
    leftovers = [have for have in ours if have is not same]
    gone = 0
    if leftovers:
        with named() as users:
            gone = _retire(cloud, wish, leftovers, users)
    if gone and not changed:
        return [f"{gone} leftover of image {wish.name} removed"]
    return changed


def _retire(
    cloud: "Connection", wish: Upload, leftovers: Sequence[Any], users: Mapping[str, Sequence[str]]
) -> int:
    """Delete those that no node names, and give the others another name; returns how many went."""
    gone = 0
    for have in leftovers:
        if not (nodes := users.get(have.id, ())):
            cloud.image.delete_image(have.id)
            gone += 1
            continue
        if have.name == wish.name:
            mark = {"op": "add", "path": f"/{REPLACED}", "value": wish.name}
            _rename(cloud, have, wish.name + BEFORE, mark)
        if wish.container_format != "bare":
            log.say(
                f"  {', '.join(nodes)} still boot the {wish.name} of before, which stays until they do not"
            )
    return gone


def _rename(cloud: "Connection", image: Any, name: str, mark: Mapping[str, str]) -> None:
    """Both at once. The SDK's update with a property of ours would remove those that it is not told again."""
    answer = cloud.image.patch(
        f"/images/{image.id}", json=[{"op": "replace", "path": "/name", "value": name}, mark], headers=PATCH
    )
    answers.read(answer, f"Glance did not rename {image.name} to {name}", LOGS)


def _called(cloud: "Connection", name: str) -> list[Any]:
    """The images of a name, the oldest first."""
    return list(cloud.image.images(name=name, sort="created_at:asc"))


def _stamp(image: "Image") -> str | None:
    return _property(image, STAMP)


def _property(image: "Image", name: str) -> str | None:
    return (image.properties or {}).get(name, image.get(name))


def _refuse_a_stranger(name: str, images: list["Image"]) -> None:
    strangers = [image for image in images if _stamp(image) is None]
    if strangers:
        raise UserError(
            f"there is another image {name}, not of osbox's making",
            evidence="\n".join(f"{image.id} {image.status}, of project {image.owner}" for image in strangers),
            hint=f"osbox openstack image set --name {shlex.quote(f'{name}-mine')} {strangers[0].id},"
            " then osbox setup",
        )


def _upload(cloud: "Connection", wish: Upload) -> None:
    with _whole(wish) as disk:
        if wish.disk_format not in STREAMED:
            log.say(
                f"  {wish.name} is {wish.disk_format}: a node needs free memory for all of its"
                f" {os.fstat(disk.fileno()).st_size >> 20} MiB; a raw one is streamed to the disk"
            )
        answer = cloud.image.post(
            "/images",
            json={
                "name": wish.name,
                "disk_format": wish.disk_format,
                "container_format": wish.container_format,
                "visibility": "public",
                "min_disk": wish.min_disk,
                STAMP: wish.stamp,
                **wish.properties,
            },
        )
        record = answers.read(answer, f"Glance did not take {wish.name}", LOGS)
        try:
            _send(cloud, wish.name, record["id"], disk)
        except BaseException:  # also Ctrl-C: a record without content is of no use to anyone
            with suppress(Exception):  # the next run finds it, too; what went wrong first is what to tell
                cloud.image.delete(f"/images/{record['id']}", timeout=30, **ONCE)
            raise


@contextmanager
def _whole(wish: Upload) -> Iterator[BinaryIO]:
    """What is to be sent, as one file."""
    with packed.plain(wish.file, wish.packing, wish.scratch) as disk:
        if not wish.behind:
            yield disk
            return
        wish.scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=wish.scratch) as joined:
            shutil.copyfileobj(disk, joined)
            joined.write(wish.behind)
            joined.seek(0)
            yield joined


def _send(cloud: "Connection", name: str, key: str, disk: BinaryIO) -> None:
    """The content of an image, once: a second try of the SDK's own would begin where the first one ended, and
    make an active image of nothing."""
    answer = cloud.image.put(
        f"/images/{key}/file",
        data=disk,
        timeout=900,
        headers={"Content-Type": "application/octet-stream"},
        **ONCE,
    )
    if answer.status_code != 204:  # noqa: PLR2004 - No Content: stored
        raise Error(
            f"Glance did not take {name}",
            evidence=f"HTTP {answer.status_code}: {answer.text[:300]}",
            hint=LOGS,
        )
