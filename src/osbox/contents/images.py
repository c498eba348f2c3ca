"""Images in Glance: the deploy ramdisk, the guest and the user's own, each uploaded once.

What is there is left alone.
"""

import hashlib
import shutil
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osbox import answers, log
from osbox.errors import Error, UserError
from osbox.site.site import Paths

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.image.v2.image import Image

KERNEL, RAMDISK = "deploy-kernel", "deploy-ramdisk"
GUEST = "debian-13"
STAMP = "osbox_inputs"
"""Image property that names what an image was made from: another value means another content."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A file to be an image: stamp says what it was made from."""

    name: str
    file: Path
    disk_format: str
    container_format: str
    stamp: str
    properties: dict[str, str]
    min_disk: int = 0


def deploy_images(kernel: Path, initramfs: Path) -> list[Upload]:
    """The deploy ramdisk as Glance wants it."""
    stamp = kernel.parent.name
    return [
        Upload(KERNEL, kernel, "aki", "aki", stamp, {"hw_architecture": "x86_64"}),
        Upload(RAMDISK, initramfs, "ari", "ari", stamp, {"hw_architecture": "x86_64"}),
    ]


def guest_image(path: Path, min_disk: int) -> Upload:
    properties = {"os_type": "linux", "os_distro": "debian", "os_admin_user": "debian"}
    return Upload(GUEST, path, "raw", "bare", path.parent.name, properties, min_disk)


def own_image(source: str, checksum: str, paths: Paths) -> Upload:
    """An image of the user's: a file or a URL, with its SHA-256 or SHA-512 (required for a URL).

    Raises UserError when the source is missing or the checksum differs.
    """
    file = _download(source, checksum, paths) if "://" in source else Path(source)
    if not file.is_file():
        raise UserError(f"there is no image {file}", hint="osbox setup --image FILE|URL --checksum SHA256")
    found = _checksum(file, checksum)
    if checksum and found != checksum.lower():
        raise UserError(
            f"the checksum of {source} differs",
            evidence=f"wanted {checksum}\nfound  {found}",
            hint="fetch the file anew",
        )
    kind = "qcow2" if file.read_bytes()[:4] == b"QFI\xfb" else "raw"
    name = file.name.removesuffix(".qcow2").removesuffix(".raw").removesuffix(".img")
    return Upload(name, file, kind, "bare", found[:32], {"os_type": "linux"})


def _checksum(file: Path, like: str) -> str:
    kind = "sha512" if len(like) == hashlib.sha512().digest_size * 2 else "sha256"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def _download(url: str, checksum: str, paths: Paths) -> Path:
    if not checksum:
        raise UserError(
            "an image from a URL needs its checksum", hint=f"osbox setup --image {url} --checksum SHA256"
        )
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url} is neither a file nor an http(s) address")
    directory = paths.downloads
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / url.rpartition("/")[2]
    if not file.exists():
        new = file.with_name(file.name + ".new")
        try:
            with (
                urllib.request.urlopen(url, timeout=60) as source,  # noqa: S310 - http(s), see above
                new.open("wb") as target,
            ):
                shutil.copyfileobj(source, target, CHUNK)
        except OSError as error:
            raise Error(
                f"{url} could not be fetched", evidence=str(error), hint="check the address and the network"
            ) from error
        new.rename(file)
    return file


def ensure(cloud: "Connection", wishes: Iterable[Upload]) -> list[str]:
    """Have these images; returns what was changed."""
    return [line for wish in wishes for line in image(cloud, wish)]


def image(cloud: "Connection", wish: Upload, on_start: Callable[[str], None] = log.say) -> list[str]:
    """Upload an image unless it is there, made from the same; what an older or killed upload of ours left of
    that name goes.

    Raises UserError when somebody else's image has the name (the name would not tell them apart), Error when
    Glance does not take ours.
    """
    there: list[Any] = list(
        cloud.image.images(name=wish.name, sort="created_at:asc")
    )  # of two alike the older one stays: nodes may name it
    _refuse_a_stranger(wish.name, there)
    same = next((have for have in there if have.status == "active" and _stamp(have) == wish.stamp), None)
    if not same:
        on_start(f"Upload {wish.name} ({wish.file.stat().st_size >> 20} MiB) to Glance")
        _upload(cloud, wish)
    # Only now: a run that is killed here has left two, and the next one sees both.
    leftovers = [have for have in there if have is not same]
    for leftover in leftovers:
        cloud.image.delete_image(leftover.id)
    if not same:
        return [f"image {wish.name}"]
    return [f"{len(leftovers)} leftover of image {wish.name} removed"] if leftovers else []


def _stamp(image: "Image") -> str | None:
    return (image.properties or {}).get(STAMP, image.get(STAMP))


def _refuse_a_stranger(name: str, images: list["Image"]) -> None:
    strangers = [image for image in images if _stamp(image) is None]
    if strangers:
        raise UserError(
            f"there is another image {name}, not of osbox's making",
            evidence="\n".join(f"{image.id} {image.status}, of project {image.owner}" for image in strangers),
            hint=f"osbox openstack image set --name {name}-mine {strangers[0].id}, then osbox setup",
        )


def _upload(cloud: "Connection", wish: Upload) -> None:
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
    record = answers.read(answer, f"Glance did not take {wish.name}", "osbox logs glance-api, then the same again")
    with wish.file.open("rb") as stream:
        answer = cloud.image.put(
            f"/images/{record['id']}/file",
            data=stream,
            timeout=900,
            headers={"Content-Type": "application/octet-stream"},
        )
    if answer.status_code != 204:  # noqa: PLR2004 - No Content: stored
        raise Error(
            f"Glance did not take {wish.name}",
            evidence=f"HTTP {answer.status_code}: {answer.text[:300]}",
            hint="osbox logs glance-api",
        )
