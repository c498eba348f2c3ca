"""The turns of what `make check` takes samples of."""

from datetime import date, timedelta

import pytest

from tests import samples


@pytest.mark.parametrize(("size", "count"), [(1, 1), (3, 1), (11, 4), (10, 3), (4, 2), (2, 5)])
def test_it_is_the_turn_of_each_within_as_many_days_as_it_takes(
    monkeypatch: pytest.MonkeyPatch, size: int, count: int
) -> None:
    seen, things = set[int](), list(range(size))
    for day in range(-(-size // count)):
        monkeypatch.setenv("OSBOX_CHECK_DAY", str(date(2026, 11, 28) + timedelta(day)))
        found = samples.turn(things, count)
        assert len(found) == min(size, count)
        assert found == sorted(found)
        seen |= set(found)
    assert seen == set(things)


def test_the_others_are_for_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSBOX_CHECK_DAY", "2026-11-28")
    found = samples.params(["a", "b", "c"], 2)
    assert [param.id for param in found] == ["a", "b", "c"]
    marked = [param.id for param in found if param.marks]
    assert sorted({"a", "b", "c"} - set(samples.turn(["a", "b", "c"], 2))) == marked


def test_a_scene_is_in_the_check_when_it_is_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    played = set[str]()
    for day in range(7):
        monkeypatch.setenv("OSBOX_CHECK_DAY", str(date(2026, 11, 28) + timedelta(day)))
        for lane, scenes in samples.SCENES.items():
            now = {name for name in scenes if samples.scene(name)(0) == 0}
            assert len(now) == samples.SCENES_AT_ONCE[lane]
            played |= now
    assert played == {name for scenes in samples.SCENES.values() for name in scenes}
