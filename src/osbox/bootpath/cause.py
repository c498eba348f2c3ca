"""Why a hop of the boot path is broken: the live system is looked at, from the nearest cause to the farthest,
until one fits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from osbox.bootpath import crossing, ovn
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.metal.firmware import BootMode
from osbox.network import converge as net
from osbox.network.plan import plan
from osbox.network.values import Wish
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from openstack.connection import Connection

EXPECTED = frozenset(
    {
        "inspecting",
        "inspect wait",
        "cleaning",
        "clean wait",
        "deploying",
        "wait call-back",
        "rescuing",
        "rescue wait",
        "servicing",
        "service wait",
    }
)
"""Ironic's states in which a node is to boot from the network."""
DHCP_SERVICES = ("neutron-network", "openvswitch", "ovn-central", "ovn-controller")


class Why(Enum):
    """What a hop saw go wrong."""

    NO_ADDRESS = auto()
    NO_OFFER = auto()
    FOREIGN_SERVER = auto()
    NO_BOOT_FILE = auto()
    NO_SCRIPT = auto()
    NO_LEASE = auto()
    TFTP_SILENT = auto()
    TFTP_NO_FILE = auto()
    TFTP_SHORT = auto()
    WRONG_LOADER = auto()
    HTTP_SILENT = auto()
    HTTP_NO_FILE = auto()
    BAD_SCRIPT = auto()
    BAD_KERNEL = auto()
    BAD_RAMDISK = auto()


class Broken(Exception):  # noqa: N818 - a finding, no error
    """A hop that did not go: why, what was seen, and what it is about (a file, a server)."""

    def __init__(self, why: Why, evidence: str, about: str = "") -> None:
        super().__init__(evidence)
        self.why, self.evidence, self.about = why, evidence, about


@dataclass(frozen=True)
class Subject:
    """Whose way is walked.

    node and state are Ironic's, "" when it has no node of this MAC address; instance is the server on it.
    """

    mac: str
    firmware: BootMode
    node: str = ""
    state: str = ""
    instance: str = ""
    boot_mode: BootMode | None = None
    """The node's own, by Ironic: what its loader is chosen by."""
    rehearsal: bool = False

    @property
    def expected(self) -> bool:
        """Whether Ironic has made ready for this MAC address to boot from the network now."""
        return self.rehearsal or self.state in EXPECTED


@dataclass(frozen=True)
class Scene:
    """What a cause is looked for in.

    servers: the addresses by which OVN's DHCP calls itself, empty when Neutron does not say.
    """

    paths: Paths
    site: Site
    engine: Engine | None
    subject: Subject
    project: "Connection | None" = None
    servers: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Cause:
    text: str
    next: str


def unexpected(subject: Subject) -> str:
    """Why a node is not served now."""
    if not subject.node:
        return (
            f"Ironic has no node with the MAC address {subject.mac}, and OVN's DHCP answers"
            " addresses of Neutron's ports only"
        )
    return (
        f"Ironic does not expect {subject.node} to boot from the network now (it is `{subject.state}`), and"
        " makes ready only when it does"
    )


def find(scene: Scene, broken: Broken) -> Cause:
    """The likely cause of a broken hop, and the next command."""
    if broken.why in (Why.NO_OFFER, Why.NO_LEASE):
        return _of_dhcp(scene)
    if broken.why in (Why.TFTP_SILENT, Why.TFTP_SHORT):
        return _of_server(scene, "pxe-tftp", "69/udp")
    if broken.why is Why.HTTP_SILENT:
        return _of_server(scene, "ipxe-httpd", "8090/tcp")
    if broken.why in (Why.TFTP_NO_FILE, Why.HTTP_NO_FILE, Why.BAD_SCRIPT, Why.BAD_KERNEL, Why.BAD_RAMDISK):
        return _of_file(scene, broken)
    if broken.why is Why.WRONG_LOADER:
        return _of_firmware(scene)
    return _others(scene, broken)


def _others(scene: Scene, broken: Broken) -> Cause:
    nothing = Cause(
        "the port of this MAC address in Neutron has no boot options: Ironic has not set them",
        "osbox logs ironic-conductor",
    )
    return {
        Why.NO_ADDRESS: Cause(
            "no address is left for the probe beside those that Neutron hands out",
            f"ip neighbour show dev {scene.site.bridge}",
        ),
        Why.FOREIGN_SERVER: Cause(
            f"another DHCP server, {broken.about}, was faster than Neutron's"
            f" {', '.join(sorted(scene.servers))}: nodes get its answer",
            "osbox doctor names every such server and its MAC address; switch it off, or give the nodes a"
            " switch or VLAN of their own",
        ),
    }.get(broken.why, nothing)


