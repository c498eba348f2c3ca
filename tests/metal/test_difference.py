"""What is sent to Ironic so that its nodes are as nodes.yaml says: tests/cases/enrol, and what comes of each.

A case has the nodes of the file, what Ironic has, and what differs. A node of Ironic's with `enrolled` is as
osbox enrolled that node of a file, changed by what stands beside it. OSBOX_UPDATE_CASES=1 pytest
tests/metal/test_difference.py writes what differs anew: read what changed.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from osbox.metal import difference
from osbox.metal.difference import NodeRecord, PortRecord, Settings
from osbox.metal.node import OWN, Inventory, Node

CASES = sorted((Path(__file__).parents[1] / "cases/enrol").glob("*.yaml"))
SETTINGS = Settings("project-1", {"deploy_kernel": "kernel-1", "deploy_ramdisk": "ramdisk-1"}, b"key")


def read(nodes: list[dict[str, Any]]) -> tuple[Node, ...]:
    """With what every node must have filled in."""
    whole = [
        {"bmc": {"address": f"bmc-{node['name']}", "username": "admin", "password": "first"}} | node
        for node in nodes
    ]
    return Inventory.model_validate({"nodes": whole}).nodes


def record(entry: dict[str, Any]) -> NodeRecord:
    if "enrolled" in entry:
        [node] = read([entry["enrolled"]])
        fields = difference.whole(node, SETTINGS)
        fields.pop("owner")
        for key in difference.MASKED:
            if key in fields["driver_info"]:
                fields["driver_info"][key] = "******"
        ports: list[dict[str, Any]] = [
            {"address": port.address, "pxe_enabled": port.pxe_enabled, "extra": {OWN: {"port": True}}}
            for port in node.ports
        ]
        name = node.name
    else:
        fields, ports, name = {}, [], entry["name"]
    for key, value in entry.get("fields", {}).items():
        fields[key] = {**fields[key], **value} if isinstance(value, dict) and fields.get(key) else value
    ports += entry.get("ports", [])
    ident = f"id of {name}"
    return NodeRecord(
        ident,
        name,
        entry.get("state", "available"),
        fields,
        tuple(
            PortRecord(
                f"id of {port['address']}",
                port["address"],
                ident,
                port.get("pxe_enabled", True),
                port.get("extra", {}),
            )
            for port in ports
        ),
    )


def found(case: dict[str, Any]) -> dict[str, Any]:
    changes = difference.differences(
        read(case["nodes"]), [record(entry) for entry in case.get("ironic", [])], SETTINGS
    )
    return {name: shown(one) for name, one in changes.items()}


def shown(one: difference.Difference) -> dict[str, Any]:
    parts = {key: value for key, value in vars(one).items() if key != "name" and value not in (None, (), "")}
    return json.loads(json.dumps(parts))  # type: ignore[no-any-return]


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_case(file: Path) -> None:
    text = file.read_text()
    case = yaml.safe_load(text)
    differs = found(case)
    if os.environ.get("OSBOX_UPDATE_CASES"):
        head = text.partition("\ndiffers:")[0].rstrip()
        file.write_text(
            f"{head}\n\n"
            + yaml.safe_dump({"differs": differs}, sort_keys=False, allow_unicode=True, width=110)
        )
    assert differs == yaml.safe_load(file.read_text()).get("differs")


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_no_case_tells_a_password(file: Path) -> None:
    """Not in words, which are printed, nor beside the node, where every reader of it sees them."""
    case = yaml.safe_load(file.read_text())
    passwords = {node.bmc.secret for node in read(case["nodes"])}
    for one in found(case).values():
        words = json.dumps([one.get("told"), one.get("held"), one.get("refused")])
        marks = [operation for operation in one.get("patch", []) if operation["path"].startswith("/extra")]
        for password in passwords:
            assert password not in words
            assert password not in json.dumps([marks, (one.get("create") or {}).get("extra")])


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_what_was_sent_differs_no_more(file: Path) -> None:
    """Applied to Ironic's records, nothing is left, but what the nodes' states held back."""
    case = yaml.safe_load(file.read_text())
    records = {one.name: one for one in (record(entry) for entry in case.get("ironic", []))}
    nodes = read(case["nodes"])
    changes = difference.differences(nodes, list(records.values()), SETTINGS)
    for name, one in changes.items():
        if not one.refused:
            records[name] = applied(records.get(name), name, one)
    for name, one in difference.differences(nodes, list(records.values()), SETTINGS).items():
        assert one.is_empty or changes[name].refused, (name, one)
        assert one.held == changes[name].held


def applied(before: NodeRecord | None, name: str, change: difference.Difference) -> NodeRecord:
    fields = json.loads(json.dumps(dict(before.fields if before else change.create or {})))
    for operation in change.patch:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place = fields
        for part in way:
            place = place.setdefault(part, {})
        place[last] = operation["value"]
    ident = f"id of {name}"
    ports = [port for port in (before.ports if before else ()) if port.id not in change.gone]
    ports += [
        PortRecord(f"id of {body['address']}", body["address"], ident, body["is_pxe_enabled"], body["extra"])
        for body in change.new
    ]
    return NodeRecord(ident, name, before.state if before else "enroll", fields, tuple(ports))


def test_the_same_password_at_two_nodes_looks_different() -> None:
    assert difference.fingerprint(b"key", "a", "secret") != difference.fingerprint(b"key", "b", "secret")
    assert difference.fingerprint(b"key", "a", "secret") != difference.fingerprint(b"other", "a", "secret")
