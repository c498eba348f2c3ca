"""What a suite needs is removed when it ends, however it does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.judges import objects, people, run
from osbox.judges.people import Clouds
from osbox.judges.run import Judge
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.judges.fakeidentity import Identity, speaking


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


@pytest.mark.parametrize("second", [Error("Swift did not list"), RuntimeError("Swift did not list")])
def test_what_the_suite_has_shown_counts_all_the_same(
    paths: Paths, cleaning: Cleaning, capsys: pytest.CaptureFixture[str], second: Exception
) -> None:
    cleaning.ends = {2: second}
    suite(paths, None)
    assert "not all is removed, the next run does it: Swift did not list" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["users", "projects"])
def test_who_empties_the_accounts_is_refused_before_anything_is_made(paths: Paths, kind: str) -> None:
    """Else the suite would run, and none of its containers could be removed."""
    keystone = Identity()
    keystone.put(kind, "osbox-judge-sweeper", domain_id=keystone.put("domains", "Default"))
    here = Judge(paths, load_site(paths.home), Engine("host", "28"), "swift", "2026.1")
    with speaking(keystone) as cloud, pytest.raises(UserError, match="called osbox-judge-sweeper"):
        run._prepare(here, Clouds(cloud, cloud), None, 0)
    assert keystone.done == []


def test_who_empties_the_accounts_needs_no_name_of_a_suite() -> None:
    """Somebody's project of that name would keep all suites from being cleaned up after."""
    assert objects.PERSON.project not in {one.project for team in run.PEOPLE.values() for one in team}
