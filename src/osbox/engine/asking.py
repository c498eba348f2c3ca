"""Questions to the engine's client, answered in values: what is there, or that the engine gave no answer.

client: the words that reach it, which end in `docker`. Whoever has an Engine asks osbox.engine.docker.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from osbox import run
from osbox.engine import info
from osbox.engine.info import ContainerInfo, ImageInfo, NetworkInfo
from osbox.errors import Error

SHOWN = 500  # characters of an answer that cannot be read
SECONDS = 120
"""What an engine has for an answer, also beside builds and removals; a hung one takes for ever."""

T = TypeVar("T")


class SilentError(Error):
    """The engine was asked, and has said nothing."""


def ask(
    argv: Sequence[str],
    *,
    check: bool = True,
    seconds: float | None = None,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
) -> run.Result:
    """Put a question to the engine.

    seconds: how long it has, SECONDS without. Raises SilentError when they are over; and Error when the
    client fails, with check.
    """
    limit = SECONDS if seconds is None else seconds
    try:
        return run.run(argv, check=check, timeout=limit, input=text, env=env)
    except run.LateError as late:
        raise SilentError(
            f"the container engine gave no answer within {limit:.0f} s",
            evidence=f"$ {run.line(argv)}",
            hint="osbox engine status",
        ) from late


def images(client: Sequence[str], names: Sequence[str]) -> list[ImageInfo]:
    """Those that exist, in this order; raises Error when the engine does not say of every one whether it
    does."""
    return _inspect(client, "image", names, info.image)


def containers(client: Sequence[str], names: Sequence[str]) -> list[ContainerInfo]:
    """The same of containers."""
    return _inspect(client, "container", names, info.container)


def networks(client: Sequence[str], names: Sequence[str]) -> list[NetworkInfo]:
    """The same of networks."""
    return _inspect(client, "network", names, info.network)


def _inspect(
    client: Sequence[str], kind: str, names: Sequence[str], read: Callable[[info.Entry], T]
) -> list[T]:
    if not names:
        return []
    argv = [*client, kind, "inspect", *names]
    result = ask(argv, check=False)
    try:
        return [read(entry) for entry in info.entries(kind, names, result.out, result.err)]
    except (LookupError, TypeError, AttributeError, ValueError) as wrong:
        said = run.tail(result.err) or result.out[:SHOWN]
        why = f"{type(wrong).__name__}: {wrong}"
        raise Error(
            "the container engine gave no answer",
            evidence="\n".join(filter(None, (f"$ {run.line(argv)}", said, why))),
            hint="osbox engine status",
        ) from wrong
