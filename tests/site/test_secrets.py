"""Passwords: made once, for few eyes."""

import re
import time
from pathlib import Path
from threading import Thread

import pytest

from osbox.site import secrets
from osbox.site.site import Paths
from tests.conftest import PROJECT

pytestmark = pytest.mark.root  # secrets are given to the containers' user


def test_secrets_are_made_once(paths: Paths) -> None:
    assert set(secrets.ensure(paths)) == {*secrets.NAMES, *secrets.OWN}
    first = {name: secrets.read(paths, name) for name in secrets.NAMES}
    assert secrets.ensure(paths) == []
    assert {name: secrets.read(paths, name) for name in secrets.NAMES} == first
    assert len(set(first.values())) == len(first)


def test_two_that_make_them_at_once_agree(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first `osbox up`, or one and an `osbox node enroll`: each went on with a password of its own."""
    real, made, read = secrets.write, list[list[str]](), list[dict[str, str]]()
    monkeypatch.setattr(secrets, "NAMES", secrets.NAMES[:3])

    def write(file: Path, text: str) -> None:
        time.sleep(0.05)
        real(file, text)

    def ensure() -> None:
        made.append(secrets.ensure(paths))
        read.append({name: secrets.read(paths, name) for name in secrets.NAMES})

    monkeypatch.setattr(secrets, "write", write)
    threads = [Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, made)) == [0, 0, 0, 4]
    assert read == [read[0]] * 4


def test_secrets_are_for_root_and_the_containers_user(paths: Paths) -> None:
    secrets.ensure(paths)
    assert paths.secrets.stat().st_mode & 0o777 == 0o700
    for name in secrets.NAMES:
        status = (paths.secrets / name).stat()
        assert (status.st_mode & 0o777, status.st_uid) == (0o600, secrets.UID)


def test_a_lost_secret_is_made_anew_and_the_others_stay(paths: Paths) -> None:
    secrets.ensure(paths)
    kept = secrets.read(paths, "db-nova")
    (paths.secrets / "db-keystone").write_text("")
    assert secrets.ensure(paths) == ["db-keystone"]
    assert secrets.read(paths, "db-nova") == kept


def test_every_secret_needs_no_quoting_and_stands_in_compose(paths: Paths) -> None:
    secrets.ensure(paths)
    compose = (PROJECT / "compose/stack.yaml").read_text() + (PROJECT / "compose/rack.yaml").read_text()
    for name in secrets.NAMES:
        assert re.fullmatch(r"[A-Za-z0-9_.~-]{20,}", secrets.read(paths, name))
        assert f"/secrets/{name}" in compose
