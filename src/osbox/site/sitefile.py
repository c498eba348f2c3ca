"""site.toml, changed in place: comments, order and everything else of it stay as people wrote them."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from osbox import files, lock, utf8
from osbox.errors import Error
from osbox.site.load import load_site
from osbox.site.site import Paths, Value

Where = tuple[str, ...]
"""A key and the tables it is in: ("options", "nova", "DEFAULT", "debug")."""


def put(home: Path, values: Mapping[Where, Value]) -> list[Where]:
    """Set values; returns the keys whose value was another one, or none."""
    return _change(home, values)


def remove(home: Path, keys: Iterable[Where]) -> list[Where]:
    """Remove keys, and tables that are empty then; returns those that were there."""
    return _change(home, dict.fromkeys(keys)) if Paths.site_toml.at(home).exists() else []


def _change(home: Path, edits: Mapping[Where, Value | None]) -> list[Where]:
    """Make the edits (None: remove) and write the file; returns those that changed something."""
    home.mkdir(parents=True, exist_ok=True)
    with lock.alone(home):  # two commands at once change the file one after the other
        load_site(home)  # a file with errors is told, not made worse
        file = Paths.site_toml.at(home)
        text, done = utf8.decode(utf8.content(file), file) if file.exists() else "", []
        for where, value in edits.items():
            data = tomllib.loads(text)
            if repr(_value(data, where)) != repr(value):  # 1 is not true
                _by_tables(data, where, value, lambda _: {})
                text = _edited(text, where, value, data, file)
                done.append(where)
        if done:
            files.write(file, text)
        return done


def _value(data: Any, where: Where) -> Any:
    for name in where[:-1]:
        data = data.get(name, {})
    return data.get(where[-1])


def _edited(text: str, where: Where, value: Value | None, expected: Mapping[str, Any], file: Path) -> str:
    """The text with one edit that makes it say what is wanted: in tables of its own, or as a dotted key
    beside such."""
    import tomlkit  # noqa: PLC0415 - only commands that change the file pay for it
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    for way in (partial(_by_tables, new=_table), _by_dots_below, _by_dots):
        with suppress(
            TOMLKitError, ValueError, AttributeError
        ):  # what tomlkit says of a key that has no place there
            document = tomlkit.parse(text)
            way(document, where, value)
            found = tomlkit.dumps(document)
            if tomllib.loads(found) == expected:
                return found
    name = ".".join(where)
    raise Error(
        f"{file} is written in a way that {name} could not be changed in",
        hint="change it with an editor, then osbox plan",
    )


def _by_tables(tables: Any, where: Where, value: Value | None, new: Callable[[Any], Any]) -> None:
    """Go down to the table of a key, making those that are missing; do the edit; remove what it leaves
    empty."""
    *path, key = where
    chain = [tables]
    for name in path:
        if name not in chain[-1]:
            chain[-1][name] = new(chain[-1])
        chain.append(chain[-1][name])
    if value is not None:
        chain[-1][key] = value
        return
    chain[-1].pop(key, None)
    for above, name in zip(reversed(chain[:-1]), reversed(path), strict=True):
        if not above[name]:
            del above[name]


def _by_dots_below(document: Any, where: Where, value: Value | None) -> None:
    _by_dots(document[where[0]], where[1:], value)


def _by_dots(table: Any, where: Where, value: Value | None) -> None:
    import tomlkit  # noqa: PLC0415 - see above

    table.append(tomlkit.key(list(where)), value)


def _table(above: Any) -> Any:
    """A table that fits into another one; without a heading as long as only tables are in it."""
    import tomlkit  # noqa: PLC0415 - see above
    from tomlkit.items import InlineTable  # noqa: PLC0415

    return tomlkit.inline_table() if isinstance(above, InlineTable) else tomlkit.table(is_super_table=True)
