"""YAML of people: large, broken and strange."""

import time
from pathlib import Path

import pytest

from osbox import document
from osbox.errors import UserError
from osbox.metal import difference, nodesfile
from osbox.metal.difference import NodeRecord, PortRecord, Settings
from osbox.metal.node import Inventory

COUNT = 2000
SECONDS = 2.5
"""Of a processor, for COUNT nodes. Where this was written: 0.3 (10,000 nodes: 1.4). Before, 4,000 took 40."""


def mac(number: int, card: int) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x52, card, *number.to_bytes(4, "big")))


def written(file: Path, *, one_controller: bool = False, wrong: str = "") -> Path:
    """A nodes.yaml of COUNT nodes, each with two cards."""
    entries = [
        f"- name: n{number}\n"
        "  bmc:\n"
        f"    address: {'bmc' if one_controller else f'10.0.{number >> 8}.{number & 255}'}\n"
        "    username: root\n"
        "    password: secret\n"
        + (f"    system_id: '{number}'\n" if one_controller and not wrong else "")
        + f"  ports: ['{mac(number, 0)}', '{mac(number, 2)}']\n"
        f"  properties: {{cpus: 4, memory_mb: 1024, capabilities: {{boot_mode: uefi}}{wrong}}}\n"
        for number in range(COUNT)
    ]
    file.write_text("nodes:\n" + "".join(entries))
    return file


@pytest.mark.parametrize("one_controller", [False, True])
def test_many_nodes(tmp_path: Path, one_controller: bool) -> None:
    file = written(tmp_path / "nodes.yaml", one_controller=one_controller)
    begin = time.process_time()
    inventory = nodesfile.load(file)
    read = time.process_time() - begin
    assert len(inventory.nodes) == COUNT
    assert read < SECONDS


@pytest.mark.parametrize("wrong", [", ram: 1", ""])
def test_many_mistakes_are_told_with_their_number(tmp_path: Path, wrong: str) -> None:
    file = written(tmp_path / "nodes.yaml", one_controller=True, wrong=wrong or " ")
    begin = time.process_time()
    with pytest.raises(UserError, match=r"nodes\.yaml has \d+ problems") as refused:
        nodesfile.load(file)
    assert time.process_time() - begin < SECONDS
    lines = refused.value.evidence.splitlines()
    assert len(lines) == document.TOLD + 1
    assert lines[-1].startswith("and ")


def test_many_nodes_are_compared() -> None:
    one = {"bmc": {"address": "bmc", "username": "root", "password": "x"}, "ports": ["52:54:00:00:00:01"]}
    node = Inventory.model_validate({"nodes": [{"name": "n", **one}]}).nodes[0]
    nodes = [
        node.model_copy(
            update={
                "name": f"n{number}",
                "ports": (node.ports[0].model_copy(update={"address": mac(number, 0)}),),
            }
        )
        for number in range(COUNT)
    ]
    records = [
        NodeRecord(
            one.name, one.name, "available", {}, (PortRecord(one.name, one.ports[0].address, one.name),)
        )
        for one in nodes
    ]
    begin = time.process_time()
    found = difference.differences(nodes, records, Settings("project", {"deploy_kernel": "k"}, b"key"))
    assert len(found) == COUNT
    assert time.process_time() - begin < SECONDS


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("a: 1\nb: \x07\n", "x.yaml:2: the control character U+0007"),
        ("[" * 5000, "x.yaml"),
        ("a: &a [*a]\na: 1\n", "x.yaml:2: a: this key stands here a second time"),
        ("a: [1, 2\nb: 3\n", "x.yaml:2: did not find expected ',' or ']'"),
        ("a: \t- 1\n\t- 2\n", "x.yaml:1: block sequence entries are not allowed in this context"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, evidence: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"x\.yaml (is not valid YAML|has a problem)") as refused:
        document.read(file)
    assert refused.value.evidence.startswith(evidence)


def test_an_alias_is_looked_at_once(tmp_path: Path) -> None:
    """Thirty levels of two are a thousand million places."""
    levels = [f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]" for level in range(1, 31)]
    file = tmp_path / "x.yaml"
    file.write_text("\n".join(["a0: &a0 [1]", *levels]))
    assert document.read(file).data["a0"] == [1]
