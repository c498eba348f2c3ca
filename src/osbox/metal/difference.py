"""What is to be sent to Ironic so that its nodes are as nodes.yaml says, and no more than that. Pure.

nodes.yaml is the truth for what it names. What it does not name stays: what inspection found, what a person
set, ports that others made. Two marks are kept at the nodes themselves, so that any machine with the
deployment's secrets goes by them: a fingerprint of the BMC's password, which Ironic never shows, and that a
port is of nodes.yaml.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osbox.metal.node import OWN, Node
from osbox.metal.states import CHANGEABLE
from osbox.site.site import PHYSICAL_NETWORK

FINGERPRINT = "password"
MASKED = ("redfish_password", "ipmi_password")
"""What Ironic's answers hide behind asterisks."""


@dataclass(frozen=True)
class PortRecord:
    """A port as Ironic has it."""

    id: str
    address: str
    node: str
    """The id of its node."""
    pxe_enabled: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return bool((self.extra.get(OWN) or {}).get("port"))


@dataclass(frozen=True)
class NodeRecord:
    """A node as Ironic has it; fields: what may differ, in Ironic's words."""

    id: str
    name: str
    state: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    ports: tuple[PortRecord, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What all nodes of a run have in common.

    owner: the project that sees them; deploy: the driver_info of the deploy images; key: what fingerprints
    are made with.
    """

    owner: str
    deploy: Mapping[str, str]
    key: bytes


@dataclass(frozen=True)
class Difference:
    """One node: what to send, and what that is in words.

    state: Ironic's, "" for a node that it does not know. create: the whole node, when there is none.
    patch: JSON patch (RFC 6902). gone: ids of ports to delete; new: ports to make. held: what its state does
    not allow now. refused: why nothing is sent at all.
    """

    name: str
    state: str = ""
    create: Mapping[str, Any] | None = None
    patch: tuple[Mapping[str, Any], ...] = ()
    gone: tuple[str, ...] = ()
    new: tuple[Mapping[str, Any], ...] = ()
    told: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    refused: str = ""

    @property
    def is_empty(self) -> bool:
        return self.create is None and not (self.patch or self.gone or self.new)


def differences(
    nodes: Sequence[Node], records: Sequence[NodeRecord], settings: Settings
) -> dict[str, Difference]:
    """By the names of the file, in its order."""
    by_name = {record.name: record for record in records}
    owners = {port.address: (record, port) for record in records for port in record.ports}
    around = _Around(
        owners,
        frozenset(port.address for node in nodes for port in node.ports),
        frozenset(node.name for node in nodes),
    )
    return {node.name: _difference(node, by_name.get(node.name), around, settings) for node in nodes}


def fingerprint(key: bytes, node: str, password: str) -> str:
    """Tells two passwords of a node apart, and says nothing about them to whoever has not the key."""
    return hmac.new(key, f"{node}\0{password}".encode(), "sha256").hexdigest()[:32]


@dataclass(frozen=True)
class _Around:
    """The other nodes.

    owners: whose each MAC address is now; named, names: the MAC addresses and the nodes of the file.
    """

    owners: Mapping[str, tuple[NodeRecord, PortRecord]]
    named: frozenset[str]
    names: frozenset[str]

    def elsewhere(self, node: Node, address: str) -> str:
        """Why the port stays at another node that has it; "" when it is free to come."""
        owner = self.owners.get(address)
        if owner is None or owner[0].name == node.name:
            return ""
        other = owner[0]
        if other.name not in self.names:
            return f"is one of the node {other.name}, which the file does not name"
        if other.state not in CHANGEABLE:
            return f"is one of {other.name}, which gives none up in the state `{other.state}`"
        return ""


def whole(node: Node, settings: Settings) -> dict[str, Any]:
    """All that Ironic is told of a node that it does not know."""
    body: dict[str, Any] = {
        "driver": str(node.driver),
        "driver_info": {**node.driver_info(), **settings.deploy},
        "properties": node.ironic_properties(),
        "resource_class": node.resource_class,
        "owner": settings.owner,
        "extra": {**node.extra, OWN: {FINGERPRINT: _fingerprint(node, settings)}},
        **node.interfaces,
    }
    return body | ({"description": node.description} if node.description else {})


def _fingerprint(node: Node, settings: Settings) -> str:
    # With the driver, for each has a place of its own for the password.
    return fingerprint(settings.key, f"{node.name}\0{node.driver}", node.bmc.secret)


def _difference(node: Node, record: NodeRecord | None, around: _Around, settings: Settings) -> Difference:
    for port in node.ports:
        if why := around.elsewhere(node, port.address):
            return Difference(
                node.name, record.state if record else "", refused=f"its port {port.address} {why}"
            )
    if record is None:
        return Difference(
            node.name,
            create=whole(node, settings),
            new=tuple(_port(port.address, pxe_enabled=port.pxe_enabled) for port in node.ports),
            told=("new", *(f"port {port.address}" for port in node.ports)),
        )
    patch, told, held = list[Mapping[str, Any]](), list[str](), list[str]()
    for change in _fields(node, record, settings):
        if change.anytime or record.state in CHANGEABLE:
            patch += change.operations
            told.append(change.told)
        else:
            held.append(change.told)
    gone, new, ports_told = _ports(node, record, around)
    if (gone or new) and record.state not in CHANGEABLE:
        held += ports_told
        gone, new, ports_told = list[str](), list[Mapping[str, Any]](), list[str]()
    return Difference(
        node.name,
        record.state,
        patch=tuple(patch),
        gone=tuple(gone),
        new=tuple(new),
        told=(*told, *ports_told),
        held=tuple(held),
    )


@dataclass(frozen=True)
class _Change:
    told: str
    operations: tuple[Mapping[str, Any], ...]
    anytime: bool = True
    """Whether Ironic takes it while a server is on the node."""


def _set(path: str, value: Any) -> Mapping[str, Any]:
    return {"op": "add", "path": path, "value": value}


def _fields(node: Node, record: NodeRecord, settings: Settings) -> Iterator[_Change]:
    have = record.fields
    yield from _plain(node, have)
    info = have.get("driver_info") or {}
    for key, value in {**node.driver_info(), **settings.deploy}.items():
        if key not in MASKED and not _same(info.get(key), value):
            yield _Change(
                f"driver_info {key}: {_word(info.get(key))} → {_word(value)}",
                (_set(f"/driver_info/{key}", value),),
            )
    yield from _password(node, have, settings)
    properties = have.get("properties") or {}
    for key, value in _named_properties(node, properties).items():
        if not _same(properties.get(key), value):
            yield _Change(
                f"{key}: {_word(properties.get(key))} → {_word(value)}", (_set(f"/properties/{key}", value),)
            )
    extra = have.get("extra") or {}
    for key, value in node.extra.items():
        if key != OWN and extra.get(key) != value:
            yield _Change(f"extra {key}", (_set(f"/extra/{_escaped(key)}", value),))


def _plain(node: Node, have: Mapping[str, Any]) -> Iterator[_Change]:
    """Fields of their own: driver, resource class, description, interfaces."""
    wish: dict[str, Any] = {"driver": str(node.driver)} if have.get("driver") != str(node.driver) else {}
    if "resource_class" in node.model_fields_set:
        wish["resource_class"] = node.resource_class
    if node.description:
        wish["description"] = node.description
    for key, value in {**wish, **node.interfaces}.items():
        if have.get(key) != value:
            yield _Change(
                f"{key}: {_word(have.get(key))} → {_word(value)}",
                (_set(f"/{key}", value),),
                anytime=key == "description",
            )


def _password(node: Node, have: Mapping[str, Any], settings: Settings) -> Iterator[_Change]:
    """Ironic shows no password; the mark beside the node tells whether it has the file's."""
    mark = _fingerprint(node, settings)
    marks = (have.get("extra") or {}).get(OWN)
    if not isinstance(marks, Mapping) or marks.get(FINGERPRINT) != mark:
        info = node.driver_info()
        key = next(name for name in MASKED if name in info)
        own = {**(marks if isinstance(marks, Mapping) else {}), FINGERPRINT: mark}
        yield _Change(
            "the BMC's password", (_set(f"/driver_info/{key}", info[key]), _set(f"/extra/{OWN}", own))
        )


def _named_properties(node: Node, have: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the file itself gives; of capabilities, which are one string for Ironic, too."""
    said = node.ironic_properties()
    given = node.properties.model_fields_set
    named = {key: said[key] for key in type(node.properties).model_fields if key in given and key in said}
    if "capabilities" in said:
        words = _capabilities(str(have.get("capabilities") or ""))
        named["capabilities"] = ",".join(
            f"{key}:{value}" for key, value in {**words, **_capabilities(said["capabilities"])}.items()
        )
    return named


def _capabilities(text: str) -> dict[str, str]:
    pairs = (word.partition(":") for word in text.split(",") if word)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _ports(
    node: Node, record: NodeRecord, around: _Around
) -> tuple[list[str], list[Mapping[str, Any]], list[str]]:
    """Ids of those that go, bodies of those that come, and both in words.

    A port that differs goes and comes: Ironic changes whether a port may boot in few states only.
    """
    wish = {port.address: port for port in node.ports}
    gone, told = list[str](), list[str]()
    there = {port.address: port for port in record.ports}
    for address, port in there.items():
        if address not in wish and (port.is_ours or address in around.named):
            gone.append(port.id)
            told.append(f"port {address} is gone")
    new = list[Mapping[str, Any]]()
    for address, wished in wish.items():
        had = there.get(address)
        if had and had.pxe_enabled == wished.pxe_enabled:
            continue
        what = ""
        if had:
            gone.append(had.id)
            what = f", pxe_enabled: {had.pxe_enabled} → {wished.pxe_enabled}"
        elif address in around.owners:
            what = f", from {around.owners[address][0].name}"
        new.append(_port(address, pxe_enabled=wished.pxe_enabled))
        told.append(f"port {address}{what}")
    return gone, new, told


def _port(address: str, *, pxe_enabled: bool) -> dict[str, Any]:
    return {
        "address": address,
        "is_pxe_enabled": pxe_enabled,
        "physical_network": PHYSICAL_NETWORK,
        "extra": {OWN: {"port": True}},
    }


def _same(have: Any, wish: Any) -> bool:
    """Ironic keeps what it was given: 623 or "623", True or "True"."""
    return have is not None and str(have) == str(wish)


def _word(value: Any) -> str:
    return "not set" if value in (None, "") else str(value)


def _escaped(key: str) -> str:
    """A key in a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
