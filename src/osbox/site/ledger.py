"""The ledger: what osbox made on the host outside the engine, so that exactly this can be undone.

An entry is written, and on the disk, BEFORE the act. A run that is killed in between leaves an entry too many
(undoing it finds nothing to undo), never a thing that nobody remembers. The first entry of a kind and name
wins: it may hold the state that a thing had before osbox touched it, and a second run must not write the
touched state over it.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from osbox import files, lock
from osbox.errors import Error
from osbox.site.site import Paths

Kind = Literal["link", "address", "firewall", "port", "file", "mount", "namespace", "sysctl"]


class Entry(BaseModel):
    """One thing on the host.

    `made_by` is the command that made it; `details` what is needed to put things back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str
    details: Mapping[str, Any] = Field(default_factory=dict)
    made_by: str = ""


class _Book(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Ledger:
    """`ledger.json` in the state directory. Reading needs no lock: the file is always whole."""

    file: Path

    def entries(self, kind: Kind | None = None) -> tuple[Entry, ...]:
        return tuple(entry for entry in self._read().entries if kind in (None, entry.kind))

    def find(self, kind: Kind, name: str) -> Entry | None:
        return next((entry for entry in self.entries(kind) if entry.name == name), None)

    def add(self, entry: Entry) -> bool:
        """Write an entry down; returns False, and changes nothing, when one of this kind and name is
        there."""
        with self._locked():
            book = self._read()
            if any((known.kind, known.name) == (entry.kind, entry.name) for known in book.entries):
                return False
            self._write((*book.entries, entry))
            return True

    def remove(self, kind: Kind, name: str) -> bool:
        """Strike an entry out, after its thing is gone; returns whether there was one.

        An empty ledger is no file. On a full disk the entry stays, as one does whose thing went by itself: it
        must not keep anybody from removing the rest.
        """
        with self._locked():
            book = self._read()
            kept = tuple(entry for entry in book.entries if (entry.kind, entry.name) != (kind, name))
            if kept != book.entries:
                try:
                    self._write(kept)
                except OSError as error:
                    if error.errno not in lock.FULL:
                        raise
            return kept != book.entries

    def _read(self) -> _Book:
        try:
            return _Book.model_validate_json(self.file.read_bytes())
        except FileNotFoundError:
            return _Book()
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors()]
            raise Error(
                f"{self.file} cannot be read: osbox no longer knows what it made on this machine",
                evidence="\n".join(wrong),
                hint=(
                    f"put a good copy back, or look at `ip link` yourself and then: mv {self.file}"
                    f" {self.file}.bad"
                ),
            ) from error

    def _write(self, entries: tuple[Entry, ...]) -> None:
        if not entries:
            self.file.resolve().unlink()  # a link to another place stays one
            return
        files.write(self.file, _Book(entries=entries).model_dump_json(indent=2) + "\n")

    def _locked(self) -> AbstractContextManager[None]:
        """One writer at a time. The directory itself is the lock, so that no lock file stays behind."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return lock.alone(self.file.parent)


def ledger(home: Path) -> Ledger:
    """The ledger of the deployment whose state directory this is."""
    return Ledger(Paths.ledger.at(home))
