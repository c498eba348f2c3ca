"""What `make check` takes of a matrix, in turn; `make check-full` takes all of it."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from osbox.releases import release


def sample(releases: Sequence[str]) -> str:
    """A release other than the default one: every day another.

    OSBOX_CHECK_RELEASE names it, to run again what was red on another day.
    """
    others = [name for name in releases if name != release.DEFAULT]
    return os.environ.get("OSBOX_CHECK_RELEASE") or others[datetime.now(UTC).toordinal() % len(others)]
