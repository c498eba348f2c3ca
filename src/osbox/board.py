"""The board of a parallel job: a line for each thing as it ends; on a terminal, below, what runs and how
long."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from osbox import log


class Board:
    """Lines on standard output; safe to call from several threads.

    doing says in a few words what a running thing is at; it is asked a few times a second, on a terminal
    only.
    """

    def __init__(self, doing: Callable[[str], str] = lambda _: "") -> None:
        self._doing = doing
        self._running: dict[str, float] = {}
        self._lock = threading.Lock()
        self._live: Live | None = None
        # Not beside -v, whose lines go to standard error and would tear the live view.
        if log.out.is_terminal and not log.is_verbose():
            self._live = Live(
                get_renderable=self._table, console=log.out, refresh_per_second=4, transient=True
            )

    def __enter__(self) -> "Board":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def start(self, name: str) -> None:
        with self._lock:
            self._running[name] = time.monotonic()

    def end(self, name: str, line: str, details: str = "") -> None:
        """The thing has ended: its line (if any) stays, with its details indented."""
        with self._lock:
            self._running.pop(name, None)
            if line:
                log.out.print(escape(line))
            for detail in filter(str.strip, details.splitlines()):
                log.out.print(f"      [dim]{escape(detail)}[/]")

    def note(self, text: str) -> None:
        with self._lock:
            log.out.print(f"[yellow]{escape(text)}[/]")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for name, since in list(self._running.items()):
            doing = escape(self._doing(name))
            table.add_row(f"[cyan]{escape(name)}[/]", f"{now - since:.0f} s", f"[dim]{doing}[/]")
        return table
