"""Public commands that run beside the demo's steps, each a process of its own: what they make is needed by a
later step only."""

import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

from osbox import log, run
from osbox.commands.context import Context
from osbox.errors import Error

PIPE, STDOUT = -1, -2  # subprocess's own numbers for them


@dataclass
class Job:
    """One such command. what: what it makes, as a person is told; took: its seconds, from start to end."""

    what: str
    words: tuple[str, ...]
    process: Any
    said: list[str]
    reader: Thread
    took: float = 0.0


class Meanwhile:
    """Holds the commands; leaving the block ends those that still run."""

    def __init__(self, here: Context) -> None:
        """here: of the deployment that they are for."""
        options = [
            "--engine",
            here.base_site.engine,
            "--name",
            here.site.name,
        ]  # also the base's: OSBOX_NAME may say another
        self._argv, self._held = [*run.ENDS_WITH_US, *_program(), *options], ExitStack()

    def __enter__(self) -> "Meanwhile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def start(self, what: str, *words: str) -> Job:
        """Start `osbox WORDS`; what it says is kept, and shown if it fails."""
        process = self._held.enter_context(run.spawn([*self._argv, *words], stdout=PIPE, stderr=STDOUT))
        begin, said = time.monotonic(), list[str]()

        def read() -> None:
            with suppress(ValueError):  # closed under it: the block was left early
                said.extend(process.stdout or ())
            process.wait()
            job.took = time.monotonic() - begin

        job = Job(what, words, process, said, Thread(target=read, daemon=True))
        job.reader.start()
        return job

    def end(self, job: Job) -> None:
        """Wait until it has ended, and say for how long; raises Error with what it said when it failed."""
        begin = time.monotonic()
        while job.reader.is_alive():
            job.reader.join(0.2)
        command = f"osbox {' '.join(job.words)}"
        if job.process.returncode != 0:
            raise Error(
                f"{command} failed beside the other steps",
                evidence=run.tail("".join(job.said)),
                hint=f"{command}; then osbox demo again",
            )
        waited = time.monotonic() - begin
        log.err.print(
            f"[green]✔[/] {job.what}: made meanwhile in {log.seconds(job.took)} [dim]waited"
            f" {log.seconds(waited)}[/]"
        )


def _program() -> list[str]:
    """This osbox: in a virtual environment beside its Python; elsewhere pip puts programs into another place.

    -P: a module in the directory that somebody stands in must not be taken for one of ours.
    """
    beside = Path(sys.executable).with_name("osbox")
    return [str(beside)] if beside.is_file() else [sys.executable, "-P", "-m", "osbox.cli"]
