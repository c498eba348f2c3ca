"""nodes.yaml as people write it: tests/cases/nodes/*.yaml and what osbox makes of each.

OSBOX_UPDATE_CASES=1 pytest tests/metal/test_nodesfile.py writes the expected texts anew: read what changed.
"""

import json
import os
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from pydantic import SecretStr

from osbox.errors import UserError
from osbox.metal.bmc import Bmc
from osbox.metal.node import Inventory, Node, Port, Properties
from osbox.metal.nodesfile import load
from tests.metal.test_authorities import AUTHORITY

CASES = Path(__file__).parents[1] / "cases/nodes"
DOCUMENT = Path(__file__).parents[2] / "docs/nodes.md"
PASSWORD = "from-the-file"


def prepared(case: Path, directory: Path) -> Path:
    """The case beside the password files that it may name, since a checkout cannot keep file modes."""
    damaged = AUTHORITY.replace("MIIB", "AAAA")
    contents = {"password": PASSWORD + "\n", "empty": "", "site-ca.pem": AUTHORITY, "damaged.pem": damaged}
    contents |= {"two-lines": "hunter2\n# of u14\n", "long": "hunter2" * 3, "disk": "hunter2" * 1000}
    for name, text in contents.items():
        (directory / name).touch(mode=0o600)
        (directory / name).write_text(text)
    return Path(shutil.copy(case, directory / "nodes.yaml"))


def result(file: Path) -> str:
    try:
        inventory = load(file, pytest.fail)
    except UserError as error:
        text = f"{error.message}\n{error.evidence}\nNext: {error.hint}\n"
        return text.replace(str(file.parent), "DIRECTORY")
    text = json.dumps([seen(node) for node in inventory.nodes], indent=2) + "\n"
    return text.replace(str(file.parent), "DIRECTORY")


def seen(node: Node) -> dict[str, object]:
    data = node.model_dump(mode="json", exclude={"bmc", "properties"}, exclude_none=True)
    ironic = {
        "driver_info": node.driver_info(),
        "properties": node.ironic_properties(),
        "interfaces": node.interfaces,
    }
    return {**data, **ironic}


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yaml")), ids=lambda case: case.stem)
def test_case(case: Path, tmp_path: Path) -> None:
    found = result(prepared(case, tmp_path))
    expected = case.with_suffix(".txt")
    if os.environ.get("OSBOX_UPDATE_CASES"):
        expected.write_text(found)
    assert found == expected.read_text()


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yaml")), ids=lambda case: case.stem)
def test_no_error_shows_a_password(case: Path, tmp_path: Path) -> None:
    try:
        shown = repr(load(prepared(case, tmp_path)))
    except UserError as error:
        shown = f"{error.message}{error.evidence}{error.hint}"
    assert not any(password in shown for password in (PASSWORD, "s3cret", "hunter2"))


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("{a: '" + "x" * 60_000 + "'}", "has more than 60000 bytes"),
        ("{a: " + "[" * 60 + "]" * 60 + "}", "has more than 10000 values, or 50 in one another"),
        (
            "\n      a0: &a0 [1]\n"
            + "\n".join(
                f"      a{level}: &a{level} [*a{level - 1}, *a{level - 1}]" for level in range(1, 31)
            ),
            "has more than 10000 values",
        ),
    ],
)
def test_what_is_kept_for_a_person_has_an_end(extra: str, told: str, tmp_path: Path) -> None:
    file = prepared(CASES / "rack.yaml", tmp_path)
    file.write_text(f"{file.read_text()}    extra: {extra}\n")
    with pytest.raises(UserError) as refused:
        load(file)
    assert refused.value.evidence.startswith(f"nodes.yaml:12: nodes[0].extra: {told}")


@pytest.mark.parametrize(("key", "most"), [("name", 255), ("description", 4096), ("resource_class", 80)])
def test_what_is_too_long_is_told_so(key: str, most: int, tmp_path: Path) -> None:
    file = prepared(CASES / "rack.yaml", tmp_path)
    text = file.read_text()
    for size in (most, most + 1):
        line = f"{key}: {'x' * size}\n"
        file.write_text(text.replace("name: rack-1\n", line) if key == "name" else f"{text}    {line}")
        if size > most:
            with pytest.raises(UserError) as refused:
                load(file)
            assert refused.value.evidence.endswith(f"nodes[0].{key}: has more than {most} characters")
        else:
            load(file)


def test_world_readable_password_file_is_told(tmp_path: Path) -> None:
    file = prepared(CASES / "rack.yaml", tmp_path)
    (tmp_path / "password").chmod(0o644)
    warnings: list[str] = []
    load(file, warnings.append)
    assert warnings == [
        f"everybody on this machine can read {tmp_path}/password: chmod 600 {tmp_path}/password"
    ]


def test_a_disk_is_not_read_into_memory(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole: it takes no space
    with pytest.raises(UserError, match=r"cannot read .*disk\.raw: it has more than 64 MiB"):
        load(disk)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*nodes\.yaml: No such file"):
        load(tmp_path / "nodes.yaml")


def test_values_are_frozen_and_secret(tmp_path: Path) -> None:
    inventory = load(prepared(CASES / "rack.yaml", tmp_path))
    assert isinstance(inventory, Inventory)
    assert inventory.nodes[0].bmc.password == SecretStr(PASSWORD)
    with pytest.raises(ValueError, match="frozen"):
        inventory.nodes[0].name = "other"  # type: ignore[misc]


def examples() -> list[str]:
    """The files that docs/nodes.md shows: indented blocks that begin with `nodes:`."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", DOCUMENT.read_text(), re.MULTILINE)
    return [text for block in blocks if (text := textwrap.dedent(block).strip("\n")).startswith("nodes:")]


@pytest.mark.parametrize("text", examples())
def test_examples_of_the_documentation_are_valid(text: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    file = tmp_path / "nodes.yaml"
    (tmp_path / "ca.pem").write_text(AUTHORITY)
    text = re.sub(r"(password_file:) [^\s,}]+", rf"\1 {password}", text)
    file.write_text(re.sub(r"(verify_ca:) /[^\s,}]+", rf"\1 {tmp_path}/ca.pem", text))
    assert load(file, pytest.fail).nodes


def test_every_key_is_documented() -> None:
    text = DOCUMENT.read_text()
    models = (Node, Bmc, Port, Properties)
    assert len(examples()) == 4
    assert [key for model in models for key in model.model_fields if f"`{key}`" not in text] == []
