"""KVM: booted, not looked at.

The device may be there, and libvirt say that it works, and QEMU abort all the same.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from osbox.doctor.finding import Facts, Finding, error, ok, unseen
from osbox.engine import docker
from osbox.errors import Error
from osbox.images.catalogue import BY_NAME

DEVICE = Path("/dev/kvm")
SECONDS = 5  # SeaBIOS under KVM says its name within a quarter of a second
SAID = "SeaBIOS (version"
DEBUG_PORT = "0x402"  # where SeaBIOS writes what it does, on QEMU
QEMU = (
    "qemu-system-x86_64",
    "-accel",
    "kvm",
    "-cpu",
    "host",
    "-m",
    "64",
    "-nodefaults",
    "-display",
    "none",
    "-no-reboot",
    "-chardev",
    "stdio,id=said",
    "-device",
    f"isa-debugcon,iobase={DEBUG_PORT},chardev=said",
)


def check_accelerator(facts: Facts) -> Iterator[Finding]:
    """Boot a machine's firmware under KVM in a container of the rack's image, if there are both."""
    wanted = os.environ.get("OSBOX_RACK_ACCEL", "tcg")
    if not DEVICE.exists():
        if wanted == "kvm":
            yield error("OSBOX_RACK_ACCEL is kvm, and there is no /dev/kvm", "", "OSBOX_RACK_ACCEL=tcg")
        else:
            yield ok("accelerator: there is no /dev/kvm, and virtual nodes are emulated")
        return
    if facts.silence:
        yield unseen("accelerator", facts.silence)  # nobody says whether the image is there
        return
    image = BY_NAME["os-rack"].tag("latest")
    if facts.engine is None or not docker.image(facts.engine, image):
        yield ok("accelerator: /dev/kvm is there; whether it works is told when the image os-rack is built")
        return
    begin = time.monotonic()
    said = _boot(facts, image)
    if SAID in said:
        if wanted == "kvm":
            yield ok(
                f"accelerator: a machine's firmware ran under KVM after {time.monotonic() - begin:.1f} s"
            )
        else:
            then = "OSBOX_RACK_ACCEL=kvm osbox rack add makes quick nodes (docs/rack.md)"
            yield ok(
                f"accelerator: a machine's firmware ran under KVM after {time.monotonic() - begin:.1f} s;"
                f" {then}"
            )
        return
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    if wanted == "kvm":
        yield error("OSBOX_RACK_ACCEL is kvm, and KVM does not work here", last[0], "OSBOX_RACK_ACCEL=tcg")
    else:
        yield ok("accelerator: /dev/kvm is there and does not work; virtual nodes are emulated", last[0])


def _boot(facts: Facts, image: str) -> str:
    """What QEMU and the firmware said.

    `timeout` ends it inside: there is nothing to boot after the firmware.
    """
    assert facts.engine is not None  # noqa: S101 - for the type checker
    words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--cap-drop",
        "ALL",
        "--device",
        str(DEVICE),
        "--label",
        f"io.osbox.doctor={facts.site.name}",
    ]
    try:
        answer = docker.docker(
            facts.engine,
            *words,
            "--entrypoint",
            "timeout",
            image,
            "--signal=KILL",
            "2",
            *QEMU,
            check=False,
            timeout=SECONDS,
        )
    except Error as late:
        return late.message
    return answer.out + answer.err