def _of_dhcp(scene: Scene) -> Cause:
    near = _stopped(scene, DHCP_SERVICES) or _network(scene) or _dropped(scene)
    if near:
        return near
    if not scene.subject.expected and not _has_port(scene):
        again = (
            "osbox node list"
            if scene.subject.node
            else "osbox probe without --mac rehearses the way with an address of its own"
        )
        return Cause(unexpected(scene.subject), again)
    if not _has_port(scene):
        return Cause(
            f"Neutron has no port with the MAC address {scene.subject.mac}: Ironic made none",
            "osbox logs ironic-conductor",
        )
    lack = ovn.lack(scene.engine, scene.site, scene.subject.mac) if scene.engine else None
    if lack:
        again = f"osbox engine shell -- docker restart {lack.service}.{scene.site.name}"
        return Cause(f"{lack.text}; {lack.service}, started again, puts that right", again)
    return Cause(
        "OVN knows the port and how to answer it, and frames pass, but no answer came: see what its"
        " controller says",
        "osbox logs ovn-controller",
    )


def _has_port(scene: Scene) -> bool:
    """Whether Neutron has a port of this MAC address; taken for granted when Neutron cannot be asked."""
    try:
        return scene.project is None or any(scene.project.network.ports(mac_address=scene.subject.mac))
    except Exception:  # noqa: BLE001 - whatever keeps Neutron from answering is not what is looked for here
        return True


def _of_server(scene: Scene, service: str, port: str) -> Cause:
    near = _stopped(scene, (service,)) or _network(scene)
    if near:
        return near
    where = f"{scene.site.address}:{port}"
    return Cause(
        f"{service} runs, but {where} does not answer nodes: a firewall of this machine, or the engine's"
        " published port",
        "osbox doctor",
    )


def _of_file(scene: Scene, broken: Broken) -> Cause:
    near = _stopped(scene, ("ironic-conductor",))
    if near:
        return near
    name = broken.about.rpartition("/")[2]
    wrong = (
        "is not there" if broken.why in (Why.TFTP_NO_FILE, Why.HTTP_NO_FILE) else "is not what it should be"
    )
    if broken.why is Why.TFTP_NO_FILE or name == "boot.ipxe":
        restart = f"osbox engine shell -- docker restart ironic-conductor.{scene.site.name}"
        return Cause(
            f"{name} {wrong} on the volume pxe-boot-data; ironic-conductor writes it when it starts", restart
        )
    node = scene.subject.node or "NODE"
    again = (
        f"osbox openstack baremetal node abort {node}, then osbox node enroll again"
        if "inspect" in scene.subject.state or "clean" in scene.subject.state
        else f"osbox openstack baremetal node show {node} -f json"
    )
    told = "Ironic wrote it when it told the node to boot, and will the next time"
    return Cause(f"{name} of {node} {wrong} on the volume pxe-boot-data: {told}", again)


def _of_firmware(scene: Scene) -> Cause:
    subject = scene.subject
    if subject.boot_mode and subject.boot_mode is not subject.firmware:
        text = (
            f"Ironic takes {subject.node} for a machine that boots with {subject.boot_mode.upper()}, and"
            " hands it the loader for that"
        )
        return Cause(
            text,
            f"boot_mode:{subject.firmware} among the capabilities of {subject.node} in nodes.yaml, then osbox"
            " node enroll again",
        )
    restart = f"osbox engine shell -- docker restart ironic-conductor.{scene.site.name}"
    return Cause(f"the loader on the volume pxe-boot-data is not one for {subject.firmware.upper()}", restart)


def _stopped(scene: Scene, services: Sequence[str]) -> Cause | None:
    """The first of these services whose container does not run."""
    if scene.engine is None:
        return Cause("the container engine does not run, and so none of the cloud's services", "osbox up")
    names = [f"{service}.{scene.site.name}" for service in services]
    try:
        states = {item.name: item.state.status for item in docker.containers(scene.engine, *names)}
    except Error as error:
        return Cause(error.message, error.hint)
    for name in names:
        if states.get(name) != "running":
            return Cause(
                f"the container {name} does not run ({states.get(name, 'there is none')})", "osbox up"
            )
    return None


def _network(scene: Scene) -> Cause | None:
    """What `osbox net connect` would change."""
    try:
        changes = plan(net.observe(net.doors(scene.paths, scene.site, scene.engine)), Wish(do="connect"))
    except Error as error:
        return Cause(error.message, error.hint)
    if not changes:
        return None
    return Cause(
        "the provisioning network is not as it should be; still to do: "
        + "; ".join(change.text for change in changes),
        "osbox net connect",
    )


def _dropped(scene: Scene) -> Cause | None:
    """Whether frames of our own cross the bridge."""
    seen = crossing.across(scene.site.bridge, str(scene.site.subnet.broadcast_address))
    if seen.udp:
        return None
    what = "ARP passes and IP is dropped" if seen.arp else "nothing passes"
    text = (
        f"frames do not cross the bridge {scene.site.bridge} ({what}): a packet filter of this machine drops"
        " them"
    )
    return Cause(text, "osbox engine shell -- iptables -S FORWARD; nft list ruleset")
