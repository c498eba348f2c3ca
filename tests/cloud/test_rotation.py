"""Keystone's keys: when a rotation is held back or refused, and what it says."""

import json
import os
import random
import sys
from pathlib import Path

import pytest

from osbox import run
from osbox.cloud import rotation
from osbox.cloud.rotation import HOUR, Keys, Kind
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.site.site import Site

VALID = 49.0 * HOUR


@pytest.mark.parametrize(
    ("hours", "kept", "until"),
    [
        ([0.1, 0.1], 3, 0),  # made a moment ago: none is dropped
        ([9, 5, 1], 3, 48),
        ([99, 98, 48], 3, 1),
        ([99, 98, 49], 3, 0),
        ([9, 5, 0.1], 6, 0),  # more are kept, and there is room
        ([80, 70, 2, 1, 0.5, 0.1], 6, 47),  # dropped is the oldest; the third was made when it signed last
        ([80, 70, 50, 1, 0.5, 0.1], 6, 0),
        ([80, 70, 60, 50, 9, 0.1], 3, 48.9),  # fewer are kept than were: four are dropped
        ([80, 70, 60, 55, 50, 49], 3, 0),
    ],
)
def test_too_early(hours: list[float], kept: int, until: float) -> None:
    assert keys(hours, kept).too_early == pytest.approx(until * HOUR)


@pytest.mark.parametrize("seed", range(20))
def test_a_rotation_is_held_back_for_as_long_as_it_must_and_no_longer(seed: int) -> None:
    """Against what Keystone does (fernet_utils.rotate_keys), with rotations at any time and of any number."""
    chance = random.Random(seed)  # noqa: S311
    made, signed, now = {0: 0.0, 1: 0.0}, dict[int, float](), 0.0
    for _ in range(40):
        now += chance.choice([0.5, 7, 30, 60]) * HOUR
        kept = chance.choice([3, 4, 6])
        signed[max(made)] = now  # up to this moment
        ages = [now - made[name] for name in sorted(made, key=lambda name: (name == 0, name))]
        promoted = {name: time for name, time in made.items() if name} | {max(made) + 1: made[0]}
        left = sorted(promoted, reverse=True)[: kept - 1]
        last = [signed[name] for name in promoted if name not in left]
        wanted = max(0.0, max(last) + VALID - now) if last else 0.0
        assert Keys("", ages, kept, VALID).too_early == pytest.approx(wanted)
        made = {name: promoted[name] for name in left} | {0: now}


def keys(hours: list[float], kept: int) -> Keys:
    return Keys("/keys", [hour * HOUR for hour in hours], kept, VALID)


class Keystone:
    """What is run in its container; how it answers."""

    def __init__(self, found: Keys) -> None:
        self.answer, self.ran, self.fails = json.dumps(vars(found)), list[str](), ""

    def __call__(self, engine: Engine, *words: str, **options: object) -> run.Result:
        assert words[:2] == ("exec", "keystone.os-in-a-box")
        if words[2] == "python":
            return (
                run.Result(1, "", "Traceback") if self.fails == "python" else run.Result(0, self.answer, "")
            )
        self.ran.append(words[-1])
        return run.Result(1, "", "Traceback") if self.fails == words[-1] else run.Result(0, "", "")


def asked(monkeypatch: pytest.MonkeyPatch, found: Keys) -> Keystone:
    keystone = Keystone(found)
    monkeypatch.setattr(docker, "docker", keystone)
    return keystone


def rotate(kind: Kind) -> None:
    rotation.rotate(Site(), Engine("host", "26"), kind)


def test_what_a_rotation_does(monkeypatch: pytest.MonkeyPatch) -> None:
    keystone = asked(monkeypatch, keys([9, 9], 3))
    rotate("fernet")
    assert keystone.ran == ["fernet_rotate"]
    keystone.ran.clear()
    rotate("credential")
    assert keystone.ran == ["credential_migrate", "credential_rotate", "credential_migrate"]


