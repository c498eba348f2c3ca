"""A file system without room for one more file."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest


def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no file can be made; those that are there can be opened."""
    real = os.open

    def full(path: Any, flags: int, *more: Any, **words: Any) -> int:
        if flags & os.O_CREAT and not Path(path).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, flags, *more, **words)

    monkeypatch.setattr(os, "open", full)
