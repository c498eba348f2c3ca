"""The files of the entrance's certificate: whole whatever happens, for few eyes, and good for clients."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from osbox import files
from osbox.errors import Error
from osbox.site import secrets
from osbox.site.site import Paths, Site
from osbox.tls import examine, names, store
from osbox.tls.decide import Do
from osbox.tls.reading import File, Wrong, certificates
from osbox.tls.store import Files
from tests.tls.made import DAY, NOW, key_pem, made, pem, refused

WANTED = names.wanted(Site(), "box.example")


pytestmark = pytest.mark.usefixtures("own_user")


def ensure(paths: Paths, now: datetime = NOW, **how: bool) -> store.Kept:
    return store.ensure(paths, Site(), WANTED, now, **how)


def good(paths: Paths, host: str = "127.0.0.1") -> bool:
    at = Files.of(paths)
    return refused(at.front, at.trusted, host) == ""


def company(paths: Paths, *, end: datetime = NOW + 365 * DAY) -> examine.Examined:
    """A certificate of a company, with one authority in between, examined."""
    root = made("Example root", ca=True)
    middle = made("Example issuing", root, ca=True)
    leaf, key = made("cloud", middle, names=("127.0.0.1", "10.29.29.1", "cloud.example"), end=end)
    file, private = File("cert", pem(leaf, middle[0])), File("key", key_pem(key))
    needed = names.published(Site())
    found = examine.examine(file, private, [root[0]], now=NOW, needed=needed)
    assert found.problems == ()
    return found


def content(paths: Paths) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(paths.tls.rglob("*")) if path.is_file()}


def test_the_first_time_all_is_made(paths: Paths) -> None:
    kept = ensure(paths)
    assert (kept.installed, kept.certificate.do) == (False, Do.ANEW)
    assert kept.authority
    assert kept.authority.do is Do.ANEW
    assert good(paths)
    at = Files.of(paths)
    assert sorted(content(paths)) == sorted(map(str, (at.authority, at.trusted, at.front)))
    assert (
        certificates(File("", at.front.read_bytes()))[0][1]
        == certificates(File("", at.trusted.read_bytes()))[0][0]
    )
    assert b"PRIVATE KEY" not in at.trusted.read_bytes()
    assert store.trusted(paths) == at.trusted.read_text()


def test_the_second_time_nothing_is_written(paths: Paths) -> None:
    ensure(paths)
    before = {path: path.stat() for path in paths.tls.rglob("*")}
    assert ensure(paths, NOW + 794 * DAY).certificate.do is Do.FRESH
    assert {path: path.stat().st_mtime_ns for path in before} == {
        path: status.st_mtime_ns for path, status in before.items()
    }


def test_a_renewal_keeps_the_authority(paths: Paths) -> None:
    ensure(paths)
    old = content(paths)
    assert ensure(paths, NOW + 800 * DAY).certificate.do is Do.RENEW
    at = Files.of(paths)
    assert [name for name, text in content(paths).items() if old[name] != text] == [str(at.front)]
    assert ensure(paths, NOW + 800 * DAY, anew=True).certificate.why == "it was asked for"


@pytest.mark.parametrize("jumps", [(400, 0), (4000, 0), (0, -400, 0)], ids=str)
def test_clocks_that_jump_end_with_what_clients_take(paths: Paths, jumps: tuple[int, ...]) -> None:
    for days in jumps:
        ensure(paths, NOW + days * DAY)
    assert good(paths)
    assert store.shown(paths, WANTED, NOW)[1] == []


def test_files_are_for_root_and_the_containers_user(paths: Paths) -> None:
    ensure(paths)
    at = Files.of(paths)
    for file in (at.front, at.trusted, at.authority):
        file.chmod(0o644)
    for place in (paths.tls, at.front.parent):
        place.chmod(0o755)
    assert {one.kind for one in store.shown(paths, WANTED, NOW)[1]} == {Wrong.READABLE}
    ensure(paths)
    assert {files.mode_of(file) for file in (at.front, at.trusted, at.authority)} == {0o600}
    assert {files.mode_of(place) for place in (paths.tls, at.front.parent)} == {0o700}
    assert {path.stat().st_uid for path in (at.front, at.front.parent, at.trusted)} == {secrets.UID}
    assert {path.stat().st_uid for path in (paths.tls, at.authority)} == {os.geteuid()}


DAMAGE: Mapping[str, Callable[[Files], object]] = {
    "no authority": lambda at: at.authority.unlink(),
    "an empty authority": lambda at: at.authority.write_bytes(b""),
    "an authority without its key": lambda at: at.authority.write_bytes(at.trusted.read_bytes()),
    "no certificate": lambda at: at.front.unlink(),
    "a certificate cut off": lambda at: at.front.write_bytes(at.front.read_bytes()[:700]),
    "zeros": lambda at: at.front.write_bytes(bytes(900)),
    "no trust": lambda at: at.trusted.unlink(),
    "another trust": lambda at: at.trusted.write_bytes(pem(made("Other", ca=True)[0])),
    "the authority of another one": lambda at: at.authority.write_bytes(
        pem((other := made("Other", ca=True))[0]) + key_pem(other[1])
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_damaged_is_told_and_made_again(paths: Paths, what: str) -> None:
    ensure(paths)
    at = Files.of(paths)
    DAMAGE[what](at)
    if "authority" not in what and what != "no certificate":
        assert store.shown(paths, WANTED, NOW)[1], "and nothing but that it is damaged"
    ensure(paths)
    assert good(paths)
    assert store.shown(paths, WANTED, NOW)[1] == []


def test_two_at_once_agree(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would make an authority: clients were told of one, and shown a certificate of the other."""
    real, told = files.write, list[str]()

    def write(*args: Any, **how: Any) -> None:
        time.sleep(0.05)
        real(*args, **how)

    def make() -> None:
        ensure(paths)
        told.append(store.trusted(paths))

    monkeypatch.setattr(files, "write", write)
    threads = [Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [store.trusted(paths)] * 3
    assert good(paths)


@pytest.mark.root
def test_who_may_not_look_is_not_told_that_there_is_none(paths: Paths) -> None:
    """Python 3.14 says of a file in a directory of somebody else's that it does not exist."""
    ensure(paths)
    for place in [paths.home, *paths.home.parents[:3]]:
        if place.name:
            place.chmod(0o755)
    os.seteuid(65534)
    try:
        for look in (store.is_installed, store.trusted, lambda paths: store.shown(paths, WANTED, NOW)):
            with pytest.raises(PermissionError):
                look(paths)
    finally:
        os.seteuid(0)


# --- installed
# --------------------------------------------------------------------------------


def test_an_installed_one_takes_the_place_of_ours(paths: Paths) -> None:
    ensure(paths)
    assert store.install(paths, company(paths), NOW).certificate.do is Do.FRESH
    assert good(paths, "cloud.example")
    assert good(paths)
    before = content(paths)
    kept = ensure(paths)
    assert (kept.installed, content(paths)) == (True, before)
    assert store.shown(paths, names.published(Site()), NOW)[1] == []


@pytest.mark.parametrize(("days", "kind"), [(20, Wrong.ENDING), (40, Wrong.EXPIRED)])
def test_an_installed_one_is_never_renewed_and_its_end_is_told(paths: Paths, days: int, kind: Wrong) -> None:
    store.install(paths, company(paths, end=NOW + 30 * DAY), NOW)
    before = content(paths)
    later = NOW + days * DAY
    assert ensure(paths, later).certificate.do is Do.RENEW
    assert ensure(paths, later, anew=True).installed
    assert content(paths) == before
    assert [one.kind for one in store.shown(paths, names.published(Site()), later)[1]] == [kind]


def test_the_way_back_to_our_own_authority(paths: Paths) -> None:
    ensure(paths)
    old = store.trusted(paths)
    store.install(paths, company(paths), NOW)
    assert store.trusted(paths) != old
    assert not ensure(paths, own=True).installed
    assert store.trusted(paths) == old, "clients that trusted it do again"
    assert good(paths)
    assert not store.is_installed(paths)


def test_an_installed_one_that_was_damaged_is_told(paths: Paths) -> None:
    store.install(paths, company(paths), NOW)
    installed = Files.of(paths).installed
    whole = installed.read_bytes()
    for text in (b"", whole[:-200], whole[: len(whole) // 2], bytes(99)):
        installed.write_bytes(text)
        with pytest.raises(Error, match="cannot be read") as told:
            ensure(paths)
        assert "--own" in told.value.hint
    ensure(paths, own=True)
    assert good(paths)


# --- killed
# --------------------------------------------------------------------------------


def killed(work: Callable[[], object], left: int, *, after: bool) -> bool:
    """Whether a process that does this was killed at its so manieth rename: before it, when the new file lies
    beside the old one, or after it."""
    child = os.fork()
    if not child:
        try:
            real, done = Path.rename, iter(range(1, 99))

            def rename(self: Path, target: Path) -> Path:
                last = next(done) == left
                if last and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                real(self, target)
                if last:
                    os.kill(os.getpid(), signal.SIGKILL)
                return target

            Path.rename = rename  # type: ignore[method-assign,assignment]
            work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, -signal.SIGKILL}
    return code != 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("what", "writes"), [("first", 3), ("renew", 1), ("new authority", 3), ("install", 3), ("own", 2)]
)
def test_who_is_killed_leaves_the_old_files_or_the_new_ones(
    paths: Paths, what: str, writes: int, *, after: bool
) -> None:
    theirs = company(paths)

    def work() -> None:
        if what == "install":
            store.install(paths, theirs, NOW)
        else:
            ensure(paths, anew=True, own=what == "own")

    for left in range(1, writes + 2):
        begin(paths, what)
        old = content(paths)
        assert killed(work, left, after=after) == (left <= writes)
        for name, text in content(paths).items():
            assert files.mode_of(Path(name)) == 0o600
            if not name.endswith(".new"):
                assert text == old.get(name) or certificates(File("", text))[1] == []
        ensure(paths)
        assert good(paths)
        assert store.shown(paths, names.published(Site()), NOW)[1] == []


def begin(paths: Paths, what: str) -> None:
    for path in paths.tls.rglob("*"):
        if path.is_file():
            path.unlink()
    if what != "first":
        ensure(paths)
    if what == "new authority":
        Files.of(paths).authority.unlink()
    if what == "own":
        store.install(paths, company(paths), NOW)


def test_a_full_disk_leaves_what_was_there(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure(paths)
    before = content(paths)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ensure(paths, anew=True)
    with pytest.raises(OSError, match="No space left"):
        store.install(paths, company(paths), NOW)
    assert content(paths) == before
    assert not store.is_installed(paths)
