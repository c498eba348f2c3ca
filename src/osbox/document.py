"""YAML that a person wrote, checked against a pydantic model, every complaint with its line.

document = read(file)                       UserError on a syntax error or on a key that stands twice
inventory, problems = document.check(Inventory)     None, [Problem(12, "nodes[1].ports[0].address", "'…' is
not a MAC address")]
"""

import difflib
import gc
import re
import typing
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from osbox import utf8
from osbox.errors import UserError

M = TypeVar("M", bound=BaseModel)
Location = tuple[int | str, ...]
SHOWN = (str, int, float)
LARGEST = 64 << 20  # bytes; sixty thousand nodes have 20 MB
NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(
        r"[-+]?(?:0b_*[01][01_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|0[0-7_]*|[1-9][0-9_]*)$"
    ),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|\.inf)$|\.nan$"
    ),
}
READ_AS = {"null": "nothing", "bool": "true or false", "int": "a number", "float": "a number"}
"""What YAML takes a bare word for, by the last word of its tag."""
TAGS = (*READ_AS, "str", "seq", "map")
"""What JSON has, too: a date is text, and there is nothing else that Ironic could not be sent."""
WORDS = {
    "bool_type": "{} is neither true nor false",
    "dict_type": "must be a mapping",
    "greater_than_equal": "{} is less than {ge}",
    "int_from_float": "{} is not a whole number",
    "int_parsing": "{} is not a whole number",
    "int_type": "{} is not a whole number",
    "less_than_equal": "{} is more than {le}",
    "missing": "is missing",
    "path_type": "{} is not a path: put it in quotes",
    "model_type": "must be a mapping (keys: {fields})",
    "string_pattern_mismatch": "{} has characters that are not allowed here (allowed: {pattern})",
    "string_too_long": "has more than {max_length} characters",
    "string_too_short": "must not be empty",
    "string_type": "{} is not text: put it in quotes",
    "too_long": "has more than {max_length} items",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}
"""Pydantic's kinds of errors as a person would say them."""


LONGEST = 60
"""How much of a wrong value is shown."""
TOLD = 100
"""Of many problems, how many are told: a mistake made in every one of ten thousand nodes is seen in fewer."""
NO_YAML = yaml.reader.Reader.NON_PRINTABLE
BY_LIBYAML = yaml.__with_libyaml__
"""Which knows lines as well, and is many times as quick. PyYAML was built without it where no wheel of it
fits the machine."""


class Loader(yaml.CSafeLoader if BY_LIBYAML else yaml.SafeLoader):  # type: ignore[misc]  # whichever it is
    """YAML without the numbers in base 60 of its version 1.1, which take 52:54:00:12:34:56 for one; without
    its dates, of which 2026-02-30 is none; and without tags but those of what JSON has."""


def _tag(word: str) -> str:
    return f"tag:yaml.org,2002:{word}"


def _refusing(kind: str) -> Callable[[Any, Any], Any]:
    """What makes a value of a tag, but says with the line what Python's own functions raise something of
    theirs for: `!!int x`, or a number of five thousand digits."""
    made = yaml.SafeLoader.yaml_constructors[_tag(kind)]

    def construct(loader: Any, node: yaml.Node) -> Any:
        try:
            return made(loader, node)
        except (ValueError, LookupError):
            problem = f"this cannot be read as {READ_AS[kind]}"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark) from None

    return construct


def _unknown(_: Any, node: yaml.Node) -> Any:
    """A tag is told without its name: it may be a password that begins with a !."""
    problem = "what begins with ! is a tag that is not known here: put it in quotes"
    if node.tag == _tag("merge"):
        problem = "<< is YAML's word for what is merged in, and no value: put it in quotes"
    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, NUMBERS.get(tag, pattern))
        for tag, pattern in resolvers
        if tag in {_tag(word) for word in (*TAGS, "merge")}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.yaml_constructors = {
    None: _unknown,
    **{_tag(kind): yaml.SafeLoader.yaml_constructors[_tag(kind)] for kind in TAGS},
    **{_tag(kind): _refusing(kind) for kind in ("bool", "int", "float")},
}


@dataclass(frozen=True, order=True)
class Problem:
    """One complaint, and where in the file it belongs."""

    line: int
    where: str
    what: str

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.what}" if self.where else self.what)


@dataclass(frozen=True)
class Document:
    """A YAML file: its data, and its nodes, which know their lines."""

    name: str
    data: Any
    root: yaml.Node | None

    def line(self, location: Location) -> int:
        """The line (from 1) of the deepest part of a location that is in the file."""
        node, line = self.root, 1
        for part in location:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return line

    def problem(self, location: Location, what: str) -> Problem:
        return Problem(self.line(location), path(location), what)

    def check(self, model: type[M]) -> tuple[M | None, list[Problem]]:
        """The data as the model has it, or what that says against them."""
        try:
            return model.model_validate(self.data), []
        except ValidationError as error:
            items = error.errors(include_url=False)
            return None, [self.problem(item["loc"], said(item, model)) for item in items]

    def refuse(self, problems: Sequence[Problem], hint: str = "") -> UserError:
        """All problems as one error, in the order of the file."""
        found = sorted(set(problems))
        count = "a problem" if len(found) == 1 else f"{len(found)} problems"
        lines = [f"{self.name}:{problem.line}: {problem}" for problem in found[:TOLD]]
        lines += [f"and {len(found) - TOLD} more"] if len(found) > TOLD else []
        return UserError(f"{self.name} has {count}", evidence="\n".join(lines), hint=hint)


