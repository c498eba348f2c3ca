"""Our Compose files, as other versions of Compose than the private engine's read them."""

from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT

FILES = sorted((PROJECT / "compose").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_health_checks_start_interval_comes_with_its_period(file: Path) -> None:
    """Newer Composes refuse the one without the other, though the image has it; Debian 13's takes it."""
    services = yaml.safe_load(file.read_text()).get("services", {})
    checks = {name: service.get("healthcheck", {}) for name, service in services.items()}
    assert [
        name for name, check in checks.items() if "start_interval" in check and "start_period" not in check
    ] == []
