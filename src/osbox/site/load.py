"""Where a deployment is and what its site.toml says, read from this machine."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from osbox import utf8
from osbox.document import printable, said
from osbox.errors import UserError
from osbox.site import package
from osbox.site.site import HOME, Paths, Site

PART = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
KEY = re.compile(rf"\s*({PART}(?:\s*\.\s*{PART})*)\s*=")
HEADING = re.compile(rf"\s*\[\[?\s*({PART}(?:\s*\.\s*{PART})*)\s*\]")
HINT = "docs/commands.md has all keys"
UNFIT = re.compile(r"[:,\"\x00-\x1f\x7f\ud800-\udfff]")
"""What an engine's mounts, or a file of Compose's, cannot have in a path."""
OF_THE_SYSTEM = (
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "proc",
    "run",
    "sbin",
    "sys",
    "usr",
    "var",
)


def find_paths() -> Paths:
    """The checkout that this tool runs from, or what its wheel carries of it; and OSBOX_HOME."""
    home = Path(os.environ.get("OSBOX_HOME") or HOME)
    if not home.is_absolute():
        raise UserError(f"OSBOX_HOME is not an absolute path: {home}")
    _require_fit(home)
    own = Path(__file__).resolve().parents[1]
    carried = own / package.FOLDER
    return Paths(project=carried if (carried / package.FILE).is_file() else own.parents[1], home=home)


def _require_fit(home: Path) -> None:
    """Refuse what cannot be a state directory, before anything is made in it."""
    parts = os.path.normpath(home).strip("/").split("/")
    hint = f"a directory of its own: OSBOX_HOME={HOME}"
    if parts == [""] or (len(parts) == 1 and parts[0] in OF_THE_SYSTEM):
        # A purge removes `tmp`, `logs`, … below it.
        raise UserError(f"OSBOX_HOME is {home}, a directory of the system", hint=hint)
    if UNFIT.search(str(home)):
        shown = printable(str(home))
        raise UserError(f"OSBOX_HOME has a character that no engine can mount: {shown}", hint=hint)
    if any(os.path.exists(place) and not os.path.isdir(place) for place in (home, *home.parents)):  # noqa: PTH110, PTH112 - these raise nothing
        raise UserError(f"OSBOX_HOME is no directory: {home}", hint=hint)


def load_site(home: Path, shared: Mapping[str, Any] | None = None) -> Site:
    """Read `site.toml`; raises UserError naming the file, the line and the key.

    shared: what goes before what it says: --engine, and of what is everybody's another deployment's file.
    """
    file = Paths.site_toml.at(home)
    try:
        text = utf8.read(file) if file.exists() else ""
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        why = str(error)
        if not isinstance(error, tomllib.TOMLDecodeError):
            recursion = isinstance(error, RecursionError)
            why = "too many things in one another" if recursion else "a number has too many digits"
        raise UserError(f"{file} is not valid TOML: {why}", hint=HINT) from error
    try:
        return Site.model_validate({**data, **(shared or {})})
    except ValidationError as error:
        items = error.errors()
        deeper = {item["loc"][:depth] for item in items for depth in range(1, len(item["loc"]))}
        # Of a list with wrong items pydantic says also that it is too short.
        found = [item for item in items if item["loc"] not in deeper]
        lines = "\n".join(printable(_told(text, item["loc"], said(item, Site))) for item in found)
        raise UserError(f"{file} has wrong settings", evidence=lines, hint=HINT) from error


def _told(text: str, where: tuple[int | str, ...], reason: str) -> str:
    """What is wrong, with the lines of the file that it is about; what is said of no line is a default, or
    another deployment's."""
    # Of a quarrel between two keys pydantic names none; we name both.
    quarrel = [(key,) for key in set(re.findall(r"\w+", reason)) & Site.model_fields.keys()]
    found = {_line(text, one) for one in ([where] if where else quarrel)}
    lines = ", ".join(f"line {number}" for number in sorted(filter(None, found)))
    what = ".".join(map(str, where))
    return (f"{lines}: " if lines else "") + (f"{what}: " if what else "") + reason


def _line(text: str, where: tuple[int | str, ...]) -> int:
    """The line that sets a key, or the nearest of the tables around it; 0 if none does."""
    best = depth = 0
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        heading, key = HEADING.match(line), KEY.match(line)
        if heading:
            table = here = _parts(heading[1])
        elif key:
            here = table + _parts(key[1])
        else:
            continue
        common = min(len(here), len(where))  # a.b = 1 is also the line of a
        if common > depth and tuple(here[:common]) == where[:common]:
            best, depth = number, common
    return best


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(PART, dotted)]
