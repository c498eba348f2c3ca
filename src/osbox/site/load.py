"""Where a deployment is and what its site.toml says, read from this machine."""

import os
import pwd
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

ELSEWHERE = f"set it to a directory of its own, such as {HOME}, or unset it"
LASTING = {"/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/usr/local", "/var", "/var/lib"}
"""Of SYSTEM, where a directory of one's own may be: others are programs', the kernel's, or emptied."""
SYSTEM = LASTING | {
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys"),
    *("/tmp", "/usr", "/usr/share", "/var/cache", "/var/log", "/var/tmp"),  # noqa: S108 - to refuse it
}
"""Directories that others have things in, some of a name that osbox uses, too."""
PART = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
KEY = re.compile(rf"\s*({PART}(?:\s*\.\s*{PART})*)\s*=")
HEADING = re.compile(rf"\s*\[\[?\s*({PART}(?:\s*\.\s*{PART})*)\s*\]")
PEOPLE = 1000
"""The first user number of a person: a home of the system's own users may be all that osbox has."""
HINT = "docs/commands.md has all keys"


def find_paths() -> Paths:
    """The checkout that this tool runs from, or what its wheel carries of it; and OSBOX_HOME."""
    home = Path(os.environ.get("OSBOX_HOME") or HOME)
    own = Path(__file__).resolve().parents[1]
    carried = own / package.FOLDER
    project = carried if (carried / package.FILE).is_file() else own.parents[1]
    _require_usable(home, project)
    return Paths(project=project, home=home)


def _require_usable(home: Path, project: Path) -> None:
    """Raise UserError for a state directory that cannot be one, or that is others', too: a purge removes what
    is called tmp, logs, tests or tools there."""
    if not home.is_absolute():
        raise UserError(f"OSBOX_HOME is not an absolute path: {home}", hint=ELSEWHERE)
    if not str(home).isprintable() or set(str(home)) & set(':,"'):
        raise UserError(
            f"OSBOX_HOME has a character that Docker reads as another: {str(home)!r}", hint=ELSEWHERE
        )
    try:
        if home.exists() and not home.is_dir():
            raise UserError(f"OSBOX_HOME is no directory: {home}", hint=ELSEWHERE)
        home.lstat()
    except FileNotFoundError:
        pass
    except PermissionError:
        return  # what needs it says so
    except OSError as error:
        raise UserError(f"OSBOX_HOME cannot be used: {error.strerror}: {home}", hint=ELSEWHERE) from error
    place = os.path.realpath(home)
    if str(home) == HOME:
        return
    own = _homes() | {str(project)}
    if place in own | {os.path.realpath(one) for one in SYSTEM}:
        below = f"OSBOX_HOME={Path(place) / 'osbox'}, or without it {HOME}"
        raise UserError(
            f"OSBOX_HOME is {place}, which is not for osbox alone: osbox down --purge would empty it",
            hint=below if place in (own - SYSTEM) | LASTING else f"unset it: it is {HOME} then",
        )


def _homes() -> set[str]:
    """Where people are at home: with sudo, ~ is root's."""
    people = [user.pw_dir for user in pwd.getpwall() if user.pw_uid >= PEOPLE]
    found = {os.path.realpath(one) for one in (os.path.expanduser("~"), *people) if one}  # noqa: PTH111 - of nobody's home it says nothing
    return found - {HOME, "/"}


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
