"""The ledger: durable before the act, first entry wins, a broken file is one clear error."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from osbox.errors import Error
from osbox.site.ledger import Entry, Ledger, ledger
from tests.fulldisk import no_room

BRIDGE = Entry(kind="link", name="provisioning", made_by="osbox up")


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return ledger(tmp_path / "home")


def test_no_file_is_an_empty_ledger(book: Ledger) -> None:
    assert book.entries() == ()
    assert book.remove("link", "nothing") is False
    assert not book.file.exists()


def test_add_find_remove(book: Ledger) -> None:
    port = Entry(
        kind="port", name="eth1", details={"addresses": ["192.0.2.7/24"]}, made_by="osbox net connect"
    )
    assert book.add(BRIDGE)
    assert book.add(port)
    assert book.entries() == (BRIDGE, port)
    assert book.entries("port") == (port,)
    assert book.find("port", "eth1") == port
    assert book.find("link", "eth1") is None
    assert book.remove("link", "provisioning")
    assert book.entries() == (port,)


def test_the_first_entry_wins(book: Ledger) -> None:
    before = Entry(kind="port", name="eth1", details={"addresses": ["192.0.2.7/24"]})
    book.add(before)
    assert book.add(Entry(kind="port", name="eth1", details={"addresses": []})) is False
    assert book.entries() == (before,)


def test_an_emptied_ledger_leaves_no_file(book: Ledger) -> None:
    book.add(BRIDGE)
    book.remove("link", "provisioning")
    assert list(book.file.parent.iterdir()) == []


WRONG_ENTRY = '{"version": 1, "entries": [{"kind": "moon"}]}'


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2, "entries": []}', WRONG_ENTRY])
def test_a_broken_file_is_named_and_kept(book: Ledger, text: str) -> None:
    book.file.parent.mkdir()
    book.file.write_text(text)
    with pytest.raises(Error, match=str(book.file)) as caught:
        book.add(BRIDGE)
    assert caught.value.hint
    assert caught.value.evidence
    assert book.file.read_text() == text


def test_a_half_written_new_file_does_no_harm(book: Ledger) -> None:
    book.add(BRIDGE)
    book.file.with_name("ledger.json.new").write_text('{"version": 1, "entr')
    assert book.entries() == (BRIDGE,)
    book.add(Entry(kind="link", name="ext0"))
    assert [entry.name for entry in book.entries()] == ["provisioning", "ext0"]


def test_writers_do_not_lose_each_others_entries(book: Ledger) -> None:
    threads = [threading.Thread(target=book.add, args=(Entry(kind="link", name=f"l{n}"),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(book.entries()) == 20


def test_a_killed_writer_leaves_a_whole_file(book: Ledger) -> None:
    book.add(BRIDGE)
    pid = os.fork()
    if pid == 0:
        for n in range(1, 5000):
            book.add(Entry(kind="link", name=f"l{n}"))
        os._exit(0)
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    names = [entry["name"] for entry in json.loads(book.file.read_text())["entries"]]
    assert names[0] == "provisioning"
    assert names[1:] == [f"l{n}" for n in range(1, len(names))]
    assert book.add(Entry(kind="link", name="after")), "the lock must have gone with its holder"


def test_a_linked_file_stays_a_link(book: Ledger, tmp_path: Path) -> None:
    book.file.parent.mkdir(parents=True)
    book.file.symlink_to(tmp_path / "elsewhere.json")
    book.add(BRIDGE)
    assert book.file.is_symlink()
    assert (tmp_path / "elsewhere.json").exists()
    book.remove(BRIDGE.kind, BRIDGE.name)
    assert not (tmp_path / "elsewhere.json").exists()
    book.add(BRIDGE)
    assert book.file.is_symlink()


def test_a_full_disk_keeps_nobody_from_removing_the_rest(
    book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry of what is gone stays, and is struck out by the next command that has room."""
    for name in ("a", "b"):
        book.add(Entry(kind="link", name=name, made_by="osbox up"))
    no_room(monkeypatch)
    assert book.remove("link", "a")
    assert [entry.name for entry in book.entries()] == ["a", "b"]
    with pytest.raises(OSError, match="No space left"):  # nothing is made that is not in it
        book.add(Entry(kind="link", name="c", made_by="osbox up"))
    monkeypatch.undo()
    assert book.remove("link", "a")
    no_room(monkeypatch)
    assert book.remove("link", "b")
    assert not book.file.exists()
