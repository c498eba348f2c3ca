"""Every image by name: which project folder its Dockerfile is in, and which image it stands on. Pure."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from osbox.errors import UserError

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
GROUND = "os-base-image"
OPENSTACK = "os-openstack"

RETIRED = {
    "os-glance-registry": "Glance itself dropped the registry; os-glance-api does its work",
    "os-neutron-dhcp-agent": "OVN itself answers DHCP: os-ovn-controller does its work",
    "os-neutron-l3-agent": "OVN itself is the router: os-ovn-controller does its work",
    "os-neutron-openvswitch-agent": "os-ovn-controller does its work, without Python and without SYS_ADMIN",
}


@dataclass(frozen=True)
class Image:
    """One image. Its recipe is the target of its own name in images/<project>/Dockerfile.

    builder: whether the build mounts the tools of BUILDER. internal: nobody runs it, so nobody is told of it.
    """

    name: str
    project: str
    base: str
    builder: bool = False
    internal: bool = False

    @property
    def dockerfile(self) -> Path:
        """The recipe, relative to the checkout."""
        return Path("images") / self.project / "Dockerfile"

    @property
    def variable(self) -> str:
        """What says in the Compose files which tag runs, of an image that no release changes; "" of others,
        which run by the version."""
        of_a_release = OPENSTACK in (self.name, self.base)
        return "" if of_a_release else "OSBOX_TAG_" + self.name[3:].upper().replace("-", "_")

    def tag(self, version: str) -> str:
        return f"{self.name}:{version}"


def check_version(version: str) -> str:
    """The version itself; raises UserError for one that cannot be an image's tag."""
    if not TAG.fullmatch(version):
        raise UserError(
            f"the version {version!r} cannot be an image tag",
            hint="a tag has up to 128 letters, digits, _ . - and does not begin with . or -, for example 1.0",
        )
    return version


def _rows(base: str, table: dict[str, Sequence[str]], *, builder: bool = False) -> list[Image]:
    return [Image(f"os-{name}", project, base, builder) for project, names in table.items() for name in names]


BUILDER = Image("os-builder", "base", GROUND, internal=True)


IMAGES: tuple[Image, ...] = (
    Image(GROUND, "base", ""),
    Image(OPENSTACK, "base", GROUND),
    *_rows(
        GROUND,
        {
            "mysql": ["mysql"],
            "rabbitmq": ["rabbitmq"],
            "memcached": ["memcached"],
            "httpboot": ["httpboot"],
            "tftpboot": ["tftpboot"],
            "autodns": ["autodns"],
            "front": ["front"],
            "ovn": ["openvswitch", "ovn-controller", "ovn-central"],
        },
    ),
    *_rows(GROUND, {"rack": ["rack"]}, builder=True),
    *_rows(
        OPENSTACK,
        {
            "keystone": ["keystone"],
            "glance": ["glance-api"],
            "placement": ["placement"],
            "neutron": ["neutron-server"],
            "nova": ["nova-api", "nova-conductor", "nova-scheduler", "nova-compute"],
            "ironic": ["ironic-api", "ironic-conductor"],
            "swift": ["swift-proxy", "swift-account", "swift-container", "swift-object", "swift-daemons"],
        },
        builder=True,
    ),
)
BY_NAME = {image.name: image for image in IMAGES}


def find(name: str) -> Image:
    """The image of that name, with or without its `os-`; raises UserError that names the nearest one."""
    image = BY_NAME.get(name) or BY_NAME.get(f"os-{name}")
    if image:
        return image
    near = difflib.get_close_matches(name, [*BY_NAME, *(item.removeprefix("os-") for item in BY_NAME)], 1)
    hint = f"did you mean {near[0]}?" if near else "osbox build --help; their names: " + " ".join(BY_NAME)
    raise UserError(f"no image is called {name}", hint=hint)


def retired(name: str) -> str:
    """The full name of a retired image, or ""."""
    full = name if name.startswith("os-") else f"os-{name}"
    return full if full in RETIRED else ""


def select(names: Iterable[str]) -> list[Image]:
    """The images of those names (all of them if there are none), in the table's order; retired names are left
    out."""
    names = list(names)
    wanted = {find(name).name for name in names if not retired(name)}
    return [image for image in IMAGES if image.name in wanted or not names]


def with_bases(images: Iterable[Image]) -> list[Image]:
    """The images and all that their builds need, in an order where a base comes before what stands on it."""
    images = list(images)
    wanted: set[str] = set()
    for image in images:
        name = image.name
        while name:
            wanted.add(name)
            name = BY_NAME[name].base
    found = [image for image in IMAGES if image.name in wanted]
    if any(image.builder for image in images):
        found.insert(1, BUILDER)
    return found
