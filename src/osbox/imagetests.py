"""Test the images, a line each."""

from collections.abc import Sequence
from dataclasses import dataclass

from osbox.engine import Engine
from osbox.errors import Error
from osbox.model.catalogue import Image
from osbox.model.site import Paths


@dataclass(frozen=True)
class Report:
    """What the tests of one image found; passed when there is no problem."""

    image: str
    problems: tuple[str, ...]


def test(
    paths: Paths, engine: Engine, wanted: Sequence[Image], *, version: str, jobs: int | None, quiet: bool
) -> list[Report]:
    raise Error("the image tests are not written yet")


def raise_for(reports: Sequence[Report]) -> None:
    bad = [report.image for report in reports if report.problems]
    if bad:
        raise Error(f"{len(bad)} of {len(reports)} images failed their tests: {', '.join(bad)}")
