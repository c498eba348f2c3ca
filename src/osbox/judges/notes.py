"""What was there before a suite ran, on disk: only what has come since may be a test's.

It outlives a run that is killed. What could not be removed is named in it then, and nothing else goes by it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osbox import files

BEFORE, LEFT = "before", "left"


@dataclass(frozen=True)
class Note:
    """Of things by kind, each known by a key."""

    file: Path

    def begin(self, there: Mapping[str, Iterable[str]]) -> None:
        """Write down what is there. What was written before a run that did not end is as it was then."""
        said = self._read()
        if BEFORE not in said:
            left = said.get(LEFT, {})
            before = {kind: sorted(set(keys) - set(left.get(kind, ()))) for kind, keys in there.items()}
            files.write(self.file, json.dumps({BEFORE: before}))

    def has_come(self, kind: str, key: str) -> bool:
        """Whether it was not there before; of nothing where there is no note."""
        said = self._read()
        if BEFORE in said:
            return kind in said[BEFORE] and key not in said[BEFORE][kind]
        return key in said.get(LEFT, {}).get(kind, ())

    def end(self, left: Iterable[tuple[str, str]]) -> None:
        """Of what is left, by kind and key; without any the note goes."""
        kept = dict[str, list[str]]()
        for kind, key in left:
            kept.setdefault(kind, []).append(key)
        if kept:
            files.write(self.file, json.dumps({LEFT: kept}))
        else:
            self.file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}
        return found
