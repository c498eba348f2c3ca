"""A step that takes long says where it is."""

import time

import pytest
from rich.console import Console

from osbox import log


def test_where_it_is_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No terminal: plain lines on standard error, and none when it is over."""
    monkeypatch.setattr(log, "SPOKEN_SECONDS", 0.02)
    asked = 0

    def doing() -> str:
        nonlocal asked
        asked += 1
        return f"[{asked}] of 2"

    with log.step("Count", doing):
        deadline = time.monotonic() + 20
        while asked < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    last = asked
    time.sleep(0.1)
    said = capsys.readouterr()
    assert asked == last >= 2
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[:2] == ["  [1] of 2", "  [2] of 2"]
    assert lines[-1].startswith("✔ Count ")


def test_a_short_step_says_that_it_is_done_only(capsys: pytest.CaptureFixture[str]) -> None:
    with log.step("Count", lambda: "1 of 2"):
        pass
    assert [line[:7] for line in capsys.readouterr().err.splitlines()] == ["✔ Count"]


def test_on_a_terminal_the_line_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, width=40, record=True, highlight=False, soft_wrap=True)
    monkeypatch.setattr(log, "err", console)
    now = "[1] of 2"
    with log.step("Count", lambda: now):
        deadline = time.monotonic() + 20
        while "[1] of 2" not in console.export_text(clear=False) and time.monotonic() < deadline:
            time.sleep(0.02)
        now = "[2] of 2, and what follows is cut where the line ends"
        while "[2] of 2" not in console.export_text(clear=False) and time.monotonic() < deadline:
            time.sleep(0.02)
    drawn = console.export_text()
    assert "Count  [1] of 2" in drawn
    assert "Count  [2] of 2, and" in drawn
    assert "…" in drawn
    assert "line ends" not in drawn
