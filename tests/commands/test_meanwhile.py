"""Commands beside the demo's steps: told when they are waited for, with what they said when they failed; gone
when we are."""

import os
import signal
import sys
from pathlib import Path

import pytest

from osbox import run, waiting
from osbox.commands import context
from osbox.commands.meanwhile import Meanwhile
from osbox.errors import Error


@pytest.fixture
def here(home: Path) -> context.Context:
    return context.load(None)


def test_what_was_made_is_told_with_both_times(
    here: context.Context, capsys: pytest.CaptureFixture[str]
) -> None:
    with Meanwhile(here) as beside:
        beside.end(beside.start("The help", "--help"))
    said = capsys.readouterr().err
    assert "✔ The help: made meanwhile in " in said
    assert "waited " in said


def test_a_failure_is_told_when_it_is_waited_for(here: context.Context) -> None:
    with Meanwhile(here) as beside:
        job = beside.start("Nothing", "nonsense")
        with pytest.raises(Error, match="osbox nonsense failed beside the other steps") as caught:
            beside.end(job)
    assert "No such command" in caught.value.evidence
    assert caught.value.hint == "osbox nonsense; then osbox demo again"


def test_programs_need_not_lie_beside_python(here: context.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install --user` puts them elsewhere."""
    beside = str(Path(sys.executable).with_name("osbox"))
    assert Meanwhile(here)._argv[4:5] == [beside]
    python = sys.executable
    monkeypatch.setattr(sys, "executable", "/usr/bin/nowhere/python3")
    [first, *words] = Meanwhile(here)._argv[4:8]
    assert first == "/usr/bin/nowhere/python3"
    assert run.run([python, *words, "--version"]).out.startswith("osbox ")


LONG = """
import sys, time
from osbox import run, waiting
with run.spawn([*run.ENDS_WITH_US, "sleep", "60"]) as child:
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_what_runs_beside_us_ends_when_we_are_killed() -> None:
    with run.spawn([sys.executable, "-c", LONG], stdout=-1) as parent:
        assert parent.stdout
        command = Path(f"/proc/{int(parent.stdout.readline())}/cmdline")
        # setpriv asks the kernel for it before it becomes the command; until then nothing ends it.
        waiting.wait("the child", lambda: command.read_bytes().startswith(b"sleep"), 5, poll=0.02)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    waiting.wait("its end", lambda: not command.exists() or not command.read_bytes(), 5, poll=0.02)
