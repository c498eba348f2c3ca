"""What a suite needs is removed when it ends, however it does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.judges import people, run
from osbox.judges.run import Judge
from osbox.site.load import load_site
from osbox.site.site import Paths


class Cleaning:
    """In place of removing what is in a cloud. ends: how each time ends, None well."""

    def __init__(self) -> None:
        self.times, self.ends = 0, dict[int, BaseException]()

    def __call__(self, *_: object) -> None:
        self.times += 1
        if self.times in self.ends:
            raise self.ends[self.times]


@pytest.fixture
def cleaning(monkeypatch: pytest.MonkeyPatch) -> Cleaning:
    made = Cleaning()
    monkeypatch.setattr(run, "_clean", made)
    monkeypatch.setattr(people, "left", lambda _: [])
    monkeypatch.setattr(Judge, "connect", lambda _: cast("Any", SimpleNamespace(project=None, system=None)))
    return made


def suite(paths: Paths, end: BaseException | None) -> None:
    here = Judge(paths, load_site(paths.home), Engine("host", "28"), "swift", "2026.1")
    with run._guests(here, Path("python")):
        if end:
            raise end


def test_before_and_after(paths: Paths, cleaning: Cleaning) -> None:
    suite(paths, None)
    assert cleaning.times == 2


def test_after_an_interrupt(paths: Paths, cleaning: Cleaning, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        suite(paths, KeyboardInterrupt())
    assert cleaning.times == 2
    assert "Ctrl-C once more leaves that to the next run" in capsys.readouterr().err


def test_a_second_interrupt_ends_that(paths: Paths, cleaning: Cleaning) -> None:
    cleaning.ends = {2: KeyboardInterrupt("second")}
    with pytest.raises(KeyboardInterrupt, match="second"):
        suite(paths, KeyboardInterrupt("first"))


@pytest.mark.parametrize("second", [Error("Swift did not list"), RuntimeError("a library's own")])
def test_the_first_error_is_told(paths: Paths, cleaning: Cleaning, second: Exception) -> None:
    cleaning.ends = {2: second}
    with pytest.raises(Error, match="the disk is full"):
        suite(paths, Error("the disk is full"))


def test_what_the_suite_has_shown_counts_all_the_same(
    paths: Paths, cleaning: Cleaning, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaning.ends = {2: Error("Swift did not list")}
    suite(paths, None)
    assert "not all is removed, the next run does it: Swift did not list" in capsys.readouterr().err
