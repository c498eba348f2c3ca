"""Each folder of releases/ is whole, locked to its own inputs, and holds every service to its series; old and
new ones build."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from osbox import checksums
from osbox.build import images
from osbox.cloud import plan as planning
from osbox.cloud import stack
from osbox.engine import docker, engine
from osbox.engine.engine import Engine
from osbox.engine.info import ContainerInfo, ImageInfo, State
from osbox.images import catalogue
from osbox.images.catalogue import IMAGES, Image
from osbox.images.inside import programs as within
from osbox.imagetests import check as imagetests
from osbox.imagetests.check import Report
from osbox.releases import folder as releases
from osbox.releases import lock, release
from osbox.releases import resolve as locks
from osbox.releases.lock import Package
from osbox.site.load import load_site
from osbox.site.site import Paths, Site
from tests import records
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.home import prepare
from tests.test_patches import replies_come_at_once

RELEASES = PROJECT / "releases"
NAMES = releases.known(RELEASES)
SERVICES = {"placement": "openstack-placement"}  # the project's name on PyPI where it differs


def locked(name: str, group: str) -> dict[str, Package]:
    return {package.name: package for package in lock.parse((RELEASES / name / f"{group}.lock").read_text())}


def services(name: str) -> dict[str, Package]:
    """All packages of a release's images."""
    groups = [group for group in release.GROUPS if group != release.RAMDISK]
    return {key: package for group in groups for key, package in locked(name, group).items()}


def test_the_releases_that_are_promised() -> None:
    assert NAMES == ["2025.1", "2025.2", "2026.1", "2026.2"]
    assert release.DEFAULT in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_release_is_whole_and_locked_to_its_inputs(name: str, paths: Paths) -> None:
    locks.check(paths, name)
    assert {file.name for file in (RELEASES / name).iterdir()} == {
        *release.INPUTS,
        *release.LOCKS,
        checksums.FILE,
        "schema",
    }
    assert checksums.parse((RELEASES / name / checksums.FILE).read_text()).keys() == {
        *release.INPUTS,
        *release.LOCKS,
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_was_required_is_locked_as_it_was_required(name: str) -> None:
    """The service in its series, by its own name, in its project's lock; drivers where their project finds
    them."""
    wanted = releases.read(RELEASES / name)
    for group, lines in wanted.requirements.items():
        found = (
            locked(name, group)
            if group in (release.COMMON, release.RAMDISK)
            else {**locked(name, release.COMMON), **locked(name, group)}
        )
        for line in lines:
            requirement = Requirement(line)
            assert requirement.specifier.contains(found[canonicalize_name(requirement.name)].version), (
                f"{group}: {line}"
            )
    for project in release.PROJECTS:
        service = SERVICES.get(project, project)
        assert service in locked(name, project)
        series = next(
            Requirement(line).specifier
            for line in wanted.requirements[project]
            if Requirement(line).name == service
        )
        assert {item.operator for item in series} == {">=", "<"}, f"{service} is not held to a series"


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_pinned_once_with_hashes(name: str) -> None:
    seen: list[str] = []
    for group in release.GROUPS:
        text = (RELEASES / name / f"{group}.lock").read_text()
        packages = lock.parse(text)
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert len(packages) == len(pins)
        assert [
            package.name
            for package in packages
            if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", package.text)
        ] == []
        assert "://" not in text
        seen += [package.name for package in packages] if group != release.RAMDISK else []
    assert len(seen) == len(set(seen))
    assert not {canonicalize_name(item) for item in releases.read(RELEASES / name).excluded} & set(seen)


@pytest.mark.parametrize("name", NAMES)
def test_upstreams_constraints_are_kept(name: str) -> None:
    wanted, found = releases.read(RELEASES / name), services(name)
    upstream = (RELEASES / name / release.CONSTRAINTS).read_text()
    environment = {
        "python_version": wanted.python,
        "python_full_version": f"{wanted.python}.0",
        "sys_platform": "linux",
    }
    for line in lock.constrain(upstream, wanted.constraints).splitlines():
        requirement = Requirement(line)
        package = found.get(canonicalize_name(requirement.name))
        if package and (not requirement.marker or requirement.marker.evaluate(environment)):
            assert requirement.specifier.contains(package.version), (
                f"{package.name} {package.version} is not {line}"
            )


def test_releases_differ_in_data_only() -> None:
    """A recipe names no release but the default of its argument."""
    pattern = re.compile(r"\b20\d\d\.[12]\b")
    for file in (PROJECT / "images").glob("*/Dockerfile"):
        odd = [
            line
            for line in file.read_text().splitlines()
            if pattern.search(line) and line != f"ARG RELEASE={release.DEFAULT}"
        ]
        assert odd == [], file


def test_the_page_has_every_series() -> None:
    page = (PROJECT / "docs/releases.md").read_text()
    columns = ["keystone", "glance", "placement", "nova", "neutron", "ironic", "swift"]
    for name in NAMES:
        data = tomllib.loads((RELEASES / name / release.FILE).read_text())
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        series = [
            re.split(r">=|,", data["requirements"][group][0])[1] for group in [*columns, release.RAMDISK]
        ]
        assert [cell.strip() for cell in row.split("|")[2:-1]] == [data["title"], *series]


# --- the agent belongs to the Ironic that it reports to
# -------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ({"container": "2025.2", "image": "2026.1"}, "2025.2"),
        ({"image": "2026.2"}, "2026.2"),
        ({"image": ""}, ""),
        ({}, ""),
    ],
)
def test_the_release_that_runs_here(
    monkeypatch: pytest.MonkeyPatch, here: dict[str, str], expected: str
) -> None:
    found = {kind: {"io.osbox.release": name} if name else {} for kind, name in here.items()}

    def container(_: Engine, name: str) -> ContainerInfo | None:
        assert name == "ironic-conductor.os-in-a-box"
        if "container" not in found:
            return None
        return ContainerInfo("1", name, "x", "sha256:1", State("running"), found["container"])

    def image(_: Engine, name: str) -> ImageInfo | None:
        assert name == "os-ironic-conductor:latest"
        return ImageInfo("sha256:1", labels=found["image"]) if "image" in found else None

    monkeypatch.setattr(docker, "container", container)
    monkeypatch.setattr(docker, "image", image)
    assert stack.release(Engine("private", "26"), Site()) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_release_sets_only_variables_that_compose_has(name: str) -> None:
    known = set(re.findall(r"\$\{(\w+)", (PROJECT / "compose/stack.yaml").read_text()))
    assert releases.read(RELEASES / name).environment.keys() <= known


