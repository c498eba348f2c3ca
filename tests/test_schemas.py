"""The schemas that come with a release: as files, and with the real migrations and the real database."""

import importlib.util
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from osbox.build import images, schemas
from osbox.cloud.services import APIS, REGION
from osbox.engine import docker, engine
from osbox.engine.engine import Engine
from osbox.images import catalogue, runspec, sandbox
from osbox.images.sandbox import Sandbox
from osbox.releases.release import DEFAULT
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.home import prepare

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


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("project", schemas.MIGRATES)
def test_the_schema_is_of_the_locks_and_commands_in_the_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, project: str
) -> None:
    """Else every new cloud runs the migrations: osbox schema --release makes it anew.

    What else stands in [migrate], such as a revision, is no part of it.
    """
    monkeypatch.setitem(sys.modules, "pymysql", ModuleType("pymysql"))
    spec = importlib.util.spec_from_file_location("osbox_schema", PROJECT / "images/base/schema.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.setattr(program, "LOCKS", tmp_path)
    folder = PROJECT / "releases" / release
    for name in ("common", project):
        shutil.copy(folder / f"{name}.lock", tmp_path)
    [config] = [
        part
        for file in (PROJECT / "images" / project).rglob("bootstrap*.toml")
        if (part := tomllib.loads(file.read_text()).get("migrate"))
    ]
    first = (folder / "schema" / f"{project}.sql").read_text().partition("\n")[0]
    assert first == f"-- made by osbox schema from {program.key({**config, 'revision': 99})}"


def test_chance_is_no_difference(tmp_path: Path) -> None:
    text = "INSERT INTO `cell_mappings` VALUES ('2026-11-23 07:00:00', NULL, 1, '{}', 'cell1')\n"
    first = text.format("6b2fa5bb-1d0c-4a3c-8f4e-1c2d3e4f5a6b")
    assert schemas.write(tmp_path / "schema", {"nova": first}) == ["nova"]
    other = {"nova": text.format("00000000-1d0c-4a3c-8f4e-000000000000").replace("07:00:00", "08:00:00")}
    assert schemas.differing(tmp_path / "schema", other) == []
    assert schemas.write(tmp_path / "schema", other) == []
    assert (tmp_path / "schema" / "nova.sql").read_text() == first
    assert schemas.differing(tmp_path / "schema", {"nova": first.replace("cell1", "cell2")}) == ["nova"]
    table = "CREATE TABLE `a` ( `id` int, KEY `x` (`id`), KEY `y` (`id`) ) ENGINE=InnoDB"
    schemas.write(tmp_path / "schema", {"nova": table})
    assert (
        schemas.differing(
            tmp_path / "schema",
            {"nova": table.replace("`x`", "`z`").replace("`y`", "`x`").replace("`z`", "`y`")},
        )
        == []
    )
    assert schemas.differing(tmp_path / "schema", {"nova": table.replace("KEY `y`", "UNIQUE KEY `y`")}) == [
        "nova"
    ]


def test_the_numbers_of_glance_s_definitions_are_chance(tmp_path: Path) -> None:
    rows = "\n".join(
        f"INSERT INTO `metadef_properties` VALUES ({number}, {space}, '{name}', '{{\"minimum\": 1}}', NULL);"  # noqa: S608 - no query: what a dump has
        for number, space, name in ((1, 7, "cpu_cores"), (2, 9, "cpu_mode"))
    )
    other = rows.replace("(1, 7,", "(2, 3,").replace("(2, 9,", "(1, 5,")
    schemas.write(tmp_path / "schema", {"glance": rows})
    assert schemas.differing(tmp_path / "schema", {"glance": other}) == []
    changed = rows.replace("cpu_mode", "cpu_model")
    assert schemas.differing(tmp_path / "schema", {"glance": changed}) == ["glance"]


# --- in the images
# --------------------------------------------------------------------------------

SCHEMAS = PROJECT / "releases" / DEFAULT / "schema"


@pytest.fixture(scope="module")
def at() -> tuple[Paths, Engine]:
    with waited("engine and images", within=2400):
        paths = Paths(PROJECT, prepare())
        running = engine.start(paths, load_site(paths.home))
        images.build(paths, running, catalogue.IMAGES, version="latest")
        return paths, running


@pytest.mark.images
def test_the_schemas_are_what_the_migrations_make(at: tuple[Paths, Engine]) -> None:
    assert schemas.differing(SCHEMAS, schemas.make(*at, DEFAULT, "latest")) == []


@pytest.fixture
def database(
    at: tuple[Paths, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Sandbox, str, list[str]]]:
    """MariaDB with empty databases: a sandbox, the container's name, and the options of a container that
    reaches it."""
    paths, running = at
    scratch = paths.home / "tests" / tmp_path_factory.mktemp("schema").name
    with Sandbox(running, scratch) as box:
        secrets = sandbox.secrets(scratch, schemas.SECRETS)
        spec = runspec.load(paths.compose)["os-mysql"]
        with box.started("os-mysql:latest", spec, "--add-host=mysql:127.0.0.1", *secrets) as name:
            yield box, name, [f"--network=container:{name}", *secrets]


@pytest.mark.images
def test_a_restore_that_was_killed_is_begun_anew(
    at: tuple[Paths, Engine], database: tuple[Sandbox, str, list[str]]
) -> None:
    paths, running = at
    box, name, options = database
    spec = runspec.load(paths.compose)["os-nova-api"]
    words = ["run", "--detach", "--rm", *spec.options(), *options, "os-nova-api:latest", "sleep", "60"]
    half = docker.docker(running, *words).out.strip()
    try:
        count = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema LIKE 'nova%'"
        deadline = time.monotonic() + 60
        while (
            int(
                docker.docker(
                    running, "exec", name, "mariadb", "--user=stack", "-N", f"--execute={count}", check=False
                ).out
                or 0
            )
            < 20
        ):
            assert time.monotonic() < deadline, docker.docker(running, "logs", half, check=False).err
            time.sleep(0.05)
    finally:
        docker.docker(running, "kill", half, check=False)
    result = box.run("os-nova-api:latest", spec, ["osbox-schema", "dump"], *options)
    assert "osbox-schema prepare took" in result.err
    assert "nova-manage" not in result.err, "the migrations ran, although the schema was at hand"
    assert result.out == (SCHEMAS / "nova.sql").read_text()
    again = box.run("os-nova-api:latest", spec, ["osbox-schema", "dump"], *options)
    assert (again.out, "prepare" in again.err) == (result.out, False)
