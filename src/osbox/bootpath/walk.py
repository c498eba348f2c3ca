"""`osbox probe`: walk the boot path as a node would, from a port on the provisioning bridge, and name the
first broken hop.

Every hop is done for real: frames on the bridge, the files that a node would fetch. The cause of a broken one
is looked for by osbox.bootpath.cause.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from osbox.bootpath import bootfile, dhcp, dhcpclient, http, ipxe, tftp
from osbox.bootpath import cause as bootcause
from osbox.bootpath import port as bridgeport
from osbox.bootpath.cause import Broken, Scene, Subject, Why
from osbox.bootpath.dhcp import Kind
from osbox.errors import UserError
from osbox.metal.firmware import BootMode
from osbox.site.site import Site

if TYPE_CHECKING:
    from openstack.connection import Connection

State = Literal["ok", "broken", "skipped", "not tried"]
OFFER_SECONDS = 3.0  # OVN answers within milliseconds; the question is sent twice in this time
REHEARSAL_SECONDS = 15.0  # until OVN's controller has the flows of a new port: below 1 s was seen
REHEARSAL = "osbox-probe"
NETWORK = "external"
HEAD_BYTES = 1024  # of a kernel and a ramdisk: their marks are in it


@dataclass(frozen=True)
class Hop:
    """One step of a node's way: seconds it took, evidence; of a broken one the likely cause and the next
    command."""

    name: str
    state: State
    seconds: float = 0.0
    evidence: str = ""
    cause: str = ""
    next: str = ""


class Skipped(Exception):  # noqa: N818 - no error
    """There is nothing to try here, by design; the reason is told."""


def choose(system: "Connection | None", mac: str, firmware: BootMode | None) -> Subject | None:
    """Whose way to walk: the node of that MAC address; without one, a node that Ironic waits for now, or None
    when there is none."""
    if system is None:
        return Subject(mac, firmware or BootMode.BIOS) if mac else None
    nodes = {node.id: node for node in system.baremetal.nodes(details=True)}
    ports = list(system.baremetal.ports(details=True))
    found = [(port, nodes[port.node_id]) for port in ports if port.node_id in nodes]
    waits = [
        pair for pair in found if pair[1].provision_state in bootcause.EXPECTED and pair[0].is_pxe_enabled
    ]
    wanted = [pair for pair in found if pair[0].address == mac] if mac else waits
    if not wanted:
        return Subject(mac, firmware or BootMode.BIOS) if mac else None
    port, node = wanted[0]
    own = (
        BootMode.BIOS
        if "boot_mode:bios" in str((node.properties or {}).get("capabilities", ""))
        else BootMode.UEFI
    )
    name, server = node.name or node.id, node.instance_id or ""
    return Subject(
        port.address, firmware or own, node=name, state=node.provision_state, instance=server, boot_mode=own
    )


@contextmanager
def rehearsal(project: "Connection", site: Site, firmware: BootMode) -> Iterator[Subject]:
    """A MAC address of nobody's that Neutron answers for the length of the block, with the options that
    Ironic gives to a port."""
    forget_rehearsals(project)
    mac, network = bridgeport.random_mac(), project.network.find_network(NETWORK)
    options = {
        "tag:!ipxe,67": bootfile.LOADERS[firmware],
        "tag:ipxe,67": f"http://{site.address}:8090/boot.ipxe",
        "66": str(site.address),
        "150": str(site.address),
        "server-ip-address": str(site.address),
    }
    if not network:
        raise UserError(
            f"the cloud has no network {NETWORK} yet, so there is nothing to boot from", hint="osbox setup"
        )
    try:
        project.network.create_port(
            network_id=network.id,
            name=REHEARSAL,
            mac_address=mac,
            device_owner=REHEARSAL,
            # As of a node: OVN takes it for one outside, which its controller here answers.
            binding_vnic_type="baremetal",
            extra_dhcp_opts=[
                {"opt_name": name, "opt_value": value, "ip_version": 4} for name, value in options.items()
            ],
        )
        yield Subject(mac, firmware, rehearsal=True, boot_mode=firmware)
    finally:
        forget_rehearsals(project)


def forget_rehearsals(project: "Connection") -> None:
    """Delete the ports of rehearsals, that of a run that was killed included."""
    for port in list(project.network.ports(device_owner=REHEARSAL)):
        project.network.delete_port(port)


def walk(scene: Scene, on_hop: Callable[[Hop], None]) -> list[Hop]:
    """Go hop by hop, telling each as it is done. After a broken one the rest is not tried."""
    hops: list[Hop] = []
    with bridgeport.plugged(scene.site.bridge) as port:
        way = _Way(scene, port)
        for name, step in way.steps():
            broken = any(hop.state == "broken" for hop in hops)
            hops.append(Hop(name, "not tried") if broken else _try(scene, name, step))
            on_hop(hops[-1])
    return hops


def _try(scene: Scene, name: str, step: Callable[[], str]) -> Hop:
    begin = time.monotonic()
    try:
        return Hop(name, "ok", evidence=step(), seconds=time.monotonic() - begin)
    except Skipped as reason:
        return Hop(name, "skipped", evidence=str(reason), seconds=time.monotonic() - begin)
    except Broken as broken:
        took = time.monotonic() - begin
        cause = bootcause.find(scene, broken)
        return Hop(name, "broken", took, broken.evidence, cause.text, cause.next)


@dataclass
class _Way:
    """What a node learns on its way."""

    scene: Scene
    port: bridgeport.Port
    asked: dhcp.Message | None = None
    offer: dhcp.Message | None = None
    script: str = ""
    own: str = ""
    boot: ipxe.Boot = field(default_factory=ipxe.Boot)

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("bridge", self.on_the_bridge),
            ("DHCP offer", self.offered),
            ("DHCP lease", self.leased),
            ("TFTP loader", self.loader),
            ("DHCP offer to iPXE", self.offered_to_ipxe),
            ("iPXE script", self.first_script),
            ("node's script", self.own_script),
            ("kernel", self.kernel),
            ("ramdisk", self.ramdisk),
        ]

    def on_the_bridge(self) -> str:
        site = self.scene.site
        free = bridgeport.take_address(self.port, site)
        if not free:
            raise Broken(Why.NO_ADDRESS, f"{bridgeport.own_addresses(site)[0]} and all below it are in use")
        return f"{self.port.name} on {site.bridge}; files are fetched from {free}, which nobody uses"

    def offered(self) -> str:
        self.asked, self.offer, took = self._discover(as_ipxe=False)
        server, name = self.offer.boot_server, self.offer.boot_file
        text = (
            f"{self.offer.address} from {self.offer.server} after {took * 1000:.0f} ms; boot file"
            f" {name or '-'} at {server or '-'}"
        )
        self._require_ours(self.offer, text)
        if not name:
            self._skip_unless_expected(text)
            raise Broken(Why.NO_BOOT_FILE, text)
        return text

    def leased(self) -> str:
        subject = self.scene.subject
        if subject.instance or not (subject.node or subject.rehearsal):
            whose = (
                f"{subject.node} runs the server {subject.instance}"
                if subject.instance
                else "Ironic has no node of this MAC address"
            )
            raise Skipped(f"{whose}: its lease is left alone")
        assert self.asked is not None and self.offer is not None  # noqa: PT018, S101 - the hop before
        answers = dhcpclient.exchange(
            self.port, dhcp.request(self.asked, self.offer), {Kind.ACK, Kind.NAK}, OFFER_SECONDS, enough=bool
        )
        if not answers or answers[0].message.kind is Kind.NAK:
            raise Broken(
                Why.NO_LEASE,
                (
                    f"no ACK for {self.offer.address}"
                    if not answers
                    else f"NAK for {self.offer.address} by {answers[0].address}"
                ),
            )
        seconds = int.from_bytes(answers[0].message.options.get(dhcp.Code.LEASE_SECONDS, b"\0"))
        return f"ACK: {answers[0].message.address} for {seconds} s"

    def loader(self) -> str:
        assert self.offer is not None  # noqa: S101 - the hop before
        server, name = self.offer.boot_server, self.offer.boot_file
        if not name:
            raise Skipped("no loader is named for this node now")
        try:
            got = self.port.call(lambda: tftp.fetch(server, name))
        except tftp.Refused as error:
            why = Why.TFTP_NO_FILE if error.code == 1 else Why.TFTP_SILENT
            raise Broken(why, f"tftp://{server}/{name}: error {error.code}, {error}", name) from error
        except OSError as error:
            raise Broken(Why.TFTP_SILENT, f"tftp://{server}/{name}: {error}", server) from error
        digest = hashlib.sha256(got.content).hexdigest()
        told = f"tftp://{server}/{name}: {len(got.content)} bytes in blocks of {got.block}, sha256 {digest}"
        if got.announced not in (None, len(got.content)):
            raise Broken(Why.TFTP_SHORT, f"{told}; announced were {got.announced}", name)
        if not bootfile.is_loader(got.content, self.scene.subject.firmware):
            raise Broken(Why.WRONG_LOADER, told, name)
        return told

    def offered_to_ipxe(self) -> str:
        _, offer, took = self._discover(as_ipxe=True)
        self.script = offer.boot_file
        text = f"{offer.address} from {offer.server} after {took * 1000:.0f} ms; script {self.script or '-'}"
        self._require_ours(offer, text)
        if not self.script.startswith("http"):
            self.script = ""
            self._skip_unless_expected(text)
            raise Broken(Why.NO_SCRIPT, text)
        return text

    def first_script(self) -> str:
        if not self.script:
            raise Skipped("no script is named for this node now")
        text = self._script(self.script)
        own = ipxe.chained(text, self.script, self.scene.subject.mac)
        if not own:
            raise Broken(
                Why.BAD_SCRIPT, f"{self.script} goes on to no file of the node's: {text[:80]!r}", self.script
            )
        self.own = own
        return f"{self.script}: {len(text)} bytes, goes on to {own.rpartition('/')[2]}"

    def own_script(self) -> str:
        subject, url = self.scene.subject, self.own
        if subject.rehearsal or not url:
            raise Skipped(
                "Ironic writes it when it boots a node; this was a rehearsal without one"
                if url
                else "there is no way to it"
            )
        try:
            text = self._script(url)
        except Broken as broken:
            if broken.why is Why.HTTP_NO_FILE and not subject.expected:
                raise Skipped(f"{broken.evidence}: {bootcause.unexpected(subject)}") from broken
            raise
        self.boot = ipxe.follow(text, url, subject.mac)
        if self.boot.disk:
            return f"{url}: boot the node's own disk"
        if not self.boot.kernel:
            raise Broken(Why.BAD_SCRIPT, f"{url} boots nothing: {text[:80]!r}", url)
        return f"{url}: {len(text)} bytes, kernel and ramdisk"

    def kernel(self) -> str:
        return self._file(self.boot.kernel, bootfile.kernel, Why.BAD_KERNEL)

    def ramdisk(self) -> str:
        return self._file(self.boot.initrd, bootfile.ramdisk, Why.BAD_RAMDISK)

    def _discover(self, *, as_ipxe: bool) -> tuple[dhcp.Message, dhcp.Message, float]:
        subject = self.scene.subject
        seconds = REHEARSAL_SECONDS if subject.rehearsal and not as_ipxe else OFFER_SECONDS
        asked, answers = dhcpclient.discover(
            self.port, subject.mac, subject.firmware, ipxe=as_ipxe, seconds=seconds
        )
        if not answers:
            raise Broken(Why.NO_OFFER, f"no answer to DISCOVER from {subject.mac} within {seconds:.0f} s")
        return asked, answers[0].message, answers[0].seconds

    def _skip_unless_expected(self, text: str) -> None:
        if not self.scene.subject.expected:
            raise Skipped(f"{text}: {bootcause.unexpected(self.scene.subject)}")

    def _require_ours(self, offer: dhcp.Message, text: str) -> None:
        if self.scene.servers and offer.server not in self.scene.servers:
            raise Broken(Why.FOREIGN_SERVER, text, offer.server)

    def _script(self, url: str) -> str:
        got = self._get(url, whole=True)
        text = got.content.decode(errors="replace")
        if not ipxe.is_script(text):
            raise Broken(Why.BAD_SCRIPT, f"{url} is no iPXE script: {text[:80]!r}", url)
        return text

    def _file(self, url: str, look: Callable[[bytes], str], why: Why) -> str:
        if not url:
            raise Skipped("nothing to boot is named for this node now")
        got = self._get(url, whole=False)
        kind = look(got.content)
        if not kind:
            raise Broken(why, f"{url}: {got.size} bytes that begin {got.content[:8].hex(' ')}", url)
        return f"{url}: {kind}, {got.size / 1e6:.1f} MB"

    def _get(self, url: str, *, whole: bool) -> http.Answer:
        try:
            got = self.port.call(lambda: http.get(url, first=0 if whole else HEAD_BYTES))
        except OSError as error:
            raise Broken(Why.HTTP_SILENT, f"{url}: {error}", url) from error
        if got.status not in (200, 206):
            why = Why.HTTP_NO_FILE if got.status == HTTPStatus.NOT_FOUND else Why.HTTP_SILENT
            raise Broken(why, f"{url}: HTTP {got.status}", url)
        return got


def as_data(subject: Subject, hops: list[Hop]) -> dict[str, Any]:
    """What --json prints."""
    return {
        "subject": subject,
        "hops": hops,
        "broken": next((hop.name for hop in hops if hop.state == "broken"), None),
    }
