"""Write a file whole or not at all: whoever is killed, or finds the disk full, leaves the old one."""

import os
from pathlib import Path


def write_private(file: Path, content: str | bytes, *, owner: int | None = None) -> None:
    """Write a file with mode 0600, on the disk before it has its name; owner: the user and group it is given, ours without one."""
    new = file.with_name(f"{file.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, 0o600)  # it may have been there
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(descriptor)
    if owner is not None:
        os.chown(new, owner, owner)
    new.rename(file)
