#!/opt/sushy/bin/python3
"""rackctl: the virtual nodes of this rack, seen and changed as data.

    rackctl define <specs.json    define the nodes that are absent; prints {"defined": […], "present": […]}
    rackctl list                  print all nodes as JSON
    rackctl remove NAME…          power off and remove nodes with disk, firmware variables and console log
    rackctl log NAME [--lines N] [--follow | --times]
                                  print the end of a console; --times: each line with the time (UTC) at
                                  which it was begun, as `docker logs --timestamps` has it, or "-" for none
    rackctl console NAME          attach to the serial console (leave with Ctrl-])

A spec has: name, uuid, macs (a list), cpus, ram (MiB), disk (GiB), firmware (bios or uefi), bridge, accel
(tcg, the default, or kvm). Power is switched through Redfish only: Ironic corrects what anybody else does to
it within a minute.
"""

import argparse
import bisect
import contextlib
import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path("/var/lib/rack")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
BRIDGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")
STATES = {1: "running", 2: "blocked", 3: "paused", 4: "shutting down", 5: "off", 6: "crashed", 7: "suspended"}
# For translated code. It bounds what a node takes beside its own memory; more was not seen to be faster
# (docs/rack.md).
TB_CACHE_MIB = 256
TIMED_BYTES = 4 << 20  # of a console's end, to look for lines in
REBOOT_MILLISECONDS = 5000  # from "No bootable device" to the next try; libvirt takes up to 65535


class RackError(Exception):
    """What is wrong, in one line."""


@dataclass(frozen=True)
class Spec:
    """One virtual node."""

    name: str
    uuid: str
    macs: tuple[str, ...]
    cpus: int
    ram: int
    disk: int
    firmware: str
    bridge: str
    accel: str = "tcg"

    @property
    def disk_file(self) -> Path:
        return ROOT / "disks" / f"{self.name}.raw"


def parse(text: str) -> list[Spec]:
    """Read specs from JSON; raises RackError that names the node and the key."""
    try:
        items = json.loads(text)
        return [_spec(item) for item in items]
    except (ValueError, TypeError) as error:
        raise RackError(f"the specs are no JSON list of nodes: {error}") from error


def _spec(item: dict[str, Any]) -> Spec:
    try:
        spec = Spec(
            name=item["name"],
            uuid=str(UUID(item["uuid"])),
            macs=tuple(mac.lower() for mac in item["macs"]),
            cpus=int(item["cpus"]),
            ram=int(item["ram"]),
            disk=int(item["disk"]),
            firmware=item["firmware"],
            bridge=item["bridge"],
            accel=item.get("accel", "tcg"),
        )
    except KeyError as error:
        raise RackError(f"node {item.get('name', '?')}: {error.args[0]} is missing") from error
    rules = {
        "name": NAME.fullmatch(spec.name),
        "macs": spec.macs and all(MAC.fullmatch(mac) for mac in spec.macs),
        "cpus": spec.cpus > 0,
        "ram": spec.ram > 0,
        "disk": spec.disk > 0,
        "firmware": spec.firmware in ("bios", "uefi"),
        "bridge": BRIDGE.fullmatch(spec.bridge),
        "accel": spec.accel in ("tcg", "kvm"),
    }
    for key, good in rules.items():
        if not good:
            raise RackError(f"node {spec.name}: {key} cannot be {item.get(key)!r}")
    return spec


def domain_xml(spec: Spec) -> str:
    """The libvirt definition of a node: serial console only, virtio everywhere, no device that nobody looks
    at."""
    domain = ET.Element("domain", type="qemu" if spec.accel == "tcg" else "kvm")
    _text(domain, "name", spec.name)
    _text(domain, "uuid", spec.uuid)
    _text(domain, "memory", str(spec.ram), unit="MiB")
    _text(domain, "vcpu", str(spec.cpus))
    _firmware(domain, spec)
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if spec.accel == "tcg":
        _text(ET.SubElement(features, "tcg"), "tb-cache", str(TB_CACHE_MIB), unit="MiB")
    ET.SubElement(domain, "cpu", mode="maximum" if spec.accel == "tcg" else "host-passthrough")
    ET.SubElement(domain, "clock", offset="utc")
    _devices(ET.SubElement(domain, "devices"), spec)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text