@contextmanager
def uncollected() -> Iterator[None]:
    """A block in which Python does not look for garbage.

    A file of ten thousand nodes becomes a million objects, all of them in use: to look through them again and
    again took 2.5 of 4 s.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def read(file: Path, hint: str = "") -> Document:
    """Read a YAML file; no data of it is ever in an error, since it may hold passwords."""
    if file.is_file() and file.stat().st_size > LARGEST:  # a disk that was named by mistake fills no memory
        raise UserError(
            f"cannot read {file}: it has more than {LARGEST >> 20} MiB, and is no YAML that a person wrote",
            hint=hint,
        )
    text = utf8.read(file, hint)
    strange = NO_YAML.search(text)
    if strange:
        line = text.count("\n", 0, strange.start()) + 1
        evidence = f"{file.name}:{line}: the control character U+{ord(strange[0]):04X}"
        raise UserError(f"{file.name} is not valid YAML", evidence=evidence, hint=hint)
    loader = Loader(text)
    try:
        root = loader.get_single_node()
        document = Document(file.name, None, root)
        wrong = _keys(root, (), {})
        if wrong:
            raise document.refuse(wrong, hint)
        return Document(file.name, loader.construct_document(root) if root else None, root)
    except (yaml.YAMLError, RecursionError) as error:
        evidence = f"{file.name}{_complaint(error)}"
        raise UserError(f"{file.name} is not valid YAML", evidence=evidence, hint=hint) from error
    finally:
        loader.dispose()


def _complaint(error: Exception) -> str:
    """What the loader does not like, with its line where that is known."""
    if isinstance(error, RecursionError):
        return ": too many things in one another"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f": {error}"
    line = error.problem_mark.line + 1 if error.problem_mark else 1
    if str(error.problem).startswith("found undefined alias"):  # its name may be a password
        return f":{line}: what begins with * is an alias of something that is not there: put it in quotes"
    begun = error.context_mark.line + 1 if error.context_mark else 0
    return f":{line}: {error.problem}" + (f" ({error.context} that begins in line {begun})" if begun else "")


def path(location: Location) -> str:
    """nodes[1].ports[0].address"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def printable(text: str) -> str:
    """The text with what nobody sees, or a terminal obeys, as an escape: \\x1b, \\u200b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def guess(word: str, known: Sequence[str]) -> str:
    """`, did you mean 'ports'?` or, with nothing alike in any case, what there is."""
    lower = {name.lower(): name for name in known}
    alike = difflib.get_close_matches(word.lower(), lower, n=1)
    return f", did you mean '{lower[alike[0]]}'?" if alike else f" (known: {', '.join(known)})"


def _child(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node, int] | None:
    """The node below and the line where it is announced: its key's, for the values of a mapping."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):  # what is merged in stands before a mapping's own
            if key.value == str(part):
                return value, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None


def _keys(node: yaml.Node | None, where: Location, known: dict[int, bool]) -> list[Problem]:
    """Keys that stand twice in one mapping, of which YAML would silently take the last, and those that are no
    text; and what contains itself.

    known: whether nodes that were looked at are done with, by id; an alias leads to one of them again.
    """
    if node is None or known.get(id(node)):
        return []
    if id(node) in known:
        return [Problem(node.start_mark.line + 1, path(where), "an alias in it leads back to it")]
    known[id(node)] = False
    found: list[Problem] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            here, line = (*where, name), key.start_mark.line + 1
            if name in seen:
                found.append(Problem(line, path(here), "this key stands here a second time"))
            kind = READ_AS.get(key.tag.rpartition(":")[2])
            if kind:
                found.append(Problem(line, path(here), f"YAML reads this key as {kind}: put it in quotes"))
            elif not isinstance(key, yaml.ScalarNode):
                found.append(Problem(line, path(where), "a key in it is no word but a list or a mapping"))
            seen.add(name)
            found += _keys(value, here, known)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found += _keys(item, (*where, index), known)
    known[id(node)] = True
    return found


def said(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """What one of pydantic's errors says, in our words."""
    words = _words(item, model)
    return words + _alike(item, words)


def _words(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One of pydantic's errors in our words; values are shown where they are words or numbers and no
    secret."""
    location, kind, given = item["loc"], item["type"], item["input"]
    value = f"'{shortened(given)}'" if isinstance(given, SHOWN) and "password" not in location else "this"
    if kind == "string_type" and (given is None or isinstance(given, (list, dict))):
        return "has no value" if given is None else "must be text, and no list or mapping"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "extra_forbidden":
        return "there is no such key" + guess(str(location[-1]), _fields(model, location[:-1]))
    if kind in ("enum", "literal_error"):
        known = item["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{value} is not known" + guess(str(given), known)
    context = {"fields": ", ".join(_fields(model, location)), **item.get("ctx", {})}
    return WORDS.get(kind, f"{{}}: {item['msg'][:1].lower()}{item['msg'][1:]}").format(value, **context)


def shortened(value: object) -> str:
    """A value as an error shows it."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _alike(item: Mapping[str, Any], words: str) -> str:
    """What a wrong value, or an unknown key, has that looks like another letter: a Cyrillic а.

    Only of what is shown: a value that the words leave out may be a password.
    """
    unknown = item["type"] == "extra_forbidden"
    given = item["loc"][-1] if unknown else item["input"]
    if not isinstance(given, str) or not (unknown or f"'{given[: LONGEST - 1]}" in words):
        return ""
    odd = next((c for c in given[:LONGEST] if not c.isascii() and c.isprintable()), "")
    return f"; its '{odd}' is U+{ord(odd):04X} {unicodedata.name(odd, '')}".rstrip() if odd else ""


def _fields(model: type[BaseModel], location: Location) -> list[str]:
    """The keys that are known at a location."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if current else None
        current = _model_in(field.annotation) if field else None
    return list(current.model_fields) if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
