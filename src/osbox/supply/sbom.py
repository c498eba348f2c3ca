"""A bill of materials for an image: one CycloneDX document of its Debian packages (by debsbom) and its Python
packages.

Nothing of the image runs: both are read from the package managers' own files in its layers. The same image
gives the same document.
"""

import io
import json
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import AttachedText, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType, Diff, Patch, PatchClassification, Pedigree
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.issue import IssueClassification, IssueType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from osbox import files, run
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.images import contents, inventory, layers, packages
from osbox.images.catalogue import Image
from osbox.images.packages import PYTHON, Locked, Package
from osbox.site.site import Paths

SCHEMA = "1.6"
SUFFIX = "sbom.json"  # kept beside the inventory, by image id
CLASSIFIER = "License :: OSI Approved :: "
LONGEST_NAME = 100  # what is longer in a License header is a whole licence


def make(paths: Paths, engine: Engine, image: Image, version: str) -> str:
    """The document of an image, as JSON; it is made once and then kept by image id."""
    entry = inventory.entry(engine, image, version)
    file = paths.inventory / f"{entry.id.removeprefix('sha256:')}.{SUFFIX}"
    if not file.exists():
        read = layers.read(engine, [entry.id], packages.is_wanted)
        tree = layers.tree(entry, read)
        text = (
            json.dumps(
                document(entry, image.tag(version), tree, _debian(tree, entry)), indent=2, sort_keys=True
            )
            + "\n"
        )
        files.write(file, text, shared=True)
    return file.read_text()


def document(entry: ImageInfo, tag: str, tree: contents.Tree, debian: Mapping[str, Any]) -> dict[str, Any]:
    """One document of debsbom's and of ours."""
    ours = json.loads(JsonV1Dot6(_python(tree)).output_as_string())
    root = _image(entry, tag)
    system = debian["metadata"]["component"]
    parts = [*debian["components"], *ours.get("components", []), system]
    first = {
        "ref": root["bom-ref"],
        "dependsOn": sorted([system["bom-ref"], *(item["bom-ref"] for item in ours.get("components", []))]),
    }
    tools = [
        *debian["metadata"]["tools"]["components"],
        *ours["metadata"].get("tools", {}).get("components", []),
    ]
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SCHEMA}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SCHEMA,
        "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, entry.id)}",
        "metadata": {
            "timestamp": entry.created[:19] + "+00:00",
            "component": root,
            "tools": {"components": tools},
        },
        "components": sorted(parts, key=lambda item: str(item["bom-ref"])),
        "dependencies": sorted(
            [first, *debian["dependencies"], *ours.get("dependencies", [])], key=lambda item: str(item["ref"])
        ),
    }


def _image(entry: ImageInfo, tag: str) -> dict[str, Any]:
    """The image itself: its id is the digest of its configuration, which names its layers."""
    name, _, version = tag.partition(":")
    found = {key: value for key, value in entry.labels.items() if not key.endswith("description")}
    return {
        "type": "container",
        "bom-ref": f"image:{tag}",
        "name": name,
        "version": version,
        "purl": str(PackageURL("oci", None, name, entry.id)),
        "hashes": [{"alg": "SHA-256", "content": entry.id.removeprefix("sha256:")}],
        "properties": [
            *({"name": key, "value": value} for key, value in sorted(found.items())),
            *({"name": "io.osbox.layer", "value": one} for one in entry.layers),
        ],
    }