def _firmware(domain: ET.Element, spec: Spec) -> None:
    uefi = spec.firmware == "uefi"
    system = ET.SubElement(domain, "os", {"firmware": "efi"} if uefi else {})
    _text(system, "type", "hvm", arch="x86_64", machine="q35" if uefi else "pc")
    if uefi:
        firmware = ET.SubElement(system, "firmware")
        for feature in ("secure-boot", "enrolled-keys"):
            ET.SubElement(firmware, "feature", enabled="no", name=feature)
    else:
        # SeaBIOS and iPXE are silent without useserial. And as a server's firmware does, this one tries again
        # when nothing booted.
        ET.SubElement(system, "bios", useserial="yes", rebootTimeout=str(REBOOT_MILLISECONDS))
    # The order of the first boot only: sushy-tools rewrites it when Ironic sets a boot device. That is why a
    # definition that is there is never replaced.
    for device in ("network", "hd"):
        ET.SubElement(system, "boot", dev=device)


def _devices(devices: ET.Element, spec: Spec) -> None:
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    # unsafe: no flush reaches the disk below. Data survives QEMU and the container, not a power cut of the
    # host.
    ET.SubElement(
        disk, "driver", name="qemu", type="raw", cache="unsafe", discard="unmap", detect_zeroes="unmap"
    )
    ET.SubElement(disk, "source", file=str(spec.disk_file))
    ET.SubElement(disk, "target", dev="vda", bus="virtio")
    for mac in spec.macs:
        interface = ET.SubElement(devices, "interface", type="bridge")
        ET.SubElement(interface, "mac", address=mac)
        ET.SubElement(interface, "source", bridge=spec.bridge)
        ET.SubElement(interface, "model", type="virtio")
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=str(console_log(spec.name)), append="on")
    ET.SubElement(devices, "controller", type="usb", model="none")
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    _text(devices, "video", "")
    ET.SubElement(devices[-1], "model", type="none")
    ET.SubElement(devices, "memballoon", model="none")


def console_log(name: str) -> Path:
    return ROOT / "console" / f"{name}.log"


def summary(xml: str) -> dict[str, Any]:
    """What a definition says about its node."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own words
    loader = domain.find("os/loader")
    by_name = domain.find("os").get("firmware") == "efi"  # type: ignore[union-attr]
    uefi = by_name or (loader is not None and loader.get("type") == "pflash")
    macs = [mac.get("address", "") for mac in domain.findall("devices/interface/mac")]
    disk = Path(domain.find("devices/disk/source").get("file", ""))  # type: ignore[union-attr]
    status = disk.stat() if disk.exists() else None
    return {
        "name": domain.findtext("name"),
        "uuid": domain.findtext("uuid"),
        "macs": macs,
        "cpus": int(domain.findtext("vcpu", "0")),
        "ram": int(domain.findtext("memory", "0")) >> 10,  # libvirt answers in KiB
        "disk": status.st_size >> 30 if status else 0,
        "disk_used_mib": status.st_blocks * 512 >> 20 if status else 0,
        "firmware": "uefi" if uefi else "bios",
        "bridge": domain.find("devices/interface/source").get("bridge"),  # type: ignore[union-attr]
        "accel": "tcg" if domain.get("type") == "qemu" else "kvm",
    }


def connect() -> Any:
    """A connection to libvirt, whose binding is imported here: everything above works without it."""
    import libvirt  # noqa: PLC0415

    libvirt.registerErrorHandler(lambda *_: None, None)  # it would print what it also raises
    try:
        return libvirt.open("qemu:///system")
    except libvirt.libvirtError as error:
        raise RackError(f"libvirtd does not answer: {error}") from error


def define(specs: Sequence[Spec]) -> dict[str, list[str]]:
    """Define what is absent; what is there stays as it is, boot order included."""
    connection = connect()
    present = {domain.name(): domain.UUIDString() for domain in connection.listAllDomains()}
    result: dict[str, list[str]] = {"defined": [], "present": []}
    for spec in specs:
        if spec.name in present:
            if present[spec.name] != spec.uuid:
                raise RackError(f"node {spec.name} is there with another uuid: {present[spec.name]}")
            result["present"].append(spec.name)
            continue
        with spec.disk_file.open("wb") as file:  # empty, even if a run that was interrupted left one
            file.truncate(spec.disk << 30)
        connection.defineXML(domain_xml(spec))
        result["defined"].append(spec.name)
    return result


def nodes() -> list[dict[str, Any]]:
    """All nodes, by name."""
    found = []
    for domain in connect().listAllDomains():
        log = console_log(domain.name())
        found.append(
            {
                **summary(domain.XMLDesc(2)),  # 2: the persistent definition
                "state": STATES.get(domain.state()[0], "unknown"),
                "console_bytes": log.stat().st_size if log.exists() else 0,
            }
        )
    return sorted(found, key=lambda node: _natural(node["name"]))


def _natural(name: str) -> list[Any]:
    """A sort key that puts rack-10 after rack-9."""
    return [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", name)]


def remove(names: Sequence[str]) -> dict[str, list[str]]:
    """Remove nodes with all they have; names that are not there are skipped."""
    connection = connect()
    domains = {domain.name(): domain for domain in connection.listAllDomains()}
    removed = []
    for name in names:
        if not NAME.fullmatch(name):
            raise RackError(f"{name!r} is no name of a node")
        domain = domains.get(name)
        if domain is not None:
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(1 | 2 | 4)  # managed save, snapshot metadata, nvram
            removed.append(name)
        log = console_log(name)
        for file in (ROOT / "disks" / f"{name}.raw", log, log.with_suffix(".times")):
            file.unlink(missing_ok=True)
    return {"removed": removed}


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    try:
        match args.verb:
            case "define":
                print(json.dumps(define(parse(sys.stdin.read()))))
            case "list":
                print(json.dumps(nodes()))
            case "remove":
                print(json.dumps(remove(args.names)))
            case "log" if args.times:
                sys.stdout.buffer.write(timed(_written(args.name), args.lines))
            case "log":
                return _log(args.name, args.lines, follow=args.follow)
            case "console":
                return _console(args.name)
    except Exception as error:  # noqa: BLE001 - libvirt's own errors cannot be named where its binding is absent
        print(f"rackctl: {error}", file=sys.stderr)
        return 1
    return 0


def _log(name: str, lines: int, *, follow: bool) -> int:
    following = ["--follow=name", "--retry"] if follow else []
    log = str(_written(name, absent=follow))
    os.execvp("tail", ["tail", f"--lines={lines}", *following, log])  # noqa: S606


def _written(name: str, *, absent: bool = False) -> Path:
    """A node's console log; raises RackError when there is none, unless it may be absent."""
    log = console_log(name)
    if not NAME.fullmatch(name) or not (log.exists() or absent):
        raise RackError(f"node {name} has written nothing to its console yet")
    return log


