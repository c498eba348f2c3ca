"""Size budgets: how large an image may be stands beside its recipe (images/<project>/budget.toml); all
together, in images/budget.toml.

Megabytes are 10^6 bytes, of the files in the layers, as Docker counts them.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.images import catalogue, inventory
from osbox.images.catalogue import Image
from osbox.images.inventory import RACK, Steps
from osbox.site.site import Paths

FILE = "budget.toml"
MEGABYTE = 10**6
SHOWN = 5  # of the biggest additions


@dataclass(frozen=True)
class Excess:
    """Something larger than it may be. Sizes are megabytes; additions: the biggest layers, as lines."""

    what: str
    size: float
    budget: float
    additions: tuple[str, ...]


def load(paths: Paths) -> dict[str, float]:
    """The budgets by image, and those of `total` (all without the rack) and `rack` (on top); raises UserError
    on a wrong file."""
    found: dict[str, float] = {}
    for file in [
        paths.images / FILE,
        *(paths.images / name / FILE for name in sorted({image.project for image in catalogue.IMAGES})),
    ]:
        try:
            rows = tomllib.loads(file.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise UserError(
                f"{file.relative_to(paths.project)} cannot be read: {error}",
                hint="it is lines such as: os-keystone = 300",
            ) from error
        known = _known(paths, file)
        wrong = [name for name, value in rows.items() if name not in known or type(value) not in (int, float)]
        if wrong:
            raise UserError(
                f"{file.relative_to(paths.project)}: {', '.join(wrong)}",
                hint="names of its images, and megabytes",
            )
        found |= rows
    return found


def _known(paths: Paths, file: Path) -> set[str]:
    if file.parent == paths.images:
        return {"total", "rack"}
    return {image.name for image in catalogue.IMAGES if image.project == file.parent.name}


def check(paths: Paths, engine: Engine, images: Sequence[Image], *, version: str) -> None:
    """Raise Error when an image is over its budget, or, when all were built, all together are."""
    names = {image.tag(version): image.name for image in images if not image.internal}
    everything = {image.tag(version): image.name for image in catalogue.IMAGES}
    entries = docker.images(engine, *everything)
    made = inventory.steps(paths, engine, list(entries.values()))
    there = {everything[tag]: made[entry.id] for tag, entry in entries.items()}
    found = excesses(load(paths), {name: there[name] for name in names.values() if name in there}, there)
    if found:
        raise over(found)


def excesses(
    budgets: Mapping[str, float], built: Mapping[str, Steps], there: Mapping[str, Steps]
) -> list[Excess]:
    """What is over its budget: images that were asked for, and the sums when that was all of them.

    After a build of some, the others may stand on an older base, which counts twice until they are built.
    """
    found = []
    for name, steps in built.items():
        size = sum(row[1] for row in steps) / MEGABYTE
        if name in budgets and size > budgets[name]:
            found.append(Excess(name, size, budgets[name], _biggest(steps)))
    if set(built) < set(catalogue.BY_NAME):
        return found
    others = {name: steps for name, steps in there.items() if name != RACK}
    total, rack = inventory.unique(others, {RACK: there[RACK]})
    every = list({row[0]: row for steps in others.values() for row in steps}.values())
    for name, what, size, steps in (
        ("total", "all images but the rack", total, every),
        ("rack", "what the rack adds", rack, there[RACK]),
    ):
        if size / MEGABYTE > budgets.get(name, size):
            found.append(Excess(what, size / MEGABYTE, budgets[name], _biggest(steps)))
    return found


def over(excesses: Sequence[Excess]) -> Error:
    """The one error for all that is too large."""
    told = "; ".join(f"{item.what}: {item.size:.0f} MB of {item.budget:.0f}" for item in excesses)
    lines = [line for item in excesses for line in (f"{item.what}, the biggest layers:", *item.additions)]
    return Error(
        f"over the size budget: {told}",
        evidence="\n".join(lines),
        hint=f"the images are built and tagged; make them smaller, or raise the number"
        f" in images/…/{FILE}, then: osbox build",
    )


def _biggest(steps: Steps) -> tuple[str, ...]:
    rows = sorted(steps, key=lambda row: -row[1])[:SHOWN]
    return tuple(f"  {size / MEGABYTE:7.1f} MB  {_plain(made)}" for _, size, made in rows)


def _plain(instruction: Any) -> str:
    """An instruction, short and without what Docker adds to it."""
    text = " ".join(str(instruction).replace("/bin/sh -c ", "").replace("# buildkit", "").split())
    return text[:97] + "…" if len(text) > 98 else text or "Debian"  # noqa: PLR2004 - a line of a terminal
