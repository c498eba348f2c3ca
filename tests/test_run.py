"""The one door to processes."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from osbox import run
from osbox.errors import Error


def test_output_and_code() -> None:
    assert run.run(["sh", "-c", "echo out; echo err >&2"]) == run.Result(0, "out\n", "err\n")
    assert run.run(["sh", "-c", "exit 3"], check=False).code == 3


def test_a_bad_exit_shows_the_line_to_copy_and_the_last_words() -> None:
    with pytest.raises(Error, match="sh failed with exit code 3") as caught:
        run.run(["sh", "-c", "echo why >&2; exit 3"])
    assert caught.value.evidence == "$ sh -c 'echo why >&2; exit 3'\nwhy"


def test_death_by_a_signal_is_an_error() -> None:
    with pytest.raises(Error, match="was ended by signal 9"):
        run.run(["sh", "-c", "kill -9 $$"])


def test_a_missing_program_is_an_error_with_a_hint() -> None:
    for call in (run.run, run.attach):
        with pytest.raises(Error, match="no-such-program is not installed") as caught:
            call(["no-such-program"])
        assert "install no-such-program" in caught.value.hint


STARTS: dict[str, Callable[[list[str], Path], object]] = {
    "run": lambda argv, _: run.run(argv),
    "stream": lambda argv, _: run.stream(argv, print),
    "attach": lambda argv, _: run.attach(argv),
    "daemon": lambda argv, place: run.daemon(argv, place / "log"),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
def test_what_the_machine_does_not_start(start: Callable[[list[str], Path], object], tmp_path: Path) -> None:
    """Each was a defect of ours, or 'not installed'."""
    file = tmp_path / "program"
    for content, mode, said in (
        ("#!/bin/sh\n", 0o644, "Permission denied"),
        ("no program", 0o755, "Exec format error"),
        ("#!/no/such/shell\n", 0o755, "No such file or directory"),
    ):
        file.write_text(content)
        file.chmod(mode)
        with pytest.raises(Error, match=f"{file} cannot be started: {said}") as caught:
            start([str(file)], tmp_path)
        assert caught.value.hint
    with pytest.raises(Error, match=f"{file} cannot be started: Argument list too long") as caught:
        start([str(file), "x" * (1 << 20)], tmp_path)
    assert len(caught.value.evidence) < 400
    with pytest.raises(Error, match="no-such-program is not installed"):
        start(["no-such-program"], tmp_path)


def test_a_program_that_only_its_own_path_has(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("no program")
    (tmp_path / "mine").chmod(0o755)
    with pytest.raises(Error, match="mine cannot be started: Exec format error"):
        run.run(["mine"], env={"PATH": str(tmp_path)})


def test_a_directory_that_is_gone_is_no_missing_program(tmp_path: Path) -> None:
    with pytest.raises(Error, match=f"there is no directory {tmp_path / 'gone'} to run true in"):
        run.run(["true"], cwd=tmp_path / "gone")


def test_a_deadline_is_kept() -> None:
    begin = time.monotonic()
    with pytest.raises(Error, match=r"sleep did not end within 0 s"):
        run.run(["sleep", "30"], timeout=0.2)
    assert time.monotonic() - begin < 5


def test_standard_input_is_closed_unless_given() -> None:
    assert run.run(["cat"]).out == ""
    assert run.run(["cat"], input="text").out == "text"


def test_environment_is_added_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    assert run.run(["sh", "-c", "echo $OURS$ADDED"], env={"ADDED": "2"}).out == "12\n"


def test_output_that_is_no_text_does_not_break() -> None:
    assert run.run(["printf", r"\377"]).out == "�"


def test_lines_come_one_by_one() -> None:
    lines: list[str] = []
    assert run.stream(["sh", "-c", "echo a; echo b >&2; exit 4"], lines.append) == 4
    assert lines == ["a", "b"]


def test_a_child_ends_with_its_block() -> None:
    with pytest.raises(KeyboardInterrupt), run.spawn(["sleep", "60"]) as process:
        raise KeyboardInterrupt
    assert process.poll() == -15


def test_a_daemon_writes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run.daemon(["sh", "-c", "echo started"], log)
    deadline = time.monotonic() + 10
    while log.read_text() != "started\n" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log.read_text() == "started\n"


def test_attach_hands_on_the_code() -> None:
    assert run.attach([sys.executable, "-c", "raise SystemExit(7)"]) == 7


def test_tail() -> None:
    assert run.tail("a\nb\nc\n\n", 2) == "b\nc"
