"""What a command prints is for people on a terminal, and plain lines in a pipe."""

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from rich.console import Console
from rich.table import Table

from osbox import log, plain, run
from osbox.cloud import stack as cloud
from osbox.commands import metal, stack
from osbox.commands.context import Context
from osbox.engine import engine
from osbox.engine.engine import Engine
from osbox.metal import rack
from osbox.site.site import Paths, Site

# As Compose writes logs, `--ansi never` or not, and a node's firmware.
SAID = "\x1b[2Kkeystone | ready\n\x1b[2K\x1b[36mglance | \x1b[0mschön\tso\n\x1b[0m\x1b[2JiPXE\r\n"
PLAIN = "keystone | ready\nglance | schön\tso\niPXE\n"


def logs(context: Any) -> None:
    stack.logs(context, None, follow=False)


def console(context: Any) -> None:
    metal.console(context, "rack-1", log_only=True)


@pytest.mark.parametrize("command", [logs, console])
def test_there_are_no_control_codes_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
    paths: Paths,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: Any,
) -> None:
    file = tmp_path / "said"
    file.write_text(SAID)
    argv = [sys.executable, "-c", f"import sys; sys.stdout.write(open({str(file)!r}).read()); sys.exit(3)"]
    monkeypatch.setattr(engine, "start", lambda *_: Engine("host", "28"))
    monkeypatch.setattr(engine, "find", lambda *_: Engine("host", "28"))
    monkeypatch.setattr(cloud, "observe", lambda *_: {"keystone": None})
    monkeypatch.setattr(cloud, "logs_argv", lambda *_, **__: argv)
    monkeypatch.setattr(rack, "nodes", lambda *_: [SimpleNamespace(name="rack-1")])
    monkeypatch.setattr(rack, "console_log_argv", lambda *_, **__: argv)
    monkeypatch.setattr(log.out, "_file", sys.stdout)
    context: Any = SimpleNamespace(obj=Context(paths, Site(), paths, Site()))
    with pytest.raises(typer.Exit) as end:
        command(context)
    assert end.value.exit_code == 3, "the program's own"
    assert capfd.readouterr().out == PLAIN


def test_lines_come_as_they_are_written() -> None:
    """Also into a pipe: `osbox logs -f | grep` waits for none."""
    code = "from osbox.commands import context; import sys; context.show(['sh', '-c', 'echo one; sleep 5'])"
    with run.spawn([sys.executable, "-c", code], stdout=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == "one\n"
        assert process.poll() is None


@pytest.mark.parametrize("console", [log.out, log.err], ids=["out", "err"])
def test_what_is_printed_is_what_was_said(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a MAC address with :ab: or :cd: in it Rich made one with an emoji."""
    said, text = io.StringIO(), "52:54:00:ab:cd:01 fe80::1:ab:2 :x: 15:AB:47"
    monkeypatch.setattr(console, "_file", said)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(text)
    console.print(text)
    console.print(table)
    assert [line.strip() for line in said.getvalue().splitlines()] == [text, text]


def test_no_console_makes_emoji_of_words() -> None:
    source = Path(log.__file__).parent
    calls = [
        call for path in source.rglob("*.py") for call in re.findall(r"Console\([^)]+\)", path.read_text())
    ]
    assert calls
    assert [call for call in calls if "emoji=False" not in call] == []


def test_plain_text() -> None:
    assert plain.text("\x1b[1;31ma\x1b[0m\tb\x07\n") == "a\tb\n"
    assert plain.text("a\rb", " ") == "a b"
