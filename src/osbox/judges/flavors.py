"""Flavors for the suites, of a class of nodes that there are none of: no server of a test may land on
somebody's machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osbox.judges.people import MARK, taken

if TYPE_CHECKING:
    from openstack.connection import Connection

NOWHERE = {
    "resources:CUSTOM_OSBOX_JUDGE": "1",
    "resources:VCPU": "0",
    "resources:MEMORY_MB": "0",
    "resources:DISK_GB": "0",
}


@dataclass(frozen=True)
class Size:
    """A flavor: MiB of memory, processors, GiB of disk."""

    name: str
    memory: int
    processors: int
    disk: int


def make(cloud: "Connection", sizes: Sequence[Size]) -> None:
    """Those that are missing.

    Raises UserError, before any is made, when a name is somebody else's: that flavor may be of machines.
    """
    there = {one.name: one.description for one in cloud.compute.flavors()}
    for one in sizes:
        if there.get(one.name, MARK) != MARK:
            raise taken("flavor", one.name)
    for one in sizes:
        if one.name not in there:
            made = cloud.compute.create_flavor(
                name=one.name, ram=one.memory, vcpus=one.processors, disk=one.disk, description=MARK
            )
            cloud.compute.create_flavor_extra_specs(made, NOWHERE)


def remove(cloud: "Connection") -> None:
    for flavor in [one for one in cloud.compute.flavors() if one.description == MARK]:
        cloud.compute.delete_flavor(flavor, ignore_missing=True)
