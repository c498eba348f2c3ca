"""Holding an image against its packages and its recipe, and bills of materials: small made-up file systems,
each wrong in one way."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from osbox.build import accounts, provenance
from osbox.engine.info import ImageInfo
from osbox.images import catalogue, contents, inventory, labels, packages
from osbox.images.contents import DIRECTORY, FILE, LINK, Entry, Tree
from osbox.images.packages import Package
from osbox.supply import sbom, verify

SITE = "opt/openstack/lib/python3.13/site-packages"
CLICK = "print('click')\n"
SHA = base64.urlsafe_b64encode(hashlib.sha256(CLICK.encode()).digest()).rstrip(b"=").decode()
STATUS = """Package: tool
Status: install ok installed
Maintainer: A <a@example.org>
Architecture: amd64
Version: 1.0
Conffiles:
 /etc/tool.conf {md5}
Description: a tool
"""
FILES = {
    "usr/bin/tool": "tool",
    "etc/tool.conf": "original",
    "var/lib/dpkg/status": STATUS.format(md5=hashlib.md5(b"original").hexdigest()),
    "var/lib/dpkg/info/tool.md5sums": (
        f"{hashlib.md5(b'tool').hexdigest()}  bin/tool\n{'0' * 32}  usr/share/doc/tool/README\n"
    ),
    "var/lib/dpkg/info/tool.list": "/.\n/bin\n/bin/tool\n/etc\n/etc/tool.conf\n",
    "etc/dpkg/dpkg.cfg.d/osbox": "path-exclude=/usr/share/doc/*\n",
    f"{SITE}/click/__init__.py": CLICK,
    f"{SITE}/click/__pycache__/__init__.cpython-313.pyc": "bytecode",
    f"{SITE}/click-8.3.1.dist-info/METADATA": (
        "Name: click\nVersion: 8.3.1\nLicense-Expression: BSD-3-Clause\nSummary: a library\n\nlong\n"
    ),
    f"{SITE}/click-8.3.1.dist-info/RECORD": (
        f"click/__init__.py,sha256={SHA},1\nclick/tests/x.py,sha256={SHA},1\n"
        "click-8.3.1.dist-info/METADATA,,\nclick-8.3.1.dist-info/RECORD,,\n"
    ),
    "opt/openstack/locks/keystone.lock": f"click==8.3.1 \\\n    --hash=sha256:{'1' * 64}\n",
    "etc/keystone/keystone.conf": "recipe",
}
RECIPE = {
    "images/keystone/etc/keystone/keystone.conf": hashlib.sha256(b"recipe").hexdigest(),
    "images/keystone/etc/secrets.conf": accounts.digest_of_link("/run/osbox/secrets.conf"),
    "releases/1/keystone.lock": (
        hashlib.sha256(FILES["opt/openstack/locks/keystone.lock"].encode()).hexdigest()
    ),
}
MADE = ["var/lib/dpkg/*", "etc/dpkg/*", "opt/*/locks/*"]


def tree(files: dict[str, str] = FILES, **links: str) -> Tree:
    entries = {
        "bin": Entry("bin", LINK, 0o777, 0, 0, link="usr/bin"),
        "usr/bin": Entry("usr/bin", DIRECTORY, 0o755, 0, 0),
    }
    for path, text in files.items():
        sums = hashlib.sha256(text.encode()).hexdigest(), hashlib.md5(text.encode()).hexdigest()
        entries[path] = Entry(path, FILE, 0o644, 0, 0, size=len(text), sha256=sums[0], md5=sums[1])
    for path, target in links.items():
        entries[path.replace("__", "/")] = Entry(path.replace("__", "/"), LINK, 0o777, 0, 0, link=target)
    return Tree(entries, {path: text.encode() for path, text in files.items() if packages.is_wanted(path)})


def wrong(found: Tree) -> list[str]:
    result = accounts.account(found, inventory.of(found), MADE, RECIPE)
    return [*result.differs, *result.unaccounted, *accounts.locks(found, inventory.of(found))]


def test_what_is_as_it_was_installed_is_accounted_for() -> None:
    assert wrong(tree()) == []
    assert (
        wrong(
            tree(
                usr__bin__other="tool",
                etc__alternatives__tool="/bin/tool",
                etc__secrets="/run/osbox/secrets.conf",
            )
        )
        == []
    )


CHANGES: dict[str, tuple[Callable[[dict[str, str]], object], list[str]]] = {
    "an altered file of Debian": (
        lambda files: files.update({"usr/bin/tool": "evil"}),
        ["bin/tool is not as tool has it"],
    ),
    "a missing file of Debian": (lambda files: files.pop("usr/bin/tool"), ["bin/tool of tool is missing"]),
    "an altered configuration": (
        lambda files: files.update({"etc/tool.conf": "evil"}),
        ["etc/tool.conf is neither as its package has it nor of the recipe"],
    ),
    "an altered file of Python": (
        lambda files: files.update({f"{SITE}/click/__init__.py": "evil"}),
        [f"{SITE}/click/__init__.py is not as click 8.3.1 has it"],
    ),
    "an added file": (lambda files: files.update({"usr/bin/evil": "x"}), ["usr/bin/evil"]),
    "bytecode of nothing": (
        lambda files: files.update({f"{SITE}/__pycache__/evil.cpython-313.pyc": "x"}),
        [f"{SITE}/__pycache__/evil.cpython-313.pyc"],
    ),
    "an altered file of the recipe": (
        lambda files: files.update({"etc/keystone/keystone.conf": "x"}),
        ["etc/keystone/keystone.conf"],
    ),
    "an added package": (
        lambda files: files.update(
            {
                f"{SITE}/evil-1.dist-info/METADATA": "",
                f"{SITE}/evil-1.dist-info/RECORD": "evil-1.dist-info/METADATA,,\nevil-1.dist-info/RECORD,,\n",
            }
        ),
        ["evil 1 is installed and in no lock"],
    ),
    "another version in the lock": (
        lambda files: files.update({"opt/openstack/locks/keystone.lock": "click==9\nother==1\n"}),
        ["other 1 is locked and not installed", "click is 8.3.1, the lock says 9"],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_seen(name: str) -> None:
    change, told = CHANGES[name]
    files = dict(FILES)
    change(files)
    assert wrong(tree(files)) == told


def test_a_link_to_nothing_is_of_nobody() -> None:
    assert wrong(tree(etc__evil="/tmp/x")) == ["etc/evil"]


def test_an_empty_file_of_the_recipe_accounts_for_no_other() -> None:
    found = accounts.account(
        tree({"var/keep": "", "etc/evil": ""}), [], [], {"images/x/keep": hashlib.sha256(b"").hexdigest()}
    )
    assert found.unaccounted == ("etc/evil",)


def test_links_in_a_circle_end() -> None:
    assert wrong(tree(a="b", b="a")) == ["a", "b"]


# --- origin and labels
# --------------------------------------------------------------------------------

IMAGE = "sha256:" + "a" * 64
KEYSTONE = catalogue.BY_NAME["os-keystone"]
LABELS = {f"{labels.OCI}title": "os-keystone", f"{labels.OCI}version": "1", labels.INPUTS: "d"}


def entry(**changes: Any) -> ImageInfo:
    made = ImageInfo(
        IMAGE, ("os-keystone:1",), "2026-11-23T04:13:00Z", "amd64", layers=("sha256:b1",), labels=LABELS
    )
    return replace(made, **changes)


def statement() -> dict[str, Any]:
    return provenance.statement(KEYSTONE, entry(), {}, {}, release="2026.1", commit=None, versions={})


def test_the_tag_points_to_what_was_built() -> None:
    assert list(verify._origin(entry(), statement())) == []
    assert list(verify._origin(entry(id="sha256:bb"), statement())) == [
        f"the tag points to sha256:bb, but {IMAGE[:19]} was built"
    ]
    assert list(verify._origin(entry(layers=()), statement())) == ["its layers are not those that were built"]
    assert list(verify._origin(entry(), None)) == ["no provenance was recorded: it was not built here"]


def test_a_layer_is_what_its_digest_says() -> None:
    layer = contents.Layer("sha256:b1", {})
    assert list(verify._layers(entry(), {"sha256:b1": layer})) == []
    assert list(verify._layers(entry(), {"sha256:b2": layer})) == [
        "layer 1 does not hold what its digest sha256:b1 says"
    ]


def test_labels_are_those_of_the_build() -> None:
    assert list(verify._labels(KEYSTONE, "1", entry(), statement())) == []
    other = entry(labels=LABELS | {f"{labels.OCI}title": "os-nova-api"})
    assert list(verify._labels(KEYSTONE, "1", other, None)) == [
        f"its label {labels.OCI}title is 'os-nova-api', not 'os-keystone'"
    ]
    more = entry(labels=LABELS | {"evil": "x"})
    assert list(verify._labels(KEYSTONE, "1", more, statement())) == ["its label evil is 'x', not None"]


# --- bills of materials
# --------------------------------------------------------------------------------


def mistake(made: dict[str, Any]) -> object:
    """By the schema; its library takes more than a second to load, which each worker had to wait for."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - keeps collection quick
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made))


