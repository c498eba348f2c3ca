"""Ironic's iPXE scripts, and the first bytes of what they boot."""

import struct

import pytest

from osbox.bootpath import bootfile, ipxe
from osbox.metal.firmware import BootMode

URL = "http://10.29.29.1:8090/boot.ipxe"
MAC = "52:54:00:AA:BB:CC"
# As Ironic 35 writes them.
FIRST = """#!ipxe

set netid:int32 -1
:loop
inc netid || chain pxelinux.cfg/${mac:hexhyp} || goto old_rom
isset ${net${netid}/mac} || goto loop_done
echo Attempting to boot from MAC ${net${netid}/mac:hexhyp}
chain pxelinux.cfg/${net${netid}/mac:hexhyp} || goto loop

:loop_done
echo PXE boot failed! No configuration found for any of the present NICs.
prompt --timeout 180
reboot
"""
OWN = """#!ipxe

set attempts:int32 10
set i:int32 0

goto deploy

:deploy
imgfree
kernel --timeout 60000 http://10.29.29.1:8090/n/deploy_kernel selinux=0 text BOOTIF=${mac} initrd=deploy_ramdisk || goto retry

initrd --timeout 60000 http://10.29.29.1:8090/n/deploy_ramdisk || goto retry
boot

:retry
iseq ${i} ${attempts} && goto fail ||
inc i
goto deploy

:fail
reboot

:boot_whole_disk
sanboot --no-describe
"""  # noqa: E501


def test_the_first_script_goes_on_to_the_nodes_own() -> None:
    assert ipxe.is_script(FIRST)
    assert ipxe.chained(FIRST, URL, MAC) == "http://10.29.29.1:8090/pxelinux.cfg/52-54-00-aa-bb-cc"
    assert ipxe.chained("#!ipxe\nboot\n", URL, MAC) == ""


def test_the_nodes_own_script_boots_the_ramdisk() -> None:
    boot = ipxe.follow(OWN, URL, MAC)
    assert (boot.kernel, boot.initrd) == (
        "http://10.29.29.1:8090/n/deploy_kernel",
        "http://10.29.29.1:8090/n/deploy_ramdisk",
    )
    assert "BOOTIF=52:54:00:aa:bb:cc" in boot.words
    assert not boot.disk


def test_a_script_may_boot_the_disk_or_nothing() -> None:
    assert ipxe.follow(OWN.replace("goto deploy", "goto boot_whole_disk", 1), URL, MAC) == ipxe.Boot(
        disk=True
    )
    assert ipxe.follow("#!ipxe\n:a\ngoto a\n", URL, MAC) == ipxe.Boot()
    assert (
        ipxe.follow("#!ipxe\nkernel files/k || goto x\nboot\n", URL, MAC).kernel
        == "http://10.29.29.1:8090/files/k"
    )


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (bytes(0x202) + b"HdrS" + struct.pack("BB", 15, 2), "Linux x86, boot protocol 2.15"),
        (bytes(0x38) + b"ARM\x64", "Linux arm64"),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_kernels(head: bytes, kind: str) -> None:
    assert bootfile.kernel(head) == kind


def test_ramdisks_and_loaders() -> None:
    assert bootfile.ramdisk(b"\x28\xb5\x2f\xfd rest") == "ramdisk, zstd"
    assert bootfile.ramdisk(b"MZ") == ""
    assert bootfile.is_loader(b"MZ" + bytes(1000), BootMode.UEFI)
    assert not bootfile.is_loader(b"MZ" + bytes(1000), BootMode.BIOS)
    assert not bootfile.is_loader(b"", BootMode.BIOS)
