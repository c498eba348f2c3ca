"""Site options by their oslo.config names, checked against the options that a service really registers. Pure.

Address.parse("nova.DEFAULT.debug")      a project (all its services) or one service, a group, an option
known.find(address)                      the Option; UserError with the nearest name
text(address, option, value)             what the variable OS_<GROUP>__<OPTION> is set to; UserError naming
what is allowed
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from osbox.cloud.services import SERVICES
from osbox.errors import UserError
from osbox.images import oslo
from osbox.images.catalogue import IMAGES
from osbox.site.site import Value

TRUE, FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no")  # oslo.config's own, in any case
REFERENCE = re.compile(r"\$(?:\$|\{?([_a-z][._a-z0-9]*)\}?)")  # oslo.config's own pattern
SURROGATE = re.compile("[\ud800-\udfff]")
PROJECT_OF = {
    image.name.removeprefix("os-"): image.project for image in IMAGES if image.project in oslo.NAMESPACES
}
"""The project of every service that reads oslo.config."""
PROJECTS = tuple(dict.fromkeys(PROJECT_OF.values()))
FORM = (
    "PROJECT.GROUP.OPTION or SERVICE.GROUP.OPTION, as nova.DEFAULT.debug or nova-scheduler.scheduler.workers"
)


@dataclass(frozen=True)
class Address:
    """An option of a site. word: a project or a service; option: with `_`, as it is looked up."""

    word: str
    group: str
    option: str

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Raises UserError for what has not three parts, or begins with no project or service that reads
        oslo.config."""
        parts = text.split(".")
        if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - word, group, option
            raise UserError(f"{text} does not name an option", hint=f"it is {FORM}")
        require_word(parts[0])
        return cls(parts[0], parts[1], parts[2].replace("-", "_"))

    def __str__(self) -> str:
        return f"{self.word}.{self.group}.{self.option}"

    @property
    def project(self) -> str:
        return PROJECT_OF.get(self.word, self.word)

    @property
    def services(self) -> tuple[str, ...]:
        """The services that it is for."""
        return (
            (self.word,)
            if self.word in PROJECT_OF
            else tuple(name for name, project in PROJECT_OF.items() if project == self.word)
        )

    @property
    def variable(self) -> str:
        """The variable that oslo.config's environment driver looks for."""
        return variable(self.group, self.option)


def variable(group: str, option: str) -> str:
    return f"OS_{group.upper()}__{option.upper()}"


def require_word(word: str) -> None:
    """Raises UserError unless a project or a service that reads oslo.config is called so."""
    if word in PROJECT_OF or word in PROJECTS:
        return
    others = {"swift", *SERVICES} - set(PROJECT_OF)
    if word in others:
        raise UserError(
            f"{word} has no options to set: it does not read oslo.config",
            hint="those that do: " + ", ".join(PROJECTS),
        )
    near = difflib.get_close_matches(word, [*PROJECTS, *PROJECT_OF], 1)
    raise UserError(
        f"no project or service is called {word}",
        hint=f"did you mean {near[0]}?" if near else "projects: " + ", ".join(PROJECTS),
    )


@dataclass(frozen=True)
class Type:
    """What values an option takes.

    name: in oslo.config's words, as `integer value`; item: of a list's elements.
    """

    name: str
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    ignore_case: bool = False
    regex: str = ""
    max_length: int | None = None
    item: "Type | None" = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Type":
        item = data.get("item")
        return cls(
            **{**data, "choices": tuple(data.get("choices") or ()), "item": cls.of(item) if item else None}
        )


@dataclass(frozen=True)
class Option:
    """An option as its service registers it.

    multi: may stand several times in a file; old: its deprecated groups and names.
    """

    group: str
    name: str
    type: Type
    default: str | None = None
    multi: bool = False
    secret: bool = False
    old: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Known:
    """The options of a project.

    auth: groups whose plug-in of keystoneauth has options of its own; files: its configuration by path.
    """

    project: str
    options: Mapping[tuple[str, str], Option]
    auth: frozenset[str] = frozenset()
    files: Mapping[str, str] = field(default_factory=dict)

    def find(self, address: Address) -> Option:
        """The option; raises UserError for one that is not there, with the nearest name."""
        group = oslo.NAMED_GROUPS.get(self.project, {}).get(address.group, address.group)
        found = self.options.get((group, address.option))
        if found:
            return found
        if address.group in self.auth and address.option in oslo.AUTH:
            return Option(
                address.group, address.option, Type("string value"), secret=address.option == "password"
            )
        raise UserError(
            f"{self.project} has no option [{address.group}] {address.option}", hint=self._nearest(address)
        )

    def _nearest(self, address: Address) -> str:
        for option in self.options.values():
            if (address.group, address.option) in option.old:
                return f"it is called {address.word}.{option.group}.{option.name} now"
        names = [name for group, name in self.options if group == address.group]
        groups = sorted({group for group, name in self.options if name == address.option})
        near = _close(address.option, names)
        if near:
            return f"did you mean {address.word}.{address.group}.{near}?"
        if groups:
            return (
                "did you mean "
                + " or ".join(f"{address.word}.{group}.{address.option}" for group in groups[:4])
                + "?"
            )
        group = _close(address.group, {group for group, _ in self.options})
        if not names and group:
            near = _close(address.option, [name for other, name in self.options if other == group])
            return f"did you mean {address.word}.{group}.{near or '…'}?"
        return (
            f"the options of {self.project}: https://docs.openstack.org/{self.project}/latest/configuration/"
        )


