"""What was read of an image once, kept in the state directory by the image's id: an image of that id never
changes."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from osbox import files
from osbox.site.site import Paths

FORMAT = 1  # of the kept files; another number and they are read anew


def kept(paths: Paths, image_id: str, what: str) -> list[Any] | None:
    """What is kept of an image (its id, with or without sha256:); None when nothing is."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        data = json.loads(_file(paths, image_id, what).read_text())
        return list(data["rows"]) if data["format"] == FORMAT else None
    return None


def keep(paths: Paths, image_id: str, what: str, rows: Sequence[Any]) -> None:
    """Another process may be writing the same."""
    files.write(_file(paths, image_id, what), json.dumps({"format": FORMAT, "rows": rows}), shared=True)


def forget(paths: Paths, ids: Iterable[str]) -> None:
    """Remove what is kept of all images but these."""
    there = {one.removeprefix("sha256:") for one in ids}
    for file in paths.inventory.glob("*.json"):
        if file.name.partition(".")[0] not in there:
            file.unlink(missing_ok=True)


def _file(paths: Paths, image_id: str, what: str) -> Path:
    return paths.inventory / f"{image_id.removeprefix('sha256:')}.{what}.json"
