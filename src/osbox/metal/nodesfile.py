"""nodes.yaml: the bare metal that a person hands to osbox (docs/nodes.md is its reference).

    load(file)  →  Inventory, or one UserError that lists every problem as `nodes.yaml:12:
    nodes[1].ports[0].address: …` Node        →  what Ironic is told: driver_info(), ironic_properties()

Passwords are SecretStr from the moment they are read: no repr, no error and no dump shows one.
"""

import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr, ValidationError

from osbox import log
from osbox.document import Document, Location, Problem, path, read
from osbox.metal.node import IPMI_PORT, Driver, Inventory, Node

HINT = "docs/nodes.md describes the file"


def load(file: Path, warn: Callable[[str], None] = log.warn) -> Inventory:
    """Read and check a nodes.yaml, password files included; raises UserError that lists every problem with
    its line."""
    document = read(file, HINT)
    problems = document.check(Inventory)
    nodes: dict[int, Node] = {}
    items = document.data.get("nodes") if isinstance(document.data, dict) else None
    for index, item in enumerate(items if isinstance(items, list) else []):
        # One by one once more: what is wrong with one node must not hide what is wrong between the others.
        with suppress(ValidationError):
            nodes[index] = Node.model_validate(item)
    problems += _duplicates(document, nodes)
    for index, node in nodes.items():
        try:
            nodes[index] = _with_password(node, file.parent, warn)
        except OSError as error:
            what = f"cannot read {error.filename}: {error.strerror}"
            problems.append(document.problem(("nodes", index, "bmc", "password_file"), what))
        except ValueError as error:
            problems.append(document.problem(("nodes", index, "bmc", "password_file"), str(error)))
    if problems:
        raise document.refuse(problems, HINT)
    return Inventory(nodes=tuple(nodes.values()))


def _with_password(node: Node, directory: Path, warn: Callable[[str], None]) -> Node:
    """The node with the content of its password file in place of it."""
    if node.bmc.password_file is None:
        return node
    file = directory / node.bmc.password_file.expanduser()
    password = file.read_text().rstrip("\r\n")
    if not password:
        raise ValueError(f"{file} is empty")
    if file.stat().st_mode & stat.S_IROTH:
        warn(f"everybody on this machine can read {file}: chmod 600 {file}")
    return node.model_copy(update={"bmc": node.bmc.model_copy(update={"password": SecretStr(password)})})


def _duplicates(document: Document, nodes: Mapping[int, Node]) -> Iterator[Problem]:
    """Names, MAC addresses and management controllers that two nodes claim."""
    owners: dict[tuple[str, str], Location] = {}
    for index, node in nodes.items():
        claims: list[tuple[str, Location]] = [(node.name, ("nodes", index, "name"))]
        claims += [
            (port.address, ("nodes", index, "ports", at, "address")) for at, port in enumerate(node.ports)
        ]
        for value, here in claims:
            first = owners.setdefault((str(here[-1]), value.lower()), here)
            if first != here:
                yield document.problem(
                    here, f"'{value}' is already {path(first)} in line {document.line(first)}"
                )
    for index, node in nodes.items():
        for other in (number for number in nodes if number < index):
            if _same_bmc(node, nodes[other]):
                line = document.line(("nodes", other, "bmc"))
                what = (
                    f"is the one of nodes[{other}] in line {line}, and no system_id tells the two machines"
                    " apart"
                )
                yield document.problem(("nodes", index, "bmc"), what)


def _same_bmc(one: Node, two: Node) -> bool:
    if (one.driver, _endpoint(one)) != (two.driver, _endpoint(two)):
        return False
    return not (one.bmc.system_id and two.bmc.system_id and one.bmc.system_id != two.bmc.system_id)


def _endpoint(node: Node) -> str:
    bmc = node.bmc
    return (bmc.url if node.driver is Driver.REDFISH else f"{bmc.address}:{bmc.port or IPMI_PORT}").lower()
