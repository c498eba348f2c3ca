"""What `make check` takes of a matrix, in turn, every day something else; `make check-full` takes all of it.

OSBOX_CHECK_DAY, as 2026-11-28, takes another day's, to run again what was red on it.
"""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import pytest

from osbox.releases import release

T = TypeVar("T")
SCENES = {
    "first": ("another release", "down and up", "power cut", "upgrade"),
    "second": (
        "first up killed",
        "a cloud without a network",
        "engine killed",
        "container killed",
        "disk full",
        "judge killed",
        "repair",
        "another subnet",
        "way back taken back",
        "upgrade to images",
        "upgrade that fails",
    ),
}
"""Tests of one to four minutes each, by lane: `make check` plays SCENES_AT_ONCE of them."""
SCENES_AT_ONCE = {"first": 1, "second": 2}


def today() -> date:
    given = os.environ.get("OSBOX_CHECK_DAY")
    return date.fromisoformat(given) if given else datetime.now(UTC).date()


def turn(things: Sequence[T], count: int = 1) -> list[T]:
    """So many of them, in their order: after enough days it was the turn of each."""
    first = today().toordinal() * count
    chosen = {(first + number) % len(things) for number in range(min(count, len(things)))}
    return [thing for number, thing in enumerate(things) if number in chosen]


def params(
    things: Sequence[T], count: int = 1, *, ids: Callable[[T], str] = str
) -> list[Any]:  # pytest's type of them has no public name
    """For parametrize: those whose turn it is, and the others in `make check-full` only."""
    chosen = turn(things, count)
    return [
        pytest.param(thing, id=ids(thing), marks=() if thing in chosen else pytest.mark.full)
        for thing in things
    ]


def scene(name: str) -> Callable[[T], T]:
    """Decorator: of SCENES; in `make check` when it is its turn, else in `make check-full` only."""
    [lane] = [lane for lane, scenes in SCENES.items() if name in scenes]
    if name in turn(SCENES[lane], SCENES_AT_ONCE[lane]):
        return lambda function: function
    return pytest.mark.full  # type: ignore[return-value]


def sample(releases: Sequence[str]) -> str:
    """A release other than the default one; OSBOX_CHECK_RELEASE names it."""
    others = [name for name in releases if name != release.DEFAULT]
    return os.environ.get("OSBOX_CHECK_RELEASE") or turn(others)[0]
