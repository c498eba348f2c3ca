"""What a generation keeps of the volumes, and that all of it comes back (osbox.generations.inside.trees)."""

import os
import shutil
from pathlib import Path

import pytest

from osbox.generations.inside import trees
from tests.conftest import write_all

OBJECT = "objects/1/abc/deadbeef/1764600000.00000.data"


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Volumes with something in each."""
    write_all(
        tmp_path,
        {
            "mysql/data/ibdata1": "rows",
            "mysql/.installed": "",
            "keystone-keys/0": "next",
            "keystone-keys/1": "signs",
            "swift-rings/object.ring.gz": "ring",
            f"node/d1/{OBJECT}": "bytes",
            "node/d1/objects/1/hashes.pkl": "made anew",
            "node/d1/objects/1/abc/deadbeef/.lock": "",
            "node/d1/containers/2/def/1234/1234.db": "sqlite",
            "node/d1/containers/2/def/1234/1234.db.pending": "row",
            "node/d1/tmp/half": "x",
            "rabbitmq/queues/1": "cast",
            "ovn/ovnnb_db.db": "flows",
        },
    )
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(trees, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(trees, "DEVICE", tmp_path / "node/d1")
    monkeypatch.setattr(trees, "GENERATIONS", tmp_path / "node/.generations")
    monkeypatch.setattr(trees, "EMPTIED", (tmp_path / "rabbitmq", tmp_path / "ovn"))
    copied = {"mysql": "mysql/data", "keystone-keys": "keystone-keys", "swift-rings": "swift-rings"}
    monkeypatch.setattr(trees, "COPIED", {name: tmp_path / place for name, place in copied.items()})
    return tmp_path


def contents(place: Path) -> dict[str, str]:
    return {
        str(file.relative_to(place)): file.read_text() for file in sorted(place.rglob("*")) if file.is_file()
    }


def change(volumes: Path) -> None:
    """As services do: rows in place, objects and keys as other files."""
    (volumes / "mysql/data/ibdata1").write_text("other rows")
    (volumes / "mysql/data/new").write_text("a table")
    (volumes / "keystone-keys/2").write_text("of later")
    (volumes / "keystone-keys/0").unlink()
    (volumes / f"node/d1/{OBJECT}").unlink()
    tombstone = volumes / "node/d1/objects/1/abc/deadbeef/1764600009.00000.ts"
    tombstone.write_text("")
    (volumes / "node/d1/containers/2/def/1234/1234.db").write_text("deleted")


def test_all_comes_back(volumes: Path) -> None:
    before = contents(volumes)
    assert trees.keep(trees.GENERATIONS / "1") == {"objects": 1}
    assert (volumes / f"node/.generations/1/{OBJECT}").samefile(volumes / f"node/d1/{OBJECT}")
    change(volumes)
    trees.back(trees.GENERATIONS / "1")
    after = contents(volumes)
    # Made anew by Swift, or of what the databases do not know then.
    gone = {"hashes.pkl", ".lock", "half", "1", "ovnnb_db.db"}
    assert {name: text for name, text in after.items() if not name.startswith(("kept/", "node/.gen"))} == {
        name: text
        for name, text in before.items()
        if Path(name).name not in gone or name == "keystone-keys/1"
    }


def test_a_generation_can_be_gone_back_to_twice(volumes: Path) -> None:
    trees.keep(trees.GENERATIONS / "1")
    for _ in range(2):
        change(volumes)
        trees.back(trees.GENERATIONS / "1")
        assert (volumes / f"node/d1/{OBJECT}").read_text() == "bytes"
        assert (volumes / "mysql/data/ibdata1").read_text() == "rows"


@pytest.mark.parametrize("nth", range(1, 14))
def test_killed_at_any_step_it_goes_on(volumes: Path, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """Before its nth rename or removal, until there is no such one."""
    trees.keep(trees.GENERATIONS / "1")
    change(volumes)
    calls = 0

    class KilledError(BaseException):
        pass

    def killing(act: object) -> object:
        def acted(*words: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise KilledError
            return act(*words, **named)  # type: ignore[operator]

        return acted

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killing(shutil.rmtree))
        patched.setattr(Path, "rename", killing(Path.rename))
        patched.setattr(trees, "copied", killing(trees.copied))
        try:
            trees.back(trees.GENERATIONS / "1")
        except KilledError:
            assert calls == nth
    trees.back(trees.GENERATIONS / "1")
    assert (volumes / "mysql/data/ibdata1").read_text() == "rows"
    assert not (volumes / "mysql/data/new").exists()
    assert (volumes / f"node/d1/{OBJECT}").read_text() == "bytes"
    assert (volumes / "node/d1/containers/2/def/1234/1234.db").read_text() == "sqlite"
    assert contents(volumes / "keystone-keys") == {"0": "next", "1": "signs"}


def test_zeros_take_no_place(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(b"head" + bytes(3 * trees.BLOCK) + b"tail" + bytes(trees.BLOCK - 4))
    trees.copied(whole, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == whole.read_bytes()
    assert os.stat(tmp_path / "copy").st_blocks < os.stat(whole).st_blocks  # noqa: PTH116 - st_blocks of both


def test_one_that_is_removed_leaves_the_objects(volumes: Path) -> None:
    trees.keep(trees.GENERATIONS / "1")
    trees.drop(trees.GENERATIONS / "1")
    trees.drop(trees.GENERATIONS / "1")
    assert (volumes / f"node/d1/{OBJECT}").read_text() == "bytes"
    assert list((volumes / "node/.generations").iterdir()) == []


def test_what_killed_runs_left_goes(volumes: Path) -> None:
    trees.tidy(trees.GENERATIONS / "1,2")
    for number in ("1", "2", "3"):
        trees.keep(trees.GENERATIONS / number)
    (trees.GENERATIONS / "4.new").mkdir()
    assert trees.tidy(trees.GENERATIONS / "1,2") == {"removed": 2}
    assert sorted(place.name for place in trees.GENERATIONS.iterdir()) == ["1", "2"]
    assert (volumes / f"node/d1/{OBJECT}").read_text() == "bytes"
