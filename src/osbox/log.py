"""What a person sees: colours and progress on a terminal, clean lines elsewhere.

Results (tables, JSON) go to standard output by `out`; everything that is said along the way goes to standard
error by `err`. Rich honours NO_COLOR and drops styles when the stream is no terminal.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from osbox.errors import Error

for _size in ("COLUMNS", "LINES"):  # of 0, as some consoles have it, Rich prints nothing; of ³ it fails
    if not re.fullmatch("[1-9][0-9]{0,4}", os.environ.get(_size, "1")):
        del os.environ[_size]
# Without emoji by name: a MAC address with :ab: in it would be printed with one.
out = Console(highlight=False, soft_wrap=True, emoji=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out = Console(
        highlight=False, soft_wrap=True, emoji=False, width=200
    )  # tables for a pipe are not cut to a terminal's 80 columns
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
SPOKEN_SECONDS = 60
"""How often a long step says where it is, where no line can be written over."""
_verbose = False


def set_verbose(on: bool) -> None:
    """Show every command that is run, copy-pasteable (the -v option)."""
    global _verbose  # noqa: PLW0603 - one switch of one process
    _verbose = on


def is_verbose() -> bool:
    return _verbose


def say(text: str) -> None:
    """A line along the way."""
    err.print(escape(text))


def state(name: str, now: str) -> None:
    """A thing that is waited for has reached a state."""
    say(f"  {name}: {now}")


def warn(text: str) -> None:
    err.print(f"[yellow]⚠[/]  {escape(text)}")


def command(line: str) -> None:
    """Echo a command line when -v is on."""
    if _verbose:
        err.print(f"[dim]$ {escape(line)}[/]")


def failure(error: Error) -> None:
    """Print an error: what happened, the evidence, the next command."""
    err.print(f"[bold red]Error:[/] {escape(error.message)}")
    if error.evidence:
        for line in error.evidence.rstrip().splitlines():
            err.print(f"[dim]  │ {escape(line)}[/]")
    if error.hint:
        err.print(f"[bold]Next:[/] {escape(error.hint)}")


@contextmanager
def step(title: str, doing: Callable[[], str] | None = None) -> Iterator[None]:
    """Show a step while it runs and how long it took; a failing one is marked before the error goes on up.

    doing says in a line where a long one is. It is asked all the time on a terminal, elsewhere each minute,
    from another thread.
    """
    start = time.monotonic()
    try:
        if err.is_terminal:
            with err.status(_Doing(title, doing) if doing else escape(title)):
                yield
        elif doing:
            with _spoken(doing):
                yield
        else:
            yield
    except BaseException:
        err.print(f"[red]✗[/] {escape(title)} [dim]{seconds(time.monotonic() - start)}[/]")
        raise
    err.print(f"[green]✔[/] {escape(title)} [dim]{seconds(time.monotonic() - start)}[/]")


class _Doing:
    """A step's line on a terminal, made anew each time that it is drawn; cut there, for it would wrap."""

    def __init__(self, title: str, doing: Callable[[], str]) -> None:
        self.title, self.doing = title, doing

    def __rich__(self) -> Text:
        text = Text(self.title, no_wrap=True, overflow="ellipsis")
        return text.append(f"  {self.doing()}", style="dim")


@contextmanager
def _spoken(doing: Callable[[], str]) -> Iterator[None]:
    """A line now and then, as long as the block runs."""
    over = threading.Event()

    def speak() -> None:
        while not over.wait(SPOKEN_SECONDS):
            say(f"  {doing()}")

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def seconds(value: float) -> str:
    """Seconds as a person reads them: 0.3 s, 42 s, 2 m 17 s."""
    if value < 10:  # noqa: PLR2004
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole} s" if whole < 100 else f"{whole // 60} m {whole % 60:02} s"  # noqa: PLR2004