def test_a_bill_of_materials_is_valid_and_always_the_same() -> None:
    found = tree()
    made = [sbom.document(entry(), "os-keystone:1", found, sbom._debian(found, entry())) for _ in range(2)]
    assert made[0] == made[1]
    assert mistake(made[0]) is None
    parts = {item["bom-ref"]: item for item in made[0]["components"]}
    click = parts["pkg:pypi/click@8.3.1"]
    assert click["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert click["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert "pkg:deb/debian/tool@1.0?arch=amd64" in parts
    assert made[0]["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]


def test_a_patch_stands_with_its_package() -> None:
    text = (
        "Description: wait less\nBug: https://bugs.example.org/+bug/7\nApplied-Upstream: 9.0\nX-Package:"
        " click\n\n--- a/x\n+++ b/x\n"
    )
    found = tree({**FILES, "opt/openstack/patches/click-wait.patch": text})
    made = sbom.document(entry(), "os-keystone:1", found, sbom._debian(found, entry()))
    assert mistake(made) is None
    [patch] = next(item for item in made["components"] if item["bom-ref"] == "pkg:pypi/click@8.3.1")[
        "pedigree"
    ]["patches"]
    assert patch["resolves"][0]["references"] == ["https://bugs.example.org/+bug/7"]
    assert patch["diff"]["text"]["content"].startswith("--- a/x")
    [problem] = verify._locked_files(found, RECIPE, statement())
    assert problem == "opt/openstack/patches/click-wait.patch is not the patch that it was built from"


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ("License-Expression: MIT\nLicense: x\n", "MIT"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
        ("License: Copyright\n  all the words of a licence\n", ""),
        ("", ""),
    ],
)
def test_licences(headers: str, told: str) -> None:
    assert sbom.licence(packages.metadata(headers).get_all) == told


def test_packages_of_a_tree() -> None:
    assert inventory.of(tree()) == [
        Package("debian", "tool", "1.0", "tool", "1.0"),
        Package("python", "click", "8.3.1", place=f"{SITE}/click-8.3.1.dist-info"),
    ]
