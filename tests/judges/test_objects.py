"""What a project has in Swift is removed, in a fake of Swift that is spoken to by HTTP."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest
from openstack.connection import Connection

from osbox.errors import Error
from osbox.judges import objects
from tests.fakecloud import Cloud, serving

ACCOUNT = "/v1/AUTH_project"


@dataclass
class Swift(Cloud):
    """containers: name and version of what is in each. archives: where one's older versions go, as long as
    that is set. firm: names of objects that cannot be removed; ghosts: of those that are listed only. slow:
    how many removals of a container are refused.
    """

    containers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    archives: dict[str, str] = field(default_factory=dict)
    firm: set[str] = field(default_factory=set)
    ghosts: set[str] = field(default_factory=set)
    slow: int = 0

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, str]:
        if given := self.answers.get(f"{method} {path}"):
            return given
        found = re.fullmatch(rf"{ACCOUNT}(?:/([^/]+)(?:/([^/]+))?)?", path)
        if not found:
            return 404, ""
        container, name = (unquote(part) if part else "" for part in found.groups())
        if not container:
            return 200, json.dumps([{"name": one, "count": 1} for one in self.containers][:2])
        if container not in self.containers:
            return 404, ""
        return self._of(method, container, name, query)

    def _of(self, method: str, container: str, name: str, query: dict[str, list[str]]) -> tuple[int, str]:
        inside = self.containers[container]
        if method == "POST":
            self.archives.pop(container, None)
            return 204, ""
        if method == "GET":
            assert query["versions"] == ["true"], "without it only the newest are listed"
            return 200, json.dumps([{"name": one, "version_id": version} for one, version in inside][:2])
        if name:
            return self._removed(container, name, query["version-id"][0])
        if inside or self.slow:
            self.slow -= not inside
            return 409, ""
        del self.containers[container]
        return 204, ""

    def _removed(self, container: str, name: str, version: str) -> tuple[int, str]:
        if name in self.firm or name in self.ghosts:
            return 403 if name in self.firm else 404, ""
        self.containers[container].remove((name, version))
        if archive := self.archives.get(container):
            self.containers[archive].append((name, "null"))
        return 204, ""


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> Swift:
    monkeypatch.setattr(objects, "WITHIN_SECONDS", 0.1)
    monkeypatch.setattr(objects, "PAUSE_SECONDS", 0.01)
    return Swift()


@pytest.fixture
def cloud(swift: Swift) -> Iterator[Connection]:
    with serving(swift, {}) as connection:
        yield connection


def empty(swift: Swift, cloud: Connection) -> list[str]:
    return objects.empty(cloud.session, swift.url + ACCOUNT)


def test_all_containers_with_all_versions(swift: Swift, cloud: Connection) -> None:
    """Whatever they are called, and more than one answer lists."""
    swift.containers = {
        "plain": [(f"object-{number}", "null") for number in range(7)],
        "with space, ä?&=%2F#": [("a/b//c?d=e#f", "null"), ("ö%41", "null")],
        "versioned": [("a", "1764600000.00001"), ("a", "1764600000.00002"), ("a", "null")],
        "empty": [],
    }
    assert empty(swift, cloud) == []
    assert swift.containers == {}


def test_old_versions_that_would_go_into_another_container(swift: Swift, cloud: Connection) -> None:
    swift.containers = {"archive": [("a", "null")], "history": [("a", "null"), ("b", "null")]}
    swift.archives = {"history": "archive"}
    assert empty(swift, cloud) == []
    assert swift.containers == {}


def test_a_container_that_counts_its_objects_late(swift: Swift, cloud: Connection) -> None:
    swift.containers, swift.slow = {"late": [("a", "null")]}, 1
    assert empty(swift, cloud) == []


def test_what_stays_is_told(swift: Swift, cloud: Connection) -> None:
    swift.containers = {"firm": [("a", "null"), ("b", "null")], "other": [("a b", "null")]}
    swift.firm = {"b"}
    assert empty(swift, cloud) == ["firm"]
    assert swift.containers == {"firm": [("b", "null")]}


@pytest.mark.timeout(10)
def test_what_is_listed_only_does_not_keep_us_for_ever(swift: Swift, cloud: Connection) -> None:
    swift.containers = {"haunted": [("a", "null"), ("b", "null"), ("c", "null")]}
    swift.ghosts = {"b"}
    assert empty(swift, cloud) == ["haunted"]
    assert swift.containers == {"haunted": [("b", "null")]}


def test_an_account_that_is_not_there(swift: Swift, cloud: Connection) -> None:
    assert objects.empty(cloud.session, f"{swift.url}/v1/AUTH_nobody") == []
    assert [line.split()[0] for line in swift.asked] == ["GET"]


def test_a_swift_that_does_not_say_is_no_empty_one(swift: Swift, cloud: Connection) -> None:
    """Its project would go, and with it the only name of what is there."""
    swift.answers = {f"GET {ACCOUNT}": (503, "")}
    with pytest.raises(Error, match="Swift did not list what is there: HTTP 503"):
        empty(swift, cloud)
