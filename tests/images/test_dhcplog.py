"""The line that openvswitch's container writes for each DHCP message (images/ovn/dhcp-log.py), which `osbox
explain` reads."""

import importlib.util
import re
from types import ModuleType

import pytest

from osbox.bootpath import dhcp, frames
from osbox.metal import timeline
from osbox.metal.firmware import BootMode
from tests.conftest import PROJECT

MAC = "52:54:00:82:e2:38"
FRAMES = PROJECT / "tests/cases/dhcp-frames.txt"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dhcplog", PROJECT / "images/ovn/dhcp-log.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018 - there is such a file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frame(message: bytes) -> bytes:
    return frames.udp(message, mac=MAC, source_port=68, target_port=67)


def test_every_frame_of_a_real_wire_has_a_line_that_is_read(program: ModuleType) -> None:
    seen = [
        bytes.fromhex(one) for one in re.findall(r"^\S+ ([0-9a-f]{200,})$", FRAMES.read_text(), re.MULTILINE)
    ]
    assert seen
    lines = [program.told(one) for one in seen]
    assert {line.split()[0] for line in lines} == {"DHCPDISCOVER", "DHCPOFFER"}
    leases = timeline.leases("".join(f"2026-11-23T02:15:12.104512345Z {line}\n" for line in lines))
    assert len(leases) == len(lines)
    assert all(one.address for one in leases if one.kind == "DHCPOFFER")


def test_what_is_asked_and_what_is_told(program: ModuleType) -> None:
    asked = dhcp.discover(MAC, BootMode.UEFI, 7, ipxe=False)
    assert program.told(frame(dhcp.encode(asked))) == f"DHCPDISCOVER {MAC}"
    server: dict[int, bytes] = {
        dhcp.Code.KIND: bytes([dhcp.Kind.OFFER]),
        dhcp.Code.SERVER: bytes([10, 29, 29, 1]),
    }
    offer = dhcp.Message(dhcp.REPLY_OP, 7, MAC, server, address="10.29.29.94")
    assert program.told(frame(dhcp.encode(offer))) == f"DHCPOFFER {MAC} 10.29.29.94 from 10.29.29.1"
    request = dhcp.encode(dhcp.request(asked, offer))
    assert program.told(frame(request)) == f"DHCPREQUEST {MAC} 10.29.29.94 to 10.29.29.1"


@pytest.mark.parametrize("cut", [20, 41, 42, 200, 281, 283, 290])
def test_a_frame_that_is_cut_off_is_no_error(program: ModuleType, cut: int) -> None:
    whole = frame(dhcp.encode(dhcp.discover(MAC, BootMode.UEFI, 7, ipxe=False)))
    assert program.told(whole[:cut]) in ("", f"DHCPDISCOVER {MAC}")
