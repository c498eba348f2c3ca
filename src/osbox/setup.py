"""The cloud's first contents: network, images, key pair, security-group rules, flavor, quotas. What is there is left alone."""

import hashlib
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osbox import files, log
from osbox.errors import Error, UserError
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.image.v2.image import Image

NETWORK = "external"
SUBNET = "external"
PHYSICAL_NETWORK = "physnet1"
KEY_PAIR = "osbox"
FLAVOR = "baremetal"
RESOURCE_CLASS = "baremetal"
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


def network(cloud: "Connection", site: Site) -> list[str]:
    """The external network and its subnet: flat, on the provisioning bridge, with DHCP and our DNS."""
    changed = []
    found = cloud.network.find_network(NETWORK)
    if not found:
        found = cloud.network.create_network(
            name=NETWORK, is_shared=True, provider_network_type="flat", provider_physical_network=PHYSICAL_NETWORK,
        )  # fmt: skip
        changed.append(f"network {NETWORK}")
    if not cloud.network.find_subnet(SUBNET, network_id=found.id):
        first, last = site.pool
        cloud.network.create_subnet(
            name=SUBNET, network_id=found.id, ip_version=4, cidr=str(site.subnet), gateway_ip=str(site.address),
            allocation_pools=[{"start": str(first), "end": str(last)}], dns_nameservers=[str(site.address)], is_dhcp_enabled=True,
        )  # fmt: skip
        changed.append(f"subnet {site.subnet}")
    return changed


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
        raise UserError(f"the checksum of {source} differs", evidence=f"wanted {checksum}\nfound  {found}", hint="fetch the file anew")
    kind = "qcow2" if file.read_bytes()[:4] == b"QFI\xfb" else "raw"
    name = file.name.removesuffix(".qcow2").removesuffix(".raw").removesuffix(".img")
    return Upload(name, file, kind, "bare", found[:32], {"os_type": "linux"})


def _checksum(file: Path, like: str) -> str:
    kind = "sha512" if len(like) == hashlib.sha512().digest_size * 2 else "sha256"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def _download(url: str, checksum: str, paths: Paths) -> Path:
    if not checksum:
        raise UserError("an image from a URL needs its checksum", hint=f"osbox setup --image {url} --checksum SHA256")
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url} is neither a file nor an http(s) address")
    directory = paths.home / "downloads"
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / url.rpartition("/")[2]
    if not file.exists():
        new = file.with_name(file.name + ".new")
        try:
            with urllib.request.urlopen(url, timeout=60) as source, new.open("wb") as target:  # noqa: S310 - http(s), see above
                shutil.copyfileobj(source, target, CHUNK)
        except OSError as error:
            raise Error(f"{url} could not be fetched", evidence=str(error), hint="check the address and the network") from error
        new.rename(file)
    return file


def image(cloud: "Connection", wish: Upload, on_start: Callable[[str], None] = log.say) -> list[str]:
    """Upload an image unless it is there, made from the same; what an older or killed upload of ours left of that name goes.

    Raises UserError when somebody else's image has the name (the name would not tell them apart), Error when Glance does not take ours.
    """
    there: list[Any] = list(cloud.image.images(name=wish.name, sort="created_at:asc"))  # of two alike the older one stays: nodes may name it
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
    record = cloud.image.post("/images", json={
        "name": wish.name, "disk_format": wish.disk_format, "container_format": wish.container_format, "visibility": "public",
        "min_disk": wish.min_disk, STAMP: wish.stamp, **wish.properties,
    }).json()  # fmt: skip
    with wish.file.open("rb") as stream:
        answer = cloud.image.put(
            f"/images/{record['id']}/file", data=stream, timeout=900, headers={"Content-Type": "application/octet-stream"}
        )
    if answer.status_code != 204:  # noqa: PLR2004 - No Content: stored
        raise Error(f"Glance did not take {wish.name}", evidence=f"HTTP {answer.status_code}: {answer.text[:300]}", hint="osbox logs glance-api")


def key_pair(cloud: "Connection", paths: Paths) -> list[str]:
    """A key pair of the deployment's own: the private half is $OSBOX_HOME/id_ed25519."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    private = paths.home / "id_ed25519"
    changed = []
    if not private.exists():
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        files.write_private(private, text)
        changed.append(f"key {private}")
    loaded = serialization.load_ssh_private_key(private.read_bytes(), password=None)
    public = loaded.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    have = cloud.compute.find_keypair(KEY_PAIR)
    if have and have.public_key.split()[:2] == public.split()[:2]:
        return changed
    if have:
        cloud.compute.delete_keypair(have)
    cloud.compute.create_keypair(name=KEY_PAIR, public_key=f"{public} osbox")
    return [*changed, f"key pair {KEY_PAIR}"]


def security_rules(cloud: "Connection") -> list[str]:
    """SSH and ping into the administrator's default group (bare metal on a flat network is filtered by no one; VMs are)."""
    project = cloud.current_project_id
    group = next(iter(cloud.network.security_groups(project_id=project, name="default")), None)
    if not group:
        return []
    have = {(rule["protocol"], rule["port_range_min"]) for rule in group.security_group_rules if rule["direction"] == "ingress"}
    changed = []
    for protocol, port in (("tcp", 22), ("icmp", None)):
        if (protocol, port) not in have:
            cloud.network.create_security_group_rule(
                security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol=protocol, port_range_min=port, port_range_max=port,
            )  # fmt: skip
            changed.append(f"security-group rule {protocol}")
    return changed


def flavor(cloud: "Connection", disk: int = 4) -> list[str]:
    """The bare-metal flavor: one unit of the nodes' resource class, and nothing of what only virtual machines have."""
    specs = {
        f"resources:CUSTOM_{RESOURCE_CLASS.upper()}": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0",
    }  # fmt: skip
    have = cloud.compute.find_flavor(FLAVOR, get_extra_specs=True)
    if have and have.extra_specs == specs:
        return []
    have = have or cloud.compute.create_flavor(name=FLAVOR, vcpus=1, ram=1024, disk=disk)
    cloud.compute.create_flavor_extra_specs(have, specs)
    return [f"flavor {FLAVOR}"]


def quotas(cloud: "Connection") -> list[str]:
    """No limits for the administrator's project: a rack is its own limit."""
    wish = {"instances": -1, "cores": -1, "ram": -1}
    project: Any = cloud.current_project_id
    compute: Any = cloud.compute
    have = compute.get_quota_set(project)
    if all(getattr(have, name) == value for name, value in wish.items()):
        return []
    compute.update_quota_set(project, **wish)
    return ["quotas"]