def _debian(tree: contents.Tree, entry: ImageInfo) -> dict[str, Any]:
    """debsbom's document, of dpkg's database and the copyright files; it gets them as the archive of a file
    system."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "root.tar"
        with tarfile.open(archive, "w") as target:
            for path, text in sorted(tree.texts.items()):
                if path == packages.STATUS or path.endswith("/copyright"):
                    member = tarfile.TarInfo(path)
                    member.size = len(text)
                    target.addfile(member, io.BytesIO(text))
        words = [
            "generate",
            "--sbom-type",
            "cdx",
            "--cdx-schema-version",
            SCHEMA,
            "--root",
            archive,
            "--out",
            "-",
            "--with-licenses",
        ]
        words += ["--timestamp", entry.created[:19] + "+00:00", "--distro-arch", entry.architecture]
        return dict(json.loads(run.run([sys.executable, "-m", "debsbom.cli", *map(str, words)]).out))


def _python(tree: contents.Tree) -> Bom:
    """The Python distributions with licences, the hashes that the locks allow, and what depends on what."""
    inside = [item for item in packages.python(tree.entries) if item.kind == PYTHON]
    locked: dict[str, Locked] = {}
    for path in tree.texts:
        if path.endswith(".lock"):
            locked |= packages.locked(tree.text(path))
    patches = [
        packages.patch(path.rpartition("/")[2], tree.text(path))
        for path in sorted(tree.texts)
        if path.endswith(packages.PATCH)
    ]
    found = {
        item.name: _component(
            item, tree, locked.get(item.name), [one for one in patches if one.package == item.name]
        )
        for item in inside
    }
    needs = [
        Dependency(found[item.name].bom_ref, [Dependency(ref) for ref in _needed(item, tree, found)])
        for item in inside
    ]
    return Bom(components=found.values(), dependencies=needs)


def _component(
    item: Package, tree: contents.Tree, locked: Locked | None, patches: Sequence[packages.Patch]
) -> Component:
    data = packages.metadata(tree.text(f"{item.place}/METADATA"))
    purl = PackageURL("pypi", None, item.name, item.version)
    hashes = locked.hashes if locked and locked.version == item.version else ()
    return Component(
        name=item.name,
        version=item.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        description=data.get("Summary"),
        licenses=[LicenseFactory().make_from_string(name)] if (name := licence(data.get_all)) else [],
        # A lock names the digests of all archives that may be installed; which one it was is known where
        # there is one.
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashes[0])] if len(hashes) == 1 else [],
        properties=[Property(name="io.osbox.locked.sha256", value=one) for one in hashes]
        + [Property(name="io.osbox.place", value=item.place)],
        pedigree=Pedigree(patches=list(map(_patch, patches))) if patches else None,
    )


def _patch(patch: packages.Patch) -> Patch:
    """A change of ours, with the bug of upstream's that it mends and the version in which upstream did."""
    said = f"{patch.name}; upstream's in {patch.fixed}"
    issue = IssueType(
        type=IssueClassification.DEFECT,
        id=patch.bug.rpartition("/")[2] or None,
        name=patch.summary,
        description=said,
        references=[XsUri(patch.bug)] if patch.bug else [],
    )
    return Patch(
        type=PatchClassification.UNOFFICIAL,
        diff=Diff(text=AttachedText(content=patch.diff)),
        resolves=[issue],
    )


def licence(headers: Any) -> str:
    """The licence that a METADATA file declares: an SPDX expression, else a short name, else its classifiers;
    "" if it says none.

    headers: a function from a header's name to all its values, or None.
    """
    for name in ("License-Expression", "License"):
        value = str((headers(name) or [""])[0]).strip()
        if value and value.upper() != "UNKNOWN" and "\n" not in value and len(value) <= LONGEST_NAME:
            return value
    said = [
        str(value).rpartition(" :: ")[2]
        for value in headers("Classifier") or []
        if str(value).startswith(CLASSIFIER)
    ]
    return ", ".join(said)


def _needed(item: Package, tree: contents.Tree, found: Mapping[str, Component]) -> Iterator[Any]:
    """References to the distributions that one requires, as far as they are there."""
    requires: Iterable[Any] = (
        packages.metadata(tree.text(f"{item.place}/METADATA")).get_all("Requires-Dist") or []
    )
    names: Sequence[str] = sorted({name for text in requires if (name := _name(str(text))) in found})
    yield from (found[name].bom_ref for name in names)


def _name(text: str) -> str:
    """The package that a requirement names, where it applies without extras; else ""."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return ""
    applies = not requirement.marker or requirement.marker.evaluate(
        {"extra": "", "python_version": "3.13", "sys_platform": "linux"}
    )
    return str(canonicalize_name(requirement.name)) if applies else ""
