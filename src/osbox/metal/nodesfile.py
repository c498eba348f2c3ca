"""nodes.yaml: the bare metal that a person hands to osbox (docs/nodes.md is its reference).

    load(file)  →  Inventory, or one UserError that lists every problem as `nodes.yaml:12:
    nodes[1].ports[0].address: …` Node        →  what Ironic is told: driver_info(), ironic_properties()

Passwords are SecretStr from the moment they are read: no repr, no error and no dump shows one.
"""

import functools
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from osbox import log, utf8
from osbox.document import Document, Location, Problem, path, read, uncollected
from osbox.errors import UserError
from osbox.metal import authorities
from osbox.metal.bmc import fits_ipmi, visible
from osbox.metal.node import IPMI_PORT, Driver, Inventory, Node

HINT = "docs/nodes.md describes the file"
LONGEST_PASSWORD = 4096  # bytes of its file


def load(file: Path, warn: Callable[[str], None] = log.warn) -> Inventory:
    """Read and check a nodes.yaml, password files included; raises UserError that lists every problem with
    its line."""
    with uncollected():
        return _load(file, warn)


def _load(file: Path, warn: Callable[[str], None]) -> Inventory:
    document = read(file, HINT)
    inventory, problems = document.check(Inventory)
    nodes = dict(enumerate(inventory.nodes)) if inventory else _right_ones(document.data)
    problems += _duplicates(document, nodes)
    password = partial(_with_password, directory=file.parent, warn=warn)
    checked = functools.cache(authorities.certificates)
    authority = partial(_with_authority, directory=file.parent, check=checked)
    for index in nodes:
        for key, step in (("password_file", password), ("verify_ca", authority)):
            try:
                nodes[index] = step(nodes[index])
            except UserError as error:
                problems.append(document.problem(("nodes", index, "bmc", key), error.message))
    if problems:
        raise document.refuse(problems, HINT)
    return Inventory(nodes=tuple(nodes.values()))


def _right_ones(data: Any) -> dict[int, Node]:
    """The nodes with which nothing is wrong, by their place: what is wrong with one must not hide what is
    wrong between the others."""
    nodes = dict[int, Node]()
    items = data.get("nodes") if isinstance(data, dict) else None
    for index, item in enumerate(items if isinstance(items, list) else []):
        with suppress(ValidationError):
            nodes[index] = Node.model_validate(item)
    return nodes


def _with_authority(node: Node, directory: Path, check: Callable[[Path], object]) -> Node:
    """The node with the whole path of the file that its `verify_ca` names."""
    if isinstance(node.bmc.verify_ca, bool):
        return node
    file = directory / utf8.at_home(node.bmc.verify_ca)
    check(file)
    return node.model_copy(update={"bmc": node.bmc.model_copy(update={"verify_ca": file})})


def _with_password(node: Node, directory: Path, warn: Callable[[str], None]) -> Node:
    """The node with the content of its password file in place of it."""
    if node.bmc.password_file is None:
        return node
    file = directory / utf8.at_home(node.bmc.password_file)
    size = file.stat().st_size if file.is_file() else 0
    if size > LONGEST_PASSWORD:
        raise UserError(f"{file} has {size} bytes, and nothing but the password belongs into it")
    password = utf8.read(file).rstrip("\n")
    if not password:
        raise UserError(f"{file} is empty")
    try:
        visible(password)
        if node.driver is Driver.IPMI:
            fits_ipmi("password", password)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
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
    controllers: dict[tuple[Driver, tuple[str, int | None]], _Controller] = {}
    for index, node in nodes.items():
        other = controllers.setdefault((node.driver, _endpoint(node)), _Controller()).claim(index, node)
        if other is not None:
            line = document.line(("nodes", other, "bmc"))
            what = (
                f"is the one of nodes[{other}] in line {line}, and no system_id tells the two machines apart"
            )
            yield document.problem(("nodes", index, "bmc"), what)


@dataclass
class _Controller:
    """Which nodes of the file one management controller answers for."""

    first: int | None = None
    whole: int | None = None
    """The first that named no system of it, and so may be any."""
    systems: dict[str, int] = field(default_factory=dict)

    def claim(self, index: int, node: Node) -> int | None:
        """Note a node; returns an earlier one that may be the same machine."""
        system = node.bmc.system_id
        other = self.systems.get(system, self.whole) if system else self.first
        if self.first is None:
            self.first = index
        if system:
            self.systems.setdefault(system, index)
        elif self.whole is None:
            self.whole = index
        return other


def _endpoint(node: Node) -> tuple[str, int | None]:
    host, port = node.bmc.endpoint
    return (host, None) if node.driver is Driver.IPMI and port == IPMI_PORT else (host, port)