def _close(word: str, names: Iterable[str]) -> str:
    """The name most like a word, whatever its case; "" when none is like it."""
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), list(by_lower), 1)
    return by_lower[near[0]] if near else ""


def text(address: Address, option: Option, value: Value, known: Known) -> str:
    """A value as the environment carries it; raises UserError for one that the option does not take."""
    if option.multi:
        raise UserError(
            f"{address} cannot be set here: it may stand several times in a file, and oslo.config's"
            " environment carries one value",
            hint="there is no other way yet",
        )
    if option.secret:
        raise UserError(
            f"{address} is a secret: site.toml, `docker inspect` and a plan would show it",
            hint="osbox has no place for it yet",
        )
    if isinstance(value, list):
        if option.type.name != "list value":
            raise UserError(f"{address} is no list: it takes {allowed(option.type)}")
        if any("," in str(item) for item in value):
            raise UserError(f"{address}: an element of a list cannot have a comma in it")
    written = ",".join(map(plain, value)) if isinstance(value, list) else plain(value)
    why = "it has a NUL character" if "\0" in written else refused(option.type, written)
    if SURROGATE.search(written):  # what Python makes of an argument's bytes that are not UTF-8
        raise UserError(f"{address}: the value is not UTF-8", hint="write it in UTF-8, as the file will be")
    if why:
        raise UserError(f"{address} cannot be {written!r}: {why}", hint=f"it takes {allowed(option.type)}")
    for reference in filter(None, REFERENCE.findall(written)):
        group, _, name = reference.rpartition(".")
        if not {(group or address.group, name), ("DEFAULT", reference)} & set(known.options):
            raise UserError(
                f"{address}: ${reference} stands for an option that {known.project} does not have",
                hint="a $ itself is written $$",
            )
    return written


def plain(value: Any) -> str:
    """A TOML value as oslo.config reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def refused(kind: Type, value: str) -> str:
    """Why a type does not take a value; "" when it does, or when only the service can tell."""
    if kind.name.startswith(("integer", "floating point", "port")):
        return _no_number(kind, value)
    ways = {
        "boolean value": _no_switch,
        "list value": _no_list,
        "dict value": _no_dict,
        "IP address value": _no_address,
    }
    return ways.get(kind.name, _no_text)(kind, value)


def _no_switch(_: Type, value: str) -> str:
    return "" if value.lower() in TRUE + FALSE else "it is neither true nor false"


def _no_list(kind: Type, value: str) -> str:
    items = [item.strip() for item in value.split(",")] if value.strip() else []
    return next((why for item in items if kind.item and (why := refused(kind.item, item))), "")


def _no_dict(_: Type, value: str) -> str:
    return (
        "" if all(":" in item for item in value.split(",") if item.strip()) else "it is no list of key:value"
    )


def _no_number(kind: Type, value: str) -> str:
    try:
        number = float(value) if kind.name.startswith("floating") else int(value)
    except ValueError:
        return "it is no number" if kind.name.startswith("floating") else "it is no whole number"
    if kind.choices and value not in kind.choices:
        return "it is none of the choices"
    if kind.min is not None and number < kind.min:
        return "it is too small"
    return "it is too large" if kind.max is not None and number > kind.max else ""


def _no_address(_: Type, value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return "it is no IP address"
    return ""


def _no_text(kind: Type, value: str) -> str:
    if kind.choices:
        same = (lambda word: word.lower()) if kind.ignore_case else str
        return "" if same(value) in map(same, kind.choices) else "it is none of the choices"
    if kind.regex and not re.search(kind.regex, value):
        return f"it does not match {kind.regex}"
    return "it is too long" if kind.max_length and len(value) > kind.max_length else ""


def allowed(kind: Type) -> str:
    """What a type takes, in words."""
    if kind.choices:
        return "one of " + ", ".join(choice or '""' for choice in kind.choices)
    if kind.name == "boolean value":
        return "true or false"
    what = (
        f"a list (commas between) of: {allowed(kind.item)}"
        if kind.name == "list value" and kind.item
        else f"a {kind.name}"
    )
    what = what.replace("a integer", "an integer").replace("a IP", "an IP").replace("a unknown", "an unknown")
    low = "" if kind.min is None else f" from {kind.min:g}"
    return what + low + ("" if kind.max is None else f" up to {kind.max:g}")
