"""What is written down of generations, and of a way back that has not ended."""

import os
from pathlib import Path

import pytest

from osbox.errors import Error, UserError
from osbox.generations import back, record
from osbox.generations.record import Generation, GoingBack
from osbox.site.site import Paths


def one(number: int, **more: object) -> Generation:
    known: dict[str, object] = {
        "time": "2026-12-03T00:00:00+00:00",
        "reason": "by hand",
        "release": "2026.1",
        "version": "latest",
        "images": {"keystone": ("os-keystone:latest", "sha256:1")},
        "things": {"server": {"a": "bm-node-1"}},
        "nodes": {"n": ("active", "a")},
        **more,
    }
    return Generation(number, **known)  # type: ignore[arg-type]


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(os, "chown", lambda *_: None)  # volumes are the images' user's
    return Paths(tmp_path / "project", tmp_path / "home")


def kept(paths: Paths, number: int) -> Generation:
    new = record.begin(paths, number)
    record.end(paths, new, one(number))
    return one(number)


def test_what_is_written_is_read(paths: Paths) -> None:
    assert record.all_of(paths) == []
    assert record.next_number(paths) == 1
    for number in (1, 2, 10):
        kept(paths, number)
    assert record.all_of(paths) == [one(1), one(2), one(10)]
    assert record.find(paths, None) == one(10)
    assert record.find(paths, 2) == one(2)
    assert record.next_number(paths) == 11


def test_one_that_was_not_finished_is_none(paths: Paths) -> None:
    kept(paths, 1)
    record.begin(paths, 2)
    assert [found.number for found in record.all_of(paths)] == [1]
    assert record.next_number(paths) == 3
    record.begin(paths, 3)
    assert sorted(entry.name for entry in paths.generations.iterdir()) == ["1", "3.new"]


def test_one_that_is_not_there_is_told(paths: Paths) -> None:
    with pytest.raises(UserError, match="no generation to go back to"):
        record.find(paths, None)
    kept(paths, 4)
    with pytest.raises(UserError, match="no generation 5") as told:
        record.find(paths, 5)
    assert "4" in told.value.hint


def test_a_way_back_that_has_not_ended_is_in_the_way(paths: Paths) -> None:
    kept(paths, 1)
    record.require_none_under_way(paths)
    record.set_out(paths, GoingBack(1, 2, {"n": ("active", "a")}))
    assert record.going_back(paths) == GoingBack(1, 2, {"n": ("active", "a")})
    with pytest.raises(Error, match="on its way back to generation 1") as told:
        record.require_none_under_way(paths)
    assert "osbox rollback 1 goes on; osbox rollback 2 takes it back" in told.value.hint
    record.arrived(paths)
    record.arrived(paths)
    record.require_none_under_way(paths)


@pytest.mark.parametrize(
    ("now", "differs"),
    [(("active", "a"), False), (("active", "b"), True), (("available", ""), True), (None, True)],
)
def test_nodes_that_are_not_as_they_were_are_to_be_looked_at(
    now: tuple[str, str] | None, differs: bool
) -> None:
    then = {"n": ("active", "a")}
    assert back.differing(then, {"n": now} if now else {}) == (["n"] if differs else [])


def test_a_node_that_ironic_was_at_work_on_is_looked_at() -> None:
    """Its conductor is not the one that worked."""
    then = {"n": ("deploying", "a")}
    assert back.differing(then, then) == ["n"]