def timed(log: Path, lines: int) -> bytes:
    """The last lines of a console, each with the time at which its first byte was written."""
    noted, found = read_times(log.with_suffix(".times")), list[bytes]()
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        at = file.seek(max(0, size - TIMED_BYTES))
        for line in file.read(size - at).removesuffix(b"\n").split(b"\n"):
            found.append(_stamp(noted, at) + line + b"\n")
            at += len(line) + 1
    return b"".join(found[-lines:])


def _stamp(noted: Sequence[tuple[int, float]], offset: int) -> bytes:
    """When the byte at an offset was written: no later than the console was first seen to be longer."""
    place = bisect.bisect_right(noted, (offset, float("inf")))
    if place == len(noted):
        return b"- "
    time = datetime.fromtimestamp(noted[place][1], UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 10000:02}Z ".encode()


def read_times(file: Path) -> list[tuple[int, float]]:
    """What the rack wrote down, as (bytes, seconds): of a line that was cut off by a full disk nothing."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with contextlib.suppress(ValueError):
            seconds, size = line.split()
            found.append((int(size), float(seconds)))
    return sorted(found)


def _console(name: str) -> int:
    """Become rack-console at the pseudo-terminal that QEMU made for the running node."""
    for domain in connect().listAllDomains(1):  # the active ones
        if domain.name() == name:
            serial = ET.fromstring(domain.XMLDesc()).find("devices/serial/source")  # noqa: S314 - libvirt's own words
            os.execvp("rack-console", ["rack-console", serial.get("path", "") if serial is not None else ""])  # noqa: S606
    raise RackError(f"node {name} is off or not there")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rackctl", description="The virtual nodes of this rack.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("define", help="define the nodes whose JSON specs come on standard input, where absent")
    verbs.add_parser("list", help="print all nodes as JSON")
    verbs.add_parser("remove", help="remove nodes with their disks").add_argument(
        "names", nargs="+", metavar="NAME"
    )
    log = verbs.add_parser("log", help="print the end of a node's console log")
    log.add_argument("name", metavar="NAME")
    log.add_argument("--lines", type=int, default=1000)
    log.add_argument("--follow", action="store_true")
    log.add_argument("--times", action="store_true")
    console = verbs.add_parser("console", help="attach to a node's console; leave with Ctrl-]")
    console.add_argument("name", metavar="NAME")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
