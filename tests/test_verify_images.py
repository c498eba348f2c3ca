"""Images that were built, held against what was built; and each way to change one is seen.

Two builds of one commit are alike.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from osbox import run
from osbox.build import budgets, images, provenance
from osbox.engine import docker, engine
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.images import catalogue, inventory
from osbox.images import facts as imagefacts
from osbox.site import recipes
from osbox.site.load import load_site
from osbox.site.site import Paths
from osbox.supply import sbom, verify, vulnerabilities
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.home import prepare
from tests.supply.test_traceability import advisory, export

VERSION = os.environ.get("BUILD_VERSION", "latest")
KEYSTONE, MEMCACHED = catalogue.BY_NAME["os-keystone"], catalogue.BY_NAME["os-memcached"]
pytestmark = pytest.mark.images


@pytest.fixture(scope="module")
def at() -> tuple[Paths, Engine]:
    with waited("engine and two images", within=2400):
        paths = Paths(PROJECT, prepare())
        running = engine.start(paths, load_site(paths.home))
        images.build(paths, running, [KEYSTONE, MEMCACHED], version=VERSION)
        return paths, running


@pytest.fixture
def own(at: tuple[Paths, Engine]) -> Iterator[str]:
    """A version of the test's own: keystone's image with its provenance, to be broken."""
    paths, running = at
    version = f"verify-{os.getpid()}"
    docker.docker(running, "tag", KEYSTONE.tag(VERSION), KEYSTONE.tag(version))
    (paths.provenance / f"os-keystone_{version}.json").write_text(
        (paths.provenance / f"os-keystone_{VERSION}.json").read_text()
    )
    yield version
    provenance.forget(paths, KEYSTONE.tag(version))
    docker.docker(running, "image", "rm", KEYSTONE.tag(version), check=False)


def test_what_was_built_is_verified(at: tuple[Paths, Engine]) -> None:
    reports = verify.verify(*at, [KEYSTONE, MEMCACHED], version=VERSION)
    assert [(report.image, report.problems) for report in reports] == [
        ("os-keystone", ()),
        ("os-memcached", ()),
    ]


SITE = "/opt/openstack/lib/python3.13/site-packages"
CHANGES = {
    f"echo '#' >>{SITE}/keystone/__init__.py": "keystone/__init__.py is not as keystone",
    f"mkdir {SITE}/evil-1.dist-info && echo 'Name: evil' >{SITE}/evil-1.dist-info/METADATA": (
        "evil 1 is installed and in no lock"
    ),
    "echo x >>/usr/bin/mawk": "usr/bin/mawk is not as mawk has it",
    "echo x >/usr/local/bin/evil": "usr/local/bin/evil is of no package and no recipe",
}


@pytest.mark.parametrize("script", CHANGES)
def test_a_changed_image_is_not_what_was_built(at: tuple[Paths, Engine], own: str, script: str) -> None:
    paths, running = at
    text = f"FROM {KEYSTONE.tag(VERSION)}\nUSER root\nRUN {script}\nUSER stack\n"
    run.run(running.argv("docker", "build", "--quiet", "-t", KEYSTONE.tag(own), "-"), input=text)
    [report] = verify.verify(paths, running, [KEYSTONE], version=own)
    assert report.problems[0].startswith("the tag points to ")
    assert any(CHANGES[script] in problem for problem in report.problems), report.problems
    with pytest.raises(Error, match="1 of 1 images are not what was built: os-keystone"):
        verify.raise_for([report])


def test_a_file_changed_in_the_storage_is_seen(at: tuple[Paths, Engine], own: str) -> None:
    """Behind the engine's back: it refuses to hand out such a layer, and the other images are verified all
    the same."""
    paths, running = at
    text = f"FROM {KEYSTONE.tag(VERSION)}\nUSER root\nRUN echo good >/x\n"
    # Without the cache: it may hold the changed layer of the last time.
    run.run(
        running.argv("docker", "build", "--quiet", "--no-cache", "-t", KEYSTONE.tag(own), "-"), input=text
    )
    storage = Path(inventory.entry(running, KEYSTONE, own).directories[0])
    (storage / "x").write_text("evil\n")
    [report] = verify.verify(paths, running, [KEYSTONE], version=own)
    assert report.problems[0].startswith("the engine cannot read it: ")
    assert '"x"' in report.problems[0]


def test_a_swapped_tag_is_seen(at: tuple[Paths, Engine], own: str) -> None:
    paths, running = at
    docker.docker(running, "tag", MEMCACHED.tag(VERSION), KEYSTONE.tag(own))
    [report] = verify.verify(paths, running, [KEYSTONE], version=own)
    assert report.problems[0].startswith("the tag points to ")
    assert "its label org.opencontainers.image.title is 'os-memcached', not 'os-keystone'" in report.problems


@pytest.mark.parametrize("image", [KEYSTONE, MEMCACHED], ids=lambda image: image.name)
def test_its_bill_of_materials_is_valid(at: tuple[Paths, Engine], image: catalogue.Image) -> None:
    text = sbom.make(*at, image, VERSION)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    inside = inventory.contained(*at, [inventory.entry(at[1], image, VERSION)])
    names = {(part.get("purl") or "").partition("?")[0] for part in json.loads(text)["components"]}
    assert {
        f"pkg:pypi/{item.name}@{item.version}"
        for item in next(iter(inside.values()))
        if item.kind == "python"
    } <= names


def test_packages_are_the_same_from_directories_and_from_layers(
    at: tuple[Paths, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, running = at
    entries = [inventory.entry(running, image, VERSION) for image in (KEYSTONE, MEMCACHED)]
    monkeypatch.setattr(imagefacts, "kept", lambda *_: None)
    quick = inventory.contained(paths, running, entries)
    monkeypatch.setattr(inventory, "_directories", lambda _: [])
    assert inventory.contained(paths, running, entries) == quick


def test_a_vulnerability_of_a_package_inside_is_found(at: tuple[Paths, Engine], paths: Paths) -> None:
    [inside] = inventory.contained(*at, [inventory.entry(at[1], KEYSTONE, VERSION)]).values()
    export(
        paths,
        "pypi.zip",
        advisory("PYSEC-1", "PyPI", "keystone", {"introduced": "0"}, {"fixed": "999"}),
        advisory("DEBIAN-CVE-1", "Debian:13", "glibc", {"introduced": "0"}),
        advisory("PYSEC-2", "PyPI", "keystone", {"introduced": "999"}),
    )
    database = vulnerabilities.find(paths)
    assert database
    assert {(item.package, item.id, item.fixed) for item in database.of(inside)} == {
        ("keystone", "PYSEC-1", "999"),
        ("libc6", "DEBIAN-CVE-1", ""),
        ("libc-bin", "DEBIAN-CVE-1", ""),
    }


def test_a_build_over_its_budget_fails(at: tuple[Paths, Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    real = budgets.load(at[0])
    monkeypatch.setattr(budgets, "load", lambda _: {**real, "os-memcached": 50})
    with pytest.raises(Error, match=r"over the size budget: os-memcached: \d+ MB of 50") as caught:
        images.build(*at, [MEMCACHED], version=VERSION)
    assert "apt-install" in caught.value.evidence


@pytest.mark.parametrize(
    "image", [pytest.param(KEYSTONE, marks=pytest.mark.full), MEMCACHED], ids=lambda image: image.name
)
def test_two_builds_of_one_commit_are_alike(at: tuple[Paths, Engine], image: catalogue.Image) -> None:
    """Every step anew on the same base: Python packages with their bytecode, Debian packages with their
    scripts.

    Both builds are made here: the image that is there may be of a day before Debian's last updates.
    """
    paths, running = at
    versions = [f"again-{os.getpid()}-{number}" for number in (1, 2)]
    args = {
        "BASE": f"{image.base}:{VERSION}",
        **({"BUILDER": catalogue.BUILDER.tag(VERSION)} if image.builder else {}),
    }
    try:
        for version in versions:
            run.run(
                docker.build_argv(
                    running,
                    recipes.frozen(paths),
                    image.dockerfile,
                    target=image.name,
                    tag=image.tag(version),
                    args=args,
                    no_cache=True,
                )
            )
        first, second = (
            verify.digests(running, [image], version=version)[image.tag(version)] for version in versions
        )
        assert first == second, f"these paths differ: {_differing(running, image, versions)}"
    finally:
        docker.docker(running, "image", "rm", *(image.tag(version) for version in versions), check=False)


def _differing(running: Engine, image: catalogue.Image, versions: list[str]) -> list[str]:
    first, second = (verify.tree(running, image, version=version).entries for version in versions)
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
