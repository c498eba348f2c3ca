"""The rack: virtual bare-metal nodes behind a real Redfish service, in the container `rack.<name>`
(docs/rack.md).

`rackctl` inside the container says what is there, as JSON. Power is Ironic's business, but for a node that it
is to forget.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from osbox import run
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.metal.firmware import BootMode
from osbox.site.site import Paths, Site

USER = "admin"  # of the Redfish service; its password is the secret bmc-password
TIMEOUT = 120  # the first definition asks QEMU what it can do: 2 s on an idle machine
OFF = ("off", "crashed")
"""States of a node that does nothing until it is switched on."""
QEMU_MAC = "52:54:00"  # the prefix that QEMU uses; the rest is ours


@dataclass(frozen=True)
class Spec:
    """A virtual node to be made: ram in MiB, disk in GiB."""

    name: str
    uuid: str
    macs: tuple[str, ...]
    cpus: int
    ram: int
    disk: int
    firmware: BootMode
    bridge: str
    accel: str


@dataclass(frozen=True)
class VirtualNode(Spec):
    """A virtual node that is there."""

    state: str
    """running, off, paused, crashed, …"""
    disk_used_mib: int
    console_bytes: int
    """Length of its console log so far."""


def container(site: Site) -> str:
    return f"rack.{site.name}"


def spec(
    site: Site,
    number: int,
    *,
    cpus: int = 1,
    ram: int = 1536,
    disk: int = 8,
    firmware: BootMode = BootMode.BIOS,
) -> Spec:
    """The node `rack-<number>` of a site: the same name, UUID and MAC address every time.

    BIOS is the default because it is at the kernel sooner than UEFI (docs/rack.md has the figures).
    """
    for word, value in {"number": number, "cpus": cpus, "ram": ram, "disk": disk}.items():
        if value < 1:
            raise UserError(f"a virtual node cannot have {word} {value}", hint="osbox rack add --help")
    name = f"rack-{number}"
    accel = os.environ.get("OSBOX_RACK_ACCEL", "tcg")
    if accel not in ("tcg", "kvm"):
        raise UserError(
            f"OSBOX_RACK_ACCEL is '{accel}'", hint="use tcg, or kvm where a kernel was seen to boot"
        )
    identity = f"{name}.{site.name}"
    tail = hashlib.sha256(identity.encode()).hexdigest()
    mac = ":".join((QEMU_MAC, tail[:2], tail[2:4], tail[4:6]))
    return Spec(
        name=name,
        uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, identity)),
        macs=(mac,),
        cpus=cpus,
        ram=ram,
        disk=disk,
        firmware=firmware,
        bridge=site.bridge,
        accel=accel,
    )


def define(engine: Engine, site: Site, specs: Sequence[Spec]) -> list[str]:
    """Define the nodes that are absent and return their names; a node that is there is left as it is."""
    answer = _rackctl(engine, site, "define", stdin=json.dumps([asdict(item) for item in specs]))
    return list(answer["defined"])


def nodes(engine: Engine, site: Site) -> list[VirtualNode]:
    return [_node(item) for item in _rackctl(engine, site, "list")]


def behind(engine: Engine, site: Site, driver_info: Mapping[str, Any] | None) -> VirtualNode | None:
    """The virtual node that an Ironic node's driver_info speaks of; None for real hardware, and while the
    rack does not answer."""
    system = str((driver_info or {}).get("redfish_system_id", ""))
    with suppress(Error):
        return (
            next((node for node in nodes(engine, site) if system.endswith(node.uuid)), None)
            if system
            else None
        )
    return None


def remove(engine: Engine, site: Site, names: Sequence[str]) -> list[str]:
    """Remove nodes with their disks and return those that were there."""
    return list(_rackctl(engine, site, "remove", *names)["removed"]) if names else []


def switch_off(engine: Engine, site: Site, driver_info: Mapping[str, Any] | None) -> bool:
    """Take the power of the virtual node that an Ironic node's driver_info speaks of; False for real
    hardware, and for one that is off."""
    node = behind(engine, site, driver_info)
    if node is None or node.state in OFF:
        return False
    argv = engine.argv("docker", "exec", container(site), "virsh", "destroy", node.name)
    return run.run(argv, check=False, timeout=TIMEOUT).code == 0


def console_argv(engine: Engine, site: Site, name: str) -> list[str]:
    """The command line that attaches a terminal to a node's console; Ctrl-] leaves it."""
    return engine.argv(
        "docker", "exec", "--interactive", "--tty", container(site), "rackctl", "console", name
    )


