"""The commands: all can be loaded, and none is before it is asked for."""

import sys
from pathlib import Path

import pytest
import typer

from osbox import run
from osbox.cli import app, execute
from osbox.commands import table
from osbox.commands.table import TABLE


@pytest.mark.parametrize("name", TABLE)
def test_each_is_there_with_its_name_and_a_help(name: str) -> None:
    command = typer.main.get_group(app).commands[name]
    assert command.name == name
    assert command.get_short_help_str(), "a line in the help of all"


def test_what_is_not_called_is_not_loaded() -> None:
    """All of it takes twice as long as a Python with the command line alone."""
    program = """
import sys
from osbox import cli
assert cli.execute(["engine", "--help"]) == 0
print(*sorted(name for name in sys.modules if name.startswith("osbox.commands.")), file=sys.stderr)
"""
    loaded = run.run([sys.executable, "-c", program]).err.split()
    assert loaded == ["osbox.commands.context", "osbox.commands.engine", "osbox.commands.table"]


def test_a_command_that_cannot_be_loaded_is_no_unknown_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A KeyError while its module was imported was told as: No such command 'demo'."""

    def broken(_: str) -> None:
        raise KeyError("HOME")

    monkeypatch.setattr(table, "import_module", broken)
    assert execute(["demo"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "osbox has a defect: RuntimeError: osbox demo cannot be loaded: KeyError: 'HOME'" in said
    assert execute(["bild"]) == 2
