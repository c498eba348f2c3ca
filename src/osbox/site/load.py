"""Where a deployment is and what its site.toml says, read from this machine."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from osbox import utf8
from osbox.errors import UserError
from osbox.site import package
from osbox.site.site import HOME, Paths, Site

ELSEWHERE = f"set it to a directory of its own, such as {HOME}, or unset it"
SYSTEM = {
    *(
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib64",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
    ),
    *("/tmp", "/usr", "/usr/local", "/usr/share", "/var"),  # noqa: S108 - to refuse it
    *("/var/cache", "/var/lib", "/var/log", "/var/tmp"),  # noqa: S108 - to refuse it
}
"""Directories that others have things in, some of a name that osbox uses, too."""


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
    if str(home) != HOME and place in {*SYSTEM, os.path.realpath(os.path.expanduser("~")), str(project)}:  # noqa: PTH111 - of nobody's home it says nothing
        raise UserError(
            f"OSBOX_HOME is {place}, which is not for osbox alone: osbox down --purge would empty it",
            hint=f"OSBOX_HOME={Path(place) / 'osbox'}, or without it {HOME}",
        )


def load_site(home: Path, shared: Mapping[str, Any] | None = None) -> Site:
    """Read `site.toml`; raises UserError naming the file, the line and the key.

    shared: what goes before what it says: --engine, and of what is everybody's another deployment's file.
    """
    file = Paths.site_toml.at(home)
    try:
        text = utf8.read(file) if file.exists() else ""
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {error}") from error
    try:
        return Site.model_validate({**data, **(shared or {})})
    except ValidationError as error:
        lines = "\n".join(_told(text, item["loc"], item["msg"]) for item in error.errors())
        raise UserError(
            f"{file} has wrong settings", evidence=lines, hint="known keys: " + ", ".join(Site.model_fields)
        ) from error


def _told(text: str, where: tuple[int | str, ...], message: str) -> str:
    """What is wrong, with the lines of the file that it is about; what is said of no line is a default, or
    another deployment's."""
    reason = message.removeprefix("Value error, ")
    # Of a quarrel between two keys pydantic names none; we name both.
    keys = {str(part) for part in where[:1]} or set(re.findall(r"\w+", reason)) & Site.model_fields.keys()
    found = [_line(text, key) for key in keys]
    lines = ", ".join(f"line {number}" for number in sorted(filter(None, found)))
    what = ".".join(map(str, where))
    return (f"{lines}: " if lines else "") + (f"{what}: " if what else "") + reason


def _line(text: str, key: str) -> int:
    """The line that sets a key at the top of the file, or begins its table; 0 if none does."""
    wanted = re.compile(rf"""\s*\[?\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    return next((n for n, line in enumerate(text.splitlines(), 1) if wanted.match(line)), 0)
