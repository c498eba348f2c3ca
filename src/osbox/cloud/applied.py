"""What `osbox up` last applied, kept to tell why a plan changes something, and how long each service took to
start.

Nothing is decided by it: without the file, or with an old one, a plan lists the same changes with fewer
reasons.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from osbox import files
from osbox.cloud.changes import Config, Start
from osbox.site.site import Paths

FORMAT = 1


@dataclass(frozen=True)
class Applied:
    """services: the settings each container was started with; starts: the last measured start of each
    service."""

    services: Mapping[str, Config] = field(default_factory=dict)
    starts: Mapping[str, Start] = field(default_factory=dict)


def read(paths: Paths) -> Applied:
    """What was applied last; empty when nothing was, or when it cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        data: dict[str, Any] = json.loads((paths.applied).read_text())
        if data["format"] == FORMAT:
            return Applied(
                dict(data["services"]), {name: Start(**item) for name, item in data["starts"].items()}
            )
    return Applied()


def write(paths: Paths, applied: Applied) -> None:
    """Keep it, whole or not at all (0600: a site's option may be nobody else's business)."""
    starts = {name: asdict(start) for name, start in applied.starts.items()}
    whole = {"format": FORMAT, "services": applied.services, "starts": starts}
    files.write_changed(paths.applied, json.dumps(whole, sort_keys=True), mode=files.PRIVATE)
