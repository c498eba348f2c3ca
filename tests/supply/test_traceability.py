"""Labels, size budgets, provenance, vulnerabilities: what is known of an image, and what is said when it is
too large."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from osbox import run
from osbox.build import budgets, dockerfile, provenance
from osbox.commands.inventory import age
from osbox.engine.info import ImageInfo
from osbox.errors import Error, UserError
from osbox.images import catalogue, inventory, labels
from osbox.images.inventory import Steps
from osbox.images.packages import DEBIAN, PYTHON, Package
from osbox.site import package
from osbox.site.site import Paths
from osbox.supply import vulnerabilities
from tests.conftest import PROJECT

KEYSTONE = catalogue.BY_NAME["os-keystone"]
COMMIT = labels.Commit("c0ffee", "2026-11-23T04:00:00+00:00", "https://example.org/osbox.git", ())


# --- labels
# --------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    return run.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    ).out


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    for name in ("images/keystone/Dockerfile", "docs/x.md"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def made(project: Path, name: str = "os-keystone") -> dict[str, str]:
    paths = Paths(project, project)
    return labels.of(
        paths,
        catalogue.BY_NAME[name],
        version="1",
        release="2026.1",
        digest="d",
        commit=labels.commit(project),
    )


def test_the_revision_is_the_commit_and_dirty_when_an_input_is_not_in_it(clone: Path) -> None:
    head = git(clone, "rev-parse", "HEAD").strip()
    assert made(clone)[f"{labels.OCI}revision"] == head
    (clone / "docs/x.md").write_text("y")
    assert made(clone)[f"{labels.OCI}revision"] == head
    (clone / "images/keystone/new").write_text("y")
    assert made(clone)[f"{labels.OCI}revision"] == f"{head}-dirty"
    assert made(clone, "os-memcached")[f"{labels.OCI}revision"] == head


def test_what_is_not_known_has_no_label(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert not {f"{labels.OCI}{name}" for name in ("revision", "created", "source")} & set(found)
    assert found[f"{labels.OCI}base.name"] == "os-openstack:1"
    assert labels.RELEASE not in made(tmp_path, "os-memcached")


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://me:secret@example.org/a.git", "https://example.org/a.git"),
        ("git@example.org:a.git", ""),
        ("/home/me/a", ""),
        ("", ""),
    ],
)
def test_the_source_tells_nothing_private(remote: str, source: str) -> None:
    assert package.public(remote) == source


@pytest.mark.parametrize("image", catalogue.IMAGES, ids=lambda image: image.name)
def test_every_recipe_says_what_the_image_is(image: catalogue.Image) -> None:
    recipe = dockerfile.parse((PROJECT / image.dockerfile).read_text())
    text = " ".join(item.text for item in recipe.stages[image.name].instructions if item.word == "LABEL")
    assert f"{labels.OCI}description=" in text
    assert f"{labels.OCI}licenses=" in text


def test_the_service_is_the_locked_one() -> None:
    found = labels.service(Paths(PROJECT, PROJECT), KEYSTONE, "2026.1")
    assert found.startswith("keystone==29.")
    assert labels.service(Paths(PROJECT, PROJECT), catalogue.BY_NAME["os-placement"], "2026.1").startswith(
        "openstack-placement==15."
    )


# --- budgets
# --------------------------------------------------------------------------------


def steps(*rows: tuple[str, int]) -> Steps:
    return [(name, size * 10**6, f"RUN /bin/sh -c make {name} # buildkit") for name, size in rows]


def test_every_image_has_a_budget() -> None:
    found = budgets.load(Paths(PROJECT, PROJECT))
    assert set(found) == {*catalogue.BY_NAME, "total", "rack"}
    assert found["total"] <= 900
    assert found["rack"] <= 450
    assert max(size for name, size in found.items() if name != "total") <= 450


def test_an_image_over_its_budget_is_named_with_its_biggest_layers() -> None:
    found = budgets.excesses({"os-keystone": 100}, {"os-keystone": steps(("base", 90), ("extra", 20))}, {})
    error = budgets.over(found)
    assert error.message == "over the size budget: os-keystone: 110 MB of 100"
    assert error.evidence.splitlines()[1:] == ["     90.0 MB  RUN make base", "     20.0 MB  RUN make extra"]
    assert error.code == 1
    assert (
        budgets.excesses({"os-keystone": 110}, {"os-keystone": steps(("base", 90), ("extra", 20))}, {}) == []
    )


def test_the_sums_count_each_layer_once() -> None:
    there = {name: steps(("base", 100), (name, 1)) for name in catalogue.BY_NAME}
    total = 100 + len(there) - 1
    assert budgets.excesses({"total": total, "rack": 1}, there, there) == []
    over = budgets.excesses({"total": total - 1, "rack": 0.5}, there, there)
    told = [(item.what, round(item.size)) for item in over]
    assert told == [("all images but the rack", total), ("what the rack adds", 1)]
    assert budgets.excesses({"total": 1}, dict(list(there.items())[1:]), there) == []


@pytest.mark.parametrize("text", ["os-keystone = true\n", "os-nova-api = 3\n", "os-keystone = [\n"])
def test_a_wrong_budget_is_the_users(tmp_path: Path, text: str) -> None:
    for name in {"", *(image.project for image in catalogue.IMAGES)}:
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name / "budget.toml").write_text(text if name == "keystone" else "")
    with pytest.raises(UserError, match=r"images/keystone/budget\.toml"):
        budgets.load(Paths(tmp_path, tmp_path))


# --- the table
# --------------------------------------------------------------------------------


def test_unique_bytes() -> None:
    first = {"a": steps(("base", 5), ("a", 1)), "b": steps(("base", 5), ("b", 2))}
    assert inventory.unique(first, {"c": steps(("base", 5), ("c", 3))}) == (8 * 10**6, 3 * 10**6)


@pytest.mark.parametrize(
    ("ago", "told"), [(0, "0 s"), (119, "119 s"), (600, "10 min"), (3 * 3600, "3 h"), (12 * 86400, "12 d")]
)
def test_age(ago: int, told: str) -> None:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    now = datetime(2026, 11, 23, 4, tzinfo=UTC)
    assert age((now - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z"), now) == told


# --- provenance
# --------------------------------------------------------------------------------


def entry(**found: str) -> ImageInfo:
    return ImageInfo(
        "sha256:aa", created="2026-11-23T04:13:00Z", layers=("sha256:b1", "sha256:b2"), labels=found
    )


def statement(**found: str) -> dict[str, Any]:
    return provenance.statement(
        KEYSTONE,
        entry(**found),
        {"os-openstack:1": "sha256:cc"},
        provenance.read(Paths(PROJECT, PROJECT), KEYSTONE, "2026.1"),
        release="2026.1",
        commit=COMMIT,
        versions={"osbox": "1"},
    )


def test_a_statement_names_image_layers_and_materials() -> None:
    document = statement(
        **{labels.INPUTS: "d", f"{labels.OCI}revision": "c0ffee-dirty", labels.RELEASE: "2026.1"}
    )
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    assert provenance.subjects(document) == ("sha256:aa", ["sha256:b1", "sha256:b2"])
    definition = document["predicate"]["buildDefinition"]
    materials = {item.get("name", item["uri"]): item["digest"] for item in definition["resolvedDependencies"]}
    assert materials["git+https://example.org/osbox.git"] == {"gitCommit": "c0ffee"}
    assert materials["os-openstack:1"] == {"sha256": "cc"}
    assert {"images/keystone/Dockerfile", "releases/2026.1/keystone.lock"} <= set(materials)
    assert definition["externalParameters"]["release"] == "2026.1"
    assert definition["internalParameters"]["inputs"] == "d"


def test_a_broken_statement_is_said_to_be_one(paths: Paths) -> None:
    paths.provenance.mkdir(parents=True)
    (paths.provenance / "os-keystone_1.json").write_text("{")
    with pytest.raises(Error, match="is no provenance statement"):
        provenance.load(paths, "os-keystone:1")
    provenance.forget(paths, "os-keystone:1")
    assert provenance.load(paths, "os-keystone:1") is None


# --- vulnerabilities
# --------------------------------------------------------------------------------


def advisory(number: str, ecosystem: str, name: str, *events: dict[str, str], **more: Any) -> dict[str, Any]:
    affected = [
        {
            "package": {"ecosystem": ecosystem, "name": name},
            "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        }
    ]
    return {"id": number, "affected": affected, **more}


def export(paths: Paths, name: str, *documents: dict[str, Any]) -> Path:
    paths.vulnerabilities.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(paths.vulnerabilities / name, "w") as archive:
        for document in documents:
            archive.writestr(f"{document['id']}.json", json.dumps(document))
    return paths.vulnerabilities / name


CLICK, ZLIB = (
    Package(PYTHON, "click", "8.3.1"),
    Package(DEBIAN, "zlib1g", "1:1.3.dfsg+really1.3.1-1+b1", "zlib", "1:1.3.dfsg+really1.3.1-1"),
)


def test_what_is_known_is_found_once(paths: Paths) -> None:
    assert vulnerabilities.find(paths) is None
    zero = {"introduced": "0"}
    export(
        paths,
        "pypi.zip",
        advisory(
            "GHSA-1",
            "PyPI",
            "Click",
            zero,
            {"fixed": "8.10"},
            aliases=["CVE-1"],
            database_specific={"severity": "HIGH"},
        ),
        advisory("PYSEC-1", "PyPI", "click", zero, {"fixed": "8.10"}, aliases=["CVE-1"]),
        advisory("PYSEC-2", "PyPI", "click", zero, {"fixed": "8.3.1"}),
        advisory("PYSEC-3", "PyPI", "click", zero, {"fixed": "9"}, withdrawn="2026-01-01T00:00:00Z"),
    )
    export(
        paths,
        "debian.zip",
        advisory("DEBIAN-CVE-2", "Debian:13", "zlib", zero, upstream=["CVE-2"]),
        advisory("DEBIAN-CVE-3", "Debian:13", "zlib", zero, {"fixed": "1:1.3.dfsg+really1.3.1-1"}),
        advisory("DEBIAN-CVE-4", "Debian:12", "zlib", zero),
    )
    database = vulnerabilities.find(paths)
    assert database
    found = [(item.package, item.id, item.fixed, item.severity) for item in database.of([CLICK, ZLIB])]
    assert found == [("click", "GHSA-1", "8.10", "high"), ("zlib1g", "DEBIAN-CVE-2", "", "")]


def test_a_changed_export_is_indexed_anew(paths: Paths) -> None:
    export(paths, "all.zip", advisory("A", "PyPI", "click", {"introduced": "0"}))
    assert vulnerabilities.find(paths).of([CLICK])  # type: ignore[union-attr]
    export(paths, "all.zip", advisory("A", "PyPI", "other", {"introduced": "0"}))
    assert not vulnerabilities.find(paths).of([CLICK])  # type: ignore[union-attr]


def test_a_file_that_is_no_export_is_named(paths: Paths) -> None:
    export(paths, "all.zip").write_text("x")
    with pytest.raises(UserError, match=r"all.zip is no OSV export"):
        vulnerabilities.find(paths)


@pytest.mark.parametrize(
    ("kind", "version", "events", "fixed"),
    [
        (
            DEBIAN,
            "1.0~rc1-1",
            [{"introduced": "0"}, {"fixed": "1.0-1"}],
            "1.0-1",
        ),  # ~ sorts before all: no other comparison knows
        (DEBIAN, "1.0-1", [{"introduced": "0"}, {"fixed": "1.0~rc1-1"}], None),
        (PYTHON, "1.0rc1", [{"introduced": "0"}, {"fixed": "1.0"}], "1.0"),
        (
            PYTHON,
            "2.5",
            [{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "2.0"}, {"fixed": "3.0"}],
            "3.0",
        ),
        (
            PYTHON,
            "1.5",
            [{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "2.0"}, {"fixed": "3.0"}],
            None,
        ),
        (PYTHON, "1.5", [{"introduced": "1.0"}, {"last_affected": "1.4"}], None),
        (PYTHON, "1.4", [{"introduced": "1.0"}, {"last_affected": "1.4"}], ""),
        (PYTHON, "0.9", [{"introduced": "1.0"}], None),
    ],
)
def test_ranges(kind: str, version: str, events: list[dict[str, str]], fixed: str | None) -> None:
    assert vulnerabilities.affected(kind, version, {"ranges": [events], "versions": []}) == fixed


def test_versions_without_ranges() -> None:
    assert vulnerabilities.affected(PYTHON, "1.0", {"ranges": [], "versions": ["1.0"]}) == ""
    assert vulnerabilities.affected(PYTHON, "1.1", {"ranges": [], "versions": ["1.0"]}) is None
