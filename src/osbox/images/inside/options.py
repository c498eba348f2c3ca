"""Runs inside an image, with the image's Python: every option that its project registers, and its
configuration files.

Standard library and what the image has. The last line of its output is JSON; NAMESPACES and PROJECT are put
in front by the caller.
"""

import contextlib
import glob
import io
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

NAMESPACES: list[str] = globals().get("NAMESPACES", [])
PROJECT: str = globals().get("PROJECT", "")


def main() -> list[Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        return [list(options()), dict(files())]


def options() -> Iterator[dict[str, Any]]:
    """What the lists say that oslo-config-generator is made for (entry points oslo.config.opts), after
    projects' own defaults."""
    for entry in metadata.entry_points(group="oslo.config.opts.defaults"):
        if entry.name in NAMESPACES:
            entry.load()()
    for entry in metadata.entry_points(group="oslo.config.opts"):
        for group, found in entry.load()() if entry.name in NAMESPACES else []:
            yield from (described(getattr(group, "name", group) or "DEFAULT", option) for option in found)


def described(group: str, option: Any) -> dict[str, Any]:
    old = [
        [item.group or group, (item.name or option.name).replace("-", "_")] for item in option.deprecated_opts
    ]
    default = option.default
    return {
        "group": group,
        "name": option.dest,
        "type": kind(option.type),
        "multi": bool(option.multi),
        "secret": bool(option.secret),
        "default": (
            None
            if default is None
            else ",".join(map(str, default))
            if isinstance(default, list | tuple)
            else str(default)
        ),
        "old": [item for item in old if item != [group, option.dest]],
    }


def kind(of: Any) -> dict[str, Any]:
    names = {str: "string value", int: "integer value", float: "floating point value"}
    item, regex = getattr(of, "item_type", None), getattr(of, "regex", None)
    return {
        "name": (
            getattr(of, "type_name", None)
            or names.get(of if isinstance(of, type) else object, "unknown value")
        ),
        "choices": [str(choice) for choice in getattr(of, "choices", None) or []],
        "min": getattr(of, "min", None),
        "max": getattr(of, "max", None),
        "max_length": getattr(of, "max_length", None),
        "ignore_case": bool(getattr(of, "ignore_case", False)),
        "regex": getattr(regex, "pattern", ""),
        "item": kind(item) if item else None,
    }


def files() -> Iterator[tuple[str, str]]:
    """The configuration in the order in which oslo.config reads it, the last to win: the project's, a
    program's, the directory's."""
    own = [
        f"/etc/{PROJECT}/{PROJECT}.conf",
        *sorted(glob.glob(f"/etc/{PROJECT}/*.conf")),  # noqa: PTH207 - absolute patterns
    ]
    for name in dict.fromkeys([*own, *sorted(glob.glob(f"/etc/{PROJECT}/{PROJECT}.conf.d/*.conf"))]):  # noqa: PTH207
        with contextlib.suppress(OSError, UnicodeDecodeError):
            yield name, Path(name).read_text(encoding="utf-8")


if __name__ == "__main__":
    print("\n" + json.dumps(main()))
