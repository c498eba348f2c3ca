"""The schemas that come with a release, and what is in the images for them. The migrations themselves run in tests/e2e."""

import tomllib
from pathlib import Path

import pytest

from osbox import schemas
from osbox.model.services import APIS, REGION
from tests.conftest import PROJECT

CATALOGUE = PROJECT / "images/keystone/etc/osbox/catalogue.toml"
RELEASES = sorted(path.parent.name for path in PROJECT.glob("releases/*/release.toml"))


def test_keystone_writes_the_catalogue_that_the_tool_expects() -> None:
    wish = tomllib.loads(CATALOGUE.read_text())
    assert wish["region"] == REGION
    found = [(item["name"], item["type"], item["address"], item["path"]) for item in wish["service"]]
    assert found == [(api.name, api.type, f"{api.service}:{api.port}", api.path) for api in APIS]


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_has_its_schemas(release: str) -> None:
    for project in schemas.MIGRATES:
        lines = (PROJECT / "releases" / release / "schema" / f"{project}.sql").read_text().splitlines()
        assert lines[0].startswith("-- made by osbox schema from ")
        assert any(line.startswith("CREATE TABLE") for line in lines)
        assert any("alembic_version" in line and line.startswith("INSERT") for line in lines)


def test_chance_is_no_difference(tmp_path: Path) -> None:
    text = "INSERT INTO `cell_mappings` VALUES ('2026-11-23 07:00:00', NULL, 1, '{}', 'cell1')\n"
    first = text.format("6b2fa5bb-1d0c-4a3c-8f4e-1c2d3e4f5a6b")
    assert schemas.write(tmp_path / "schema", {"nova": first}) == ["nova"]
    other = {"nova": text.format("00000000-1d0c-4a3c-8f4e-000000000000").replace("07:00:00", "08:00:00")}
    assert schemas.differing(tmp_path / "schema", other) == []
    assert schemas.write(tmp_path / "schema", other) == []
    assert (tmp_path / "schema" / "nova.sql").read_text() == first
    assert schemas.differing(tmp_path / "schema", {"nova": first.replace("cell1", "cell2")}) == ["nova"]