def test_up_takes_the_environment_of_the_release_of_its_images(paths: Paths) -> None:
    of = {"old": "2025.1", "new": "2026.1", "none": "", "gone": "1999.1"}

    images = {
        f"os-ironic-conductor:{version}": ImageInfo("sha256:1", labels={"io.osbox.release": name})
        for version, name in of.items()
    }
    found = {version: planning.of_release(paths, images, version) for version in of}
    assert found == {"old": {"OSBOX_NOVA_NATIVE_THREADS": "false"}, "new": {}, "none": {}, "gone": {}}


SCRIPT = (
    "#!/usr/bin/python3\nimport {}\nif __name__ == '__main__':\n    pass\nelse:\n    application ="
    " {}.start()\n"
)


def test_programs_of_the_old_kind_are_not_started(tmp_path: Path) -> None:
    """pbr's scripts for WSGI, which older releases have, start their application in whoever runs them."""
    for name, module in (("well", "json"), ("broken", "there_is_none")):
        (tmp_path / name).write_text(SCRIPT.format(module, module))
    assert within.why_no_script(tmp_path / "well") == ""
    assert within.why_no_script(tmp_path / "broken") == "ModuleNotFoundError: No module named 'there_is_none'"


# --- with the engine
# --------------------------------------------------------------------------------

OTHERS = [name for name in NAMES if name != release.DEFAULT]
"""The default one is built and tested by test_images.py; one other stands beside it as a cloud in
e2e/test_cloud.py."""
WITH_OPENSTACK = [
    image for image in IMAGES if catalogue.OPENSTACK in (image.name, image.base)
]  # the rest is the same in every release


@pytest.fixture(scope="module", params=OTHERS)
def reports(request: pytest.FixtureRequest) -> Iterator[dict[str, Report]]:
    """One build and one test run of a release; what has no OpenStack in it and what was fetched are shared
    with the default one."""
    with waited("engine", within=600):
        paths = Paths(PROJECT, prepare())
        running = engine.start(paths, load_site(paths.home))
    version = f"release-{request.param}"
    with waited(f"images of {request.param}", within=1800):
        images.build(paths, running, WITH_OPENSTACK, version=version, release=request.param, replace=True)
    for kind in ("native", "eventlet"):
        replies_come_at_once(running, version, kind)
    with waited("their tests", within=900):
        found = {
            report.image: report
            for report in imagetests.check(paths, running, records.wanted(request), version=version)
        }
    yield found
    images.clean(paths, running, version=version)


@pytest.mark.images
@pytest.mark.full
@pytest.mark.parametrize("image", WITH_OPENSTACK, ids=lambda image: image.name)
def test_image(image: Image, reports: dict[str, Report]) -> None:
    assert reports[image.name].problems == ()