def console_log_argv(
    engine: Engine, site: Site, name: str, *, lines: int = 1000, follow: bool = False
) -> list[str]:
    """The command line that prints the end of a node's console log, for osbox.run.attach or stream."""
    options = [f"--lines={lines}", *(["--follow"] if follow else [])]
    return engine.argv("docker", "exec", container(site), "rackctl", "log", name, *options)


def console_log(engine: Engine, site: Site, name: str, *, lines: int = 1000, times: bool = False) -> str:
    """The end of what a node has written to its console; "" if nothing yet.

    times: each line with the time at which it was written in front (UTC, ISO 8601), or "-"; of a rack that is
    too old to know them, without.
    """
    argv = console_log_argv(engine, site, name, lines=lines)
    result = run.run([*argv, *["--times"] * times], check=False, timeout=TIMEOUT)
    if times and "unrecognized arguments" in result.err:
        result = run.run(argv, check=False, timeout=TIMEOUT)
    if result.code != 0 and "has written nothing" not in result.err:
        raise _error(engine, site, result)
    return result.out if result.code == 0 else ""


def console_written(engine: Engine, site: Site, name: str) -> float | None:
    """When a node last wrote to its console (seconds since the epoch); None if it never did."""
    argv = engine.argv(
        "docker", "exec", container(site), "stat", "--format=%Y", f"/var/lib/rack/console/{name}.log"
    )
    result = run.run(argv, check=False, timeout=TIMEOUT)
    return float(result.out) if result.code == 0 else None


def enrolment(specs: Sequence[Spec], paths: Paths, site: Site) -> str:
    """The nodes.yaml that enrols virtual nodes as if they were real ones."""
    entries = [
        {
            "name": node.name,
            "driver": "redfish",
            "bmc": {
                **_spoken(paths, site),
                "username": USER,
                "password_file": str(paths.secrets / "bmc-password"),
                "system_id": node.uuid,
            },
            "ports": list(node.macs),
            "properties": {
                "cpus": node.cpus,
                "memory_mb": node.ram,
                "local_gb": node.disk,
                "cpu_arch": "x86_64",
                "capabilities": {"boot_mode": str(node.firmware)},
            },
        }
        for node in specs
    ]
    return _file(entries, site)


def moved(text: str, paths: Paths, site: Site) -> str:
    """rack.yaml with the address and the authority of today."""
    entries = yaml.safe_load(text)["nodes"]
    for entry in entries:
        if entry["bmc"].get("address") in addresses(site):
            entry["bmc"] |= _spoken(paths, site)
    return _file(entries, site)


def addresses(site: Site) -> tuple[str, str]:
    """By which the rack's Redfish may have been enrolled, with TLS or without."""
    return tuple(f"{scheme}://{site.address}:{site.redfish_port}" for scheme in ("http", "https"))  # type: ignore[return-value]


def _spoken(paths: Paths, site: Site) -> dict[str, Any]:
    return {
        "address": site.api(site.redfish_port, site.address),
        "verify_ca": str(paths.trusted) if site.tls else False,
    }


def _file(entries: Sequence[Mapping[str, Any]], site: Site) -> str:
    head = f"# The virtual nodes of {container(site)}, written by osbox. docs/nodes.md describes this file.\n"
    return head + yaml.safe_dump({"nodes": list(entries)}, sort_keys=False)


def _node(item: dict[str, Any]) -> VirtualNode:
    return VirtualNode(**{**item, "macs": tuple(item["macs"]), "firmware": BootMode(item["firmware"])})


def _rackctl(engine: Engine, site: Site, *words: str, stdin: str | None = None) -> Any:
    interactive = ["--interactive"] if stdin is not None else []
    argv = engine.argv("docker", "exec", *interactive, container(site), "rackctl", *words)
    result = run.run(argv, input=stdin, check=False, timeout=TIMEOUT)
    if result.code != 0:
        raise _error(engine, site, result)
    return json.loads(result.out)


def _error(engine: Engine, site: Site, result: run.Result) -> Error:
    said = run.tail(result.err or result.out)
    message, found, reason = said.rpartition("rackctl: ")
    if found:
        logs = run.line(engine.argv("docker", "logs", container(site)))
        return Error(f"the rack cannot do that: {reason}", hint=logs)
    return Error(
        f"the container {container(site)} does not answer", evidence=message or said, hint="osbox rack add"
    )
