"""Compose's env_file, written so that every value arrives byte for byte. Pure.

Compose takes a value in single quotes as it is, but for a backslash before a quote or at the end. In double
quotes it knows escapes and fills in variables; `$$` is a `$`. (`format: raw`, which needs none of it, came
with Compose 2.30.)
"""

from collections.abc import Mapping

ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "$$", "\n": "\\n", "\r": "\\r"}


def text(values: Mapping[str, str]) -> str:
    """The whole file: a line for each variable, in order of their names."""
    return "".join(f"{name}={quoted(values[name])}\n" for name in sorted(values))


def quoted(value: str) -> str:
    """A value as Compose reads it back.

    A NUL cannot be in an environment; TOML and the command line have none.
    """
    if not set(value) & set("'\\\n\r"):
        return f"'{value}'"
    return '"' + "".join(ESCAPES.get(char, char) for char in value) + '"'
