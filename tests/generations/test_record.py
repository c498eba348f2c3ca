"""What is written down of generations, and of a way back that has not ended."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from osbox.cloud.changes import Live
from osbox.cloud.plan import Plan
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import back, keep, record, things, upgrade
from osbox.generations.record import Generation, GoingBack, Nodes
from osbox.site.site import Paths, Site


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


ENGINE = Engine("host", "28")
NOW = datetime(2026, 12, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("known", "gone"),
    [
        ({}, []),
        ({1: 0}, []),
        ({1: 1000}, []),
        ({1: 1000, 2: 1000, 3: 1000}, [1, 2]),
        ({1: 40, 2: 29, 3: 0}, [1]),
        (dict.fromkeys(range(1, 7), 0), [1, 2]),
        ({**dict.fromkeys(range(1, 7), 0), 2: -1}, [1]),
        ({1: -1, 2: -1, 3: 0}, []),
    ],
)
def test_which_go_by_themselves(known: dict[int, int], gone: list[int]) -> None:
    """Four are kept, and none is older than 30 days; by number, how many days old each is, or -1: it
    lasts."""
    found = [
        one(number, time=(NOW - timedelta(days=max(days, 0))).isoformat(), lasting=days < 0)
        for number, days in known.items()
    ]
    assert [item.number for item in record.due(found, 4, 30, NOW)] == gone


def test_one_that_was_passing_lasts(paths: Paths) -> None:
    kept(paths, 1)
    assert record.last(paths, one(1)).lasting
    assert record.find(paths, 1) == one(1, lasting=True)


def test_how_two_differ(paths: Paths) -> None:
    for number, text in ((1, "workers = 1\n"), (2, "workers = 2\n")):
        place = record.begin(paths, number)
        (place / record.HOST / "site.toml").write_text(text)
        record.end(paths, place, one(number))
    other = one(
        2,
        release="2026.2",
        images={"keystone": ("os-keystone:latest", "sha256:2"), "front": ("os-front:1", "sha256:3")},
        things={"server": {"b": "bm-node-2"}, "node": {"n": "rack-1"}},
        nodes={"n": ("available", "")},
    )
    assert back.differences(paths, one(1), other) == {
        "release": ["2026.1 → 2026.2"],
        "images": ["front none → os-front:1", "keystone os-keystone:latest → os-keystone:latest"],
        "site.toml": ["- workers = 1", "+ workers = 2"],
        "made": ["server bm-node-2", "node rack-1"],
        "removed": ["server bm-node-1"],
        "nodes": ["rack-1 active → available"],
    }
    assert not any(back.differences(paths, one(1), one(1)).values())


@pytest.mark.parametrize(
    ("runs", "wanted", "way"),
    [
        ("2026.1", "2026.1", []),
        ("2025.1", "2025.2", ["2025.2"]),
        ("2025.1", "2026.1", ["2026.1"]),
        ("2025.1", "2026.2", ["2026.1", "2026.2"]),
        ("2025.2", "2026.1", ["2026.1"]),
        ("2025.2", "2026.2", ["2026.1", "2026.2"]),
        ("2025.2", "2027.1", ["2026.1", "2027.1"]),
    ],
)
def test_the_way_of_upgrades(runs: str, wanted: str, way: list[str]) -> None:
    assert upgrade.steps(runs, wanted) == way


def plan(wanted: str, *runs: str) -> Plan:
    live = {f"s{number}": Live("s", "c", "running", "", "", "", 0, one) for number, one in enumerate(runs)}
    return Plan((), {}, {}, live, rack=False, release=wanted, version="tag")


def test_no_release_is_gone_on_to_that_upstream_does_not_support(paths: Paths) -> None:
    for fine in (plan("2026.1"), plan("", "2026.1"), plan("2026.1", "2026.1", ""), plan("2026.2", "2026.1")):
        upgrade.refuse(paths, fine)
    with pytest.raises(UserError, match=r"no database goes back from 2026\.2") as caught:
        upgrade.refuse(paths, plan("2026.1", "2026.1", "2026.2"))  # killed on its way: migrated already
    assert caught.value.hint == "no generation of 2026.1 was kept; osbox generation list"
    kept(paths, 4)
    with pytest.raises(UserError) as caught:
        upgrade.refuse(paths, plan("2026.1", "2026.2"))
    assert caught.value.hint == "osbox rollback 4 leads back to 2026.1, as it was then"
    with pytest.raises(UserError, match=r"no upgrade leads from 2025\.2 to 2026\.2 at once") as caught:
        upgrade.refuse(paths, plan("2026.2", "2025.2"))
    assert "the whole way is 2025.2 → 2026.1 → 2026.2" in caught.value.hint


def test_what_cannot_be_read_is_told_and_left_alone(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """One that was damaged ended every command, and its objects would have been removed as left over."""
    for number, text in ((1, "{"), (2, "[]"), (3, '{"images": 3}'), (4, '{"images": {}, "nodes": {}}')):
        kept(paths, number)
        (record.place(paths, number) / record.RECORD).write_text(text)
    kept(paths, 5)
    assert record.all_of(paths) == [one(5)]
    assert record.numbers(paths) == [1, 2, 3, 4, 5]
    assert capsys.readouterr().err.count("cannot be read") == 4
    (paths.generations / record.GOING_BACK).write_text("{")
    with pytest.raises(Error, match=r"going-back\.json cannot be read"):
        record.going_back(paths)


def test_what_a_killed_write_left_is_removed(paths: Paths) -> None:
    kept(paths, 1)
    (paths.generations / f"{record.GOING_BACK}.new").write_text("{")
    (paths.generations / "2.new" / "host").mkdir(parents=True)
    record.tidy(paths)
    assert [place.name for place in paths.generations.iterdir()] == ["1"]


def test_what_is_under_way_is_needed(paths: Paths) -> None:
    kept(paths, 1)
    assert record.needed(paths) == set()
    record.begin_upgrade(paths, record.Upgrade(1, "2026.2"))
    record.set_out(paths, GoingBack(2, 3))
    assert record.needed(paths) == {1, 2, 3}
    record.arrived(paths)
    assert record.needed(paths) == set()


def test_a_cloud_that_is_down_is_of_the_release_that_it_was_brought_up_with(paths: Paths) -> None:
    """After `osbox down` an older release was started on the newer databases."""
    down = replace(plan("2026.1"), former="2026.2")
    with pytest.raises(UserError, match=r"no database goes back from 2026\.2"):
        upgrade.refuse(paths, down)
    later = replace(plan("2026.2"), former="2026.1")
    upgrade.refuse(paths, later)
    with pytest.raises(UserError, match="the cloud is down, so it cannot be kept before the upgrade"):
        upgrade.keep(paths, Site(), ENGINE, later)


def test_an_upgrade_that_has_begun_to_migrate_has_its_beginning_kept_already(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that had not begun went back to it weeks later, over all that was made since."""
    kept(paths, 7)
    record.begin_upgrade(paths, record.Upgrade(7, "2026.2"))
    anew = one(8)
    monkeypatch.setattr(keep, "keep", lambda *_, **__: anew)
    assert upgrade.keep(paths, Site(), ENGINE, plan("2026.2", "2026.1", "2026.2")) == one(7)
    assert upgrade.keep(paths, Site(), ENGINE, plan("2026.2", "2026.1")) == anew
    upgrading = record.upgrading(paths)
    assert upgrading
    assert upgrading.origin == 8


