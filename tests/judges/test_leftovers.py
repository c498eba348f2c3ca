"""What Ironic's tests leave is removed, and nothing of anybody else's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from osbox.errors import Error
from osbox.judges import leftovers

THEIRS = {"deploy_templates": ["CUSTOM_GOLD"], "runbooks": ["CUSTOM_7", "CUSTOM_NIGHTLY"]}


class Ironic:
    """Lists by kind; a kind in `broken` is answered with that status."""

    def __init__(self) -> None:
        self.kinds: dict[str, list[dict[str, Any]]] = {
            **{kind: [{"name": name} for name in names] for kind, names in THEIRS.items()},
            "nodes": [{"uuid": "1", "name": None, "driver": "redfish"}],
        }
        self.broken = dict[str, int]()
        self.firm = set[str]()

    def get(self, path: str, **_: object) -> SimpleNamespace:
        kind = urlsplit(path).path.rsplit("/", 1)[1]
        status = self.broken.get(kind, 200)
        after = parse_qs(urlsplit(path).query).get("marker", [""])[0]
        keys = [one.get("uuid", one.get("name")) for one in self.kinds[kind]]
        rest = self.kinds[kind][keys.index(after) + 1 if after else 0 :]
        page = [{"uuid": one.get("name"), **one} for one in rest[: leftovers.PAGE]]
        said = {kind: page, **({"next": "more"} if len(rest) > len(page) else {})}
        return SimpleNamespace(status_code=status, text="", json=lambda: said)

    def delete(self, path: str, **_: object) -> SimpleNamespace:
        kind, key = path.split("/")[-2:]
        if key in self.firm:
            return SimpleNamespace(status_code=409)
        word = leftovers.LISTS[kind]
        self.kinds[kind] = [one for one in self.kinds[kind] if one[word] != key]
        return SimpleNamespace(status_code=204)

    def names(self, kind: str) -> list[str]:
        return [one[leftovers.LISTS[kind]] for one in self.kinds[kind]]

    @property
    def system(self) -> Any:
        return cast("Any", SimpleNamespace(baremetal=self))


@pytest.fixture
def ironic() -> Ironic:
    return Ironic()


def add(ironic: Ironic) -> None:
    """What tests made, and what an operator made meanwhile."""
    ironic.kinds["runbooks"] += [{"name": "CUSTOM_99"}, {"name": "CUSTOM_TEST_2"}, {"name": "CUSTOM_MINE"}]
    ironic.kinds["deploy_templates"] += [{"name": "CUSTOM_TEMPLATE_456"}, {"name": "CUSTOM_DEPLOY_TEMPLATE4"}]
    ironic.kinds["nodes"] += [
        {"uuid": "2", "name": None, "driver": "fake-hardware"},
        {"uuid": "3", "name": "lab", "driver": "fake-hardware"},
        {"uuid": "4", "name": None, "driver": "redfish"},
    ]


def test_what_tests_made_goes_and_nothing_else(ironic: Ironic, tmp_path: Path) -> None:
    leftovers.note(ironic.system, tmp_path)
    add(ironic)
    assert leftovers.remove(ironic.system, tmp_path) == []
    assert ironic.names("runbooks") == [*THEIRS["runbooks"], "CUSTOM_MINE"]
    assert ironic.names("deploy_templates") == THEIRS["deploy_templates"]
    assert ironic.names("nodes") == ["1", "3", "4"]
    assert leftovers.remove(ironic.system, tmp_path) == [], "the note is gone, too"
    assert ironic.names("nodes") == ["1", "3", "4"]


def test_more_than_one_answer_lists(ironic: Ironic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "PAGE", 2)
    test_what_tests_made_goes_and_nothing_else(ironic, tmp_path)


def test_what_is_made_after_a_removal_that_failed_stays(ironic: Ironic, tmp_path: Path) -> None:
    """The note that waits for one thing is no licence for what an operator makes later."""
    leftovers.note(ironic.system, tmp_path)
    add(ironic)
    ironic.firm = {"2"}
    leftovers.remove(ironic.system, tmp_path)
    ironic.kinds["runbooks"].append({"name": "CUSTOM_8"})
    ironic.firm = set()
    assert leftovers.remove(ironic.system, tmp_path) == []
    assert "CUSTOM_8" in ironic.names("runbooks")
    assert ironic.names("nodes") == ["1", "3", "4"]


def test_a_run_after_a_removal_that_failed(ironic: Ironic, tmp_path: Path) -> None:
    leftovers.note(ironic.system, tmp_path)
    add(ironic)
    ironic.firm = {"2"}
    leftovers.remove(ironic.system, tmp_path)
    ironic.kinds["runbooks"].append({"name": "CUSTOM_8"})
    leftovers.note(ironic.system, tmp_path)
    ironic.firm = set()
    assert leftovers.remove(ironic.system, tmp_path) == []
    assert "CUSTOM_8" in ironic.names("runbooks")
    assert ironic.names("nodes") == ["1", "3", "4"], "and what was left goes"


def test_a_run_that_did_not_end_counts_from_its_beginning(ironic: Ironic, tmp_path: Path) -> None:
    leftovers.note(ironic.system, tmp_path)
    add(ironic)
    leftovers.note(ironic.system, tmp_path)
    leftovers.remove(ironic.system, tmp_path)
    assert ironic.names("runbooks") == [*THEIRS["runbooks"], "CUSTOM_MINE"]


def test_an_ironic_that_does_not_say_is_no_empty_one(ironic: Ironic, tmp_path: Path) -> None:
    """All of a kind would have been the tests'."""
    ironic.broken["runbooks"] = 503
    with pytest.raises(Error, match="did not list its runbooks"):
        leftovers.note(ironic.system, tmp_path)
    assert not (tmp_path / leftovers.BEFORE).exists()


def test_a_kind_that_the_release_does_not_know(ironic: Ironic, tmp_path: Path) -> None:
    ironic.broken["runbooks"] = 404
    leftovers.note(ironic.system, tmp_path)
    add(ironic)
    assert leftovers.remove(ironic.system, tmp_path) == []
    assert ironic.names("deploy_templates") == THEIRS["deploy_templates"]


def test_what_is_not_removed_is_told_and_tried_again(ironic: Ironic, tmp_path: Path) -> None:
    leftovers.note(ironic.system, tmp_path)
    add(ironic)
    ironic.firm = {"2"}
    assert leftovers.remove(ironic.system, tmp_path) == ["nodes/2"]
    ironic.firm = set()
    assert leftovers.remove(ironic.system, tmp_path) == []
    assert ironic.names("nodes") == ["1", "3", "4"]
