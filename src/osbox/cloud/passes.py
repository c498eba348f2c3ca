"""Swift's passes, as its own program in the container `swift-daemons` tells of them."""

import json
from dataclasses import dataclass

from osbox import plain
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Site

SERVICE = "swift-daemons"
SECONDS = 5
"""For an answer: they are shown beside what was asked for, and nobody waits for them."""


@dataclass(frozen=True)
class Pass:
    """The last pass of a daemon that ended.

    ago: seconds since then, None when none has ended yet, and so is `seconds`, what it took. code: its exit
    code, negative for a signal; errors: lines of that level in its log. wrong: what health has to say of it,
    or "".
    """

    name: str
    lane: str
    ago: float | None
    seconds: float | None
    code: int
    errors: int
    wrong: str


def ask(engine: Engine, site: Site) -> list[Pass]:
    """Those of the container that runs; none when it does not say them at once."""
    words = ("exec", f"{SERVICE}.{site.name}", SERVICE, "passes")
    try:
        return read(docker.ask(engine, *words, check=False, seconds=SECONDS).out)
    except Error:
        return []


def read(text: str) -> list[Pass]:
    """The answer as values; none when it is none, or of an image that tells them in another way."""
    try:
        return [
            Pass(
                plain.text(name),
                plain.text(one["lane"]),
                None if one.get("ago") is None else float(one["ago"]),
                None if one.get("seconds") is None else float(one["seconds"]),
                int(one.get("code", 0)),
                int(one.get("errors", 0)),
                plain.text(one["wrong"]),
            )
            for name, one in json.loads(text).items()
        ]
    except (ValueError, TypeError, AttributeError, LookupError):
        return []