@pytest.mark.parametrize(
    ("way", "to", "found"),
    [
        (None, 2, GoingBack(2, 9, {"n": ("now", "")})),
        (GoingBack(2, 5, {"n": ("then", "")}), 2, GoingBack(2, 5, {"n": ("then", "")})),
        (GoingBack(2, 5, {}, exchanged=True), 2, GoingBack(2, 5, {}, exchanged=True)),
        (GoingBack(2, 5, {"n": ("then", "")}), 5, GoingBack(5, 5, {"n": ("then", "")})),
        (GoingBack(2, 5, {}, exchanged=True), 5, GoingBack(5, 9, {"n": ("now", "")})),
        (GoingBack(2, 5), 3, GoingBack(3, 9, {"n": ("now", "")})),
    ],
    ids=["first", "goes on", "only comes up", "taken back", "taken back when it was there", "another"],
)
def test_what_is_kept_before_a_way_back(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, way: GoingBack | None, to: int, found: GoingBack
) -> None:
    """The oldest, to which the way was to lead, went by itself for the one that is kept before."""
    spared = list[int]()

    def keeps(*_: object, needed: tuple[int, ...]) -> Generation:
        spared.extend(needed)
        return one(9)

    monkeypatch.setattr(keep, "keep", keeps)
    monkeypatch.setattr(back, "_running", lambda *_: [])
    monkeypatch.setattr(things, "nodes", lambda *_: {"n": ("now", "")})
    kept(paths, 1)
    if way:
        record.set_out(paths, way)
    assert back._set_out(paths, Site(), ENGINE, one(to), keeps=True, anew=False) == found
    assert record.going_back(paths) == found
    assert spared == ([to] if found.origin == 9 else [])


@pytest.mark.parametrize(("anew", "known"), [(True, {}), (False, {"n": ("now", "")})])
def test_what_a_killed_restore_left_says_nothing_of_nodes(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, known: Nodes, *, anew: bool
) -> None:
    """Its database had them as the backup has them, so none went into maintenance."""
    monkeypatch.setattr(back, "_running", lambda *_: [])
    monkeypatch.setattr(back, "require_space", lambda _: None)
    monkeypatch.setattr(things, "nodes", lambda *_: {"n": ("now", "")})
    kept(paths, 1)
    assert back._set_out(paths, Site(), ENGINE, one(1), keeps=False, anew=anew) == GoingBack(1, 0, known)


def test_all_images_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question takes Docker's client a twentieth of a second, and there are two dozen."""
    asked = list[set[str]]()

    def here(_: Engine, *names: str) -> set[str]:
        asked.append({*names})
        return {"sha256:1"}

    monkeypatch.setattr(docker, "image_ids", here)
    there = one(1, images={"keystone": ("os-keystone:latest", "sha256:1")})
    back.require_images(ENGINE, there)
    lost = {
        **there.images,
        "mysql": ("os-mysql:latest", "sha256:2"),
        "again": ("os-mysql:latest", "sha256:2"),
    }
    with pytest.raises(UserError, match="images of generation 1 are not here any more") as caught:
        back.require_images(ENGINE, one(1, images=lost))
    assert caught.value.evidence == "os-mysql:latest"
    assert asked == [{"sha256:1"}, {"sha256:1", "sha256:2"}]
