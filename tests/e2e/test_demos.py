"""The whole demo with every release but the default one, each as a cloud with a name of its own."""

import pytest

from osbox.releases import folder as releases
from osbox.releases import release
from tests.conftest import PROJECT
from tests.e2e.conftest import Tool

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(2400)]
OTHERS = [name for name in releases.known(PROJECT / "releases") if name != release.DEFAULT]


@pytest.mark.parametrize("name", OTHERS)
def test_demo(osbox: Tool, name: str) -> None:
    cloud = f"demo{name.replace('.', '-')}"
    try:
        text = osbox("--name", cloud, "demo", "--release", name, timeout=2300)
        assert "bm-node-1 login:" in text
        assert "ACTIVE" in text
    finally:
        osbox("--name", cloud, "down", "--purge", timeout=300)
        osbox("clean", "--version", name)
