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
        ("a: &a [1]\na: *a\n", "x.yaml:2: a: this key stands here a second time"),
        ("a: 1\nb: &a [*a]\n", "x.yaml:2: b[0]: an alias in it leads back to it"),
        ("a: &a\n  <<: *a\n", "x.yaml:1: a.<<: an alias in it leads back to it"),
        ("a: 1\nb: {yes: 1}\n", "x.yaml:2: b.yes: YAML reads this key as true or false: put it in quotes"),
        ("a: 1\nb: [{7: 1}]\n", "x.yaml:2: b[0].7: YAML reads this key as a number: put it in quotes"),
        ("a: 1\nb: {~: 1}\n", "x.yaml:2: b.~: YAML reads this key as nothing: put it in quotes"),
        ("a: 1\n? [b]\n: 1\n", "x.yaml:2: a key in it is no word but a list or a mapping"),
        ("a: 1\nb: !!int x\n", "x.yaml:2: this cannot be read as a number"),
        ("a: 1\nb: !!float x\n", "x.yaml:2: this cannot be read as a number"),
        ("a: 1\nb: !!bool x\n", "x.yaml:2: this cannot be read as true or false"),
        (f"a: 1\nb: {'9' * 5000}\n", "x.yaml:2: this cannot be read as a number"),
        ("a: 1\nb: !!binary aGVsbG8=\n", "x.yaml:2: what begins with ! is a tag that is not known here"),
        ("a: 1\nb: !!timestamp 2026-01-01\n", "x.yaml:2: what begins with ! is a tag"),
        ("a: 1\nb: !hunter2\n", "x.yaml:2: what begins with ! is a tag that is not known here: put it in"),
        ("a: 1\nb: *hunter2\n", "x.yaml:2: what begins with * is an alias of something that is not there"),
        ('A: 1\n"\\e[2J": 1\n"\\e[2J": 2\n', "x.yaml:3: \\x1b[2J: this key stands here a second"),
        ("a: 1\nb: !!int ''\n", "x.yaml:2: this cannot be read as a number"),
        ("a: 1\nb: !!float ''\n", "x.yaml:2: this cannot be read as a number"),
        ("a: 1\nb: !!int '-'\n", "x.yaml:2: this cannot be read as a number"),
        (
            "a: 1\nb: <<\n",
            "x.yaml:2: << is YAML's word for what is merged in, and no value: put it in quotes",
        ),
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
    assert "hunter2" not in refused.value.evidence


def test_words_that_look_like_dates_and_numbers_are_text(tmp_path: Path) -> None:
    """2026-02-30 was an error of Python's, told as a defect; a date has no place in JSON."""
    file = tmp_path / "x.yaml"
    file.write_text("[2026-02-30, 2026-01-01, 2026-01-01 25:00:00, 0x_, 0b_, =, 12:34, 1e3, 0o17]")
    words = "2026-02-30 2026-01-01 2026-01-01_25:00:00 0x_ 0b_ = 12:34 1e3 0o17"
    assert [word.replace(" ", "_") for word in document.read(file).data] == words.split()


def test_a_mistake_beside_what_is_merged_in_has_its_own_line(tmp_path: Path) -> None:
    file = tmp_path / "nodes.yaml"
    file.write_text(
        "nodes:\n- name: one\n  bmc: &bmc {address: bmc, username: root, password: x, port: 1}\n"
        "  ports: [3c:ec:ef:00:00:01]\n- name: two\n  bmc:\n    <<: *bmc\n    address: other\n"
        "    port: 99999\n  ports: [3c:ec:ef:00:00:02]\n"
    )
    with pytest.raises(UserError) as refused:
        nodesfile.load(file)
    assert refused.value.evidence == "nodes.yaml:9: nodes[1].bmc.port: '99999' is more than 65535"


def test_an_alias_is_looked_at_once(tmp_path: Path) -> None:
    """Thirty levels of two are a thousand million places."""
    levels = [f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]" for level in range(1, 31)]
    file = tmp_path / "x.yaml"
    file.write_text("\n".join(["a0: &a0 [1]", *levels]))
    assert document.read(file).data["a0"] == [1]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("passwort: geh\u00e4im", "nodes[0].bmc.passwort: there is no such key"),
        ("passw\u043erd: secret", "its '\u043e' is U+043E CYRILLIC SMALL LETTER O"),
        ("address: https://root:geh\u00e4im@bmc", "user and password do not belong into the address"),
        ("address: b\u00e4mc.example", "its '\u00e4' is U+00E4"),
        ("password: geh\u00e4im\\\u200b", ""),
        ("username: {x: geh\u00e4im}", "nodes[0].bmc.username: must be text"),
    ],
)
def test_of_a_value_that_is_not_shown_no_letter_is(line: str, told: str, tmp_path: Path) -> None:
    """Of a mistyped key the value may be the password."""
    key = line.partition(":")[0]
    bmc = {"address": "bmc", "username": "root", "password": "x"}
    lines = [line, *(f"{name}: {value}" for name, value in bmc.items() if name != key)]
    file = tmp_path / "nodes.yaml"
    file.write_text(
        "nodes:\n- name: '-'\n  ports: ['52:54:00:00:00:01']\n  bmc:\n"
        + "".join(f"    {one}\n" for one in lines)
    )
    with pytest.raises(UserError) as refused:
        nodesfile.load(file)
    assert told in refused.value.evidence
    assert "geh" not in refused.value.evidence
    assert ("U+00E4" in refused.value.evidence) == ("U+00E4" in told)