@pytest.mark.parametrize("kind", rotation.KINDS)
def test_without_keys_it_is_refused(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """Keystone's own command ends with 0 and has done nothing."""
    keystone = asked(monkeypatch, keys([], 3))
    with pytest.raises(UserError, match="Keystone has no keys to ") as error:
        rotate(kind)
    assert rotation.WORK[kind] in error.value.message
    assert error.value.evidence == "there is no /keys/0 in keystone.os-in-a-box"
    assert error.value.hint == "osbox up"
    assert keystone.ran == []


@pytest.mark.parametrize("kept", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_key_that_signs_is_never_dropped(monkeypatch: pytest.MonkeyPatch, kept: int, count: int) -> None:
    """Neither when the last rotation was long ago: it still signs."""
    keystone = asked(monkeypatch, keys([999.0] * count, kept))
    with pytest.raises(UserError, match="it would drop the key that signed them") as error:
        rotate("fernet")
    assert f"max_active_keys is {kept}" in error.value.evidence
    assert error.value.hint == (
        "osbox set keystone.fernet_tokens.max_active_keys=3, then osbox up, then the same command"
    )
    assert keystone.ran == []
    rotate("credential")  # of which there are always three


@pytest.mark.parametrize(
    ("hours", "kept", "evidence", "hint"),
    [
        ([9, 5, 0.01], 3, "3 keys are kept; the one that it would drop signed until 1 min ago", "49 h;"),
        ([9, 5, 48], 3, "3 keys are kept; the one that it would drop signed until 48 h ago", "60 min;"),
        ([9, 8, 7, 6, 5, 4], 6, "6 keys are kept; the one that it would drop signed until 7 h ago", "42 h;"),
        ([9, 8, 7, 6, 5, 4], 4, "4 keys are kept; the one that it would drop signed until 5 h ago", "44 h;"),
    ],
)
def test_what_it_says_when_it_is_too_early(
    monkeypatch: pytest.MonkeyPatch, hours: list[float], kept: int, evidence: str, hint: str
) -> None:
    keystone = asked(monkeypatch, keys(hours, kept))
    with pytest.raises(UserError, match="too early: another rotation would refuse valid tokens") as error:
        rotate("fernet")
    assert error.value.evidence == f"{evidence}, and a token may be used for 49 h"
    assert error.value.hint.startswith(f"the same command in {hint} to keep more keys: ")
    # With the proposal it does go through.
    number = int(error.value.hint.partition("max_active_keys=")[2].partition(",")[0])
    assert keys(hours, number).too_early == 0
    assert error.value.hint.endswith(f"={number}, then osbox up, then the same command")
    assert keystone.ran == []


FAILURES: dict[str, tuple[Kind, str]] = {
    "python": ("fernet", "Keystone could not say what keys it has"),
    "fernet_rotate": ("fernet", "Keystone could not make a new key for tokens"),
    "credential_migrate": ("credential", "Keystone could not encrypt users' secrets with its newest key"),
    "credential_rotate": ("credential", "Keystone could not make a new key for users' secrets"),
}


@pytest.mark.parametrize("command", FAILURES)
def test_it_says_what_failed(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    kind, message = FAILURES[command]
    keystone = asked(monkeypatch, keys([9, 9], 3))
    keystone.fails = command
    with pytest.raises(Error) as error:
        rotate(kind)
    assert (error.value.message, error.value.evidence) == (message, "Traceback")
    assert keystone.ran[-1:] == ([] if command == "python" else [command])


CONF = """
import os
class Group:
    key_repository = os.environ["PLACE"]
    max_active_keys, expiration, allow_expired_window = 4, 3600, 60
class Conf:
    fernet_tokens = credential = token = Group
    def __call__(self, args, project): pass
    def __getitem__(self, name): return getattr(self, name)
CONF = Conf()
def configure(): pass
"""


@pytest.mark.parametrize(
    ("ages", "order"),
    [
        ({"0": 1, "10": 5, "9": 6, "2": 7, "0.tmp": 0}, [7, 6, 5, 1]),
        ({"0": 3, "1": 3}, [3, 3]),
        ({"1": 3}, []),  # the next one is missing: a rotation begins with it
        ({}, []),
        (None, []),
    ],
)
def test_what_keystone_is_asked(tmp_path: Path, ages: dict[str, int] | None, order: list[int]) -> None:
    """In its container; here with a module in place of Keystone's."""
    (tmp_path / "keystone").mkdir()
    (tmp_path / "keystone/conf.py").write_text(CONF)
    place = tmp_path / "keys"
    if ages is not None:
        place.mkdir()
    begin = (tmp_path / "keystone/conf.py").stat().st_mtime
    for name, age in (ages or {}).items():
        (place / name).touch()
        os.utime(place / name, (begin - age * HOUR, begin - age * HOUR))
    for group in rotation.GROUPS.values():
        said = run.run(
            [sys.executable, "-c", rotation.LOOK, group],
            env={"PYTHONPATH": str(tmp_path), "PLACE": str(place)},
        )
        found = Keys(**json.loads(said.out))
        assert (found.place, found.kept, found.valid) == (str(place), 4, 3660)
        assert found.ages == [pytest.approx(hours * HOUR, abs=HOUR / 4) for hours in order]
