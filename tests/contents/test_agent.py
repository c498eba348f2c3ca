"""What stands behind a deploy ramdisk, read as the kernel reads it (init/initramfs.c)."""

import pytest

from osbox.contents import agent

PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content by name, the trailer left out."""
    found, at = dict[str, tuple[int, bytes]](), 0
    while archive[at : at + 6] == b"070701":
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        _, mode, *_, length = fields[0], fields[1], fields[11]
        size = fields[6]
        name = archive[at + 110 : at + 110 + length - 1].decode()
        begin = at + (110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[begin : begin + size])
        at = begin + (size + 3) // 4 * 4
    raise AssertionError("no trailer")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 61_234_567])
def test_the_agent_finds_its_authority(size: int) -> None:
    """In the order in which the kernel can make them: a directory before what is in it."""
    behind = agent.trusting(PEM, size)
    gap = -size % 512
    assert behind[:gap] == b"\0" * gap
    found = unpacked(behind[gap:])
    assert list(found) == [
        "etc",
        "etc/osbox",
        "etc/osbox/ca.pem",
        "etc/ironic-python-agent.d",
        "etc/ironic-python-agent.d/zz-osbox-ca.conf",
    ]
    assert found["etc/osbox/ca.pem"] == (0o100644, PEM)
    assert found["etc/osbox"] == (0o040755, b"")
    assert b"cafile = /etc/osbox/ca.pem\n" in found["etc/ironic-python-agent.d/zz-osbox-ca.conf"][1]
    assert (size + len(behind)) % 512 == 0
