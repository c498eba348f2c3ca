"""Run image builds in parallel: an image waits for the one it stands on; a failing one stops only those on
it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from osbox import lock, log, run
from osbox.board import Board
from osbox.engine import docker
from osbox.fault import Fault, explain
from osbox.images import catalogue
from osbox.images.catalogue import Image
from osbox.site.site import Paths

RETRIES = 2
TAIL_LINES = 15
TAIL_BYTES = 16 << 10
PAUSE_SECONDS = 3  # between two tries


@dataclass(frozen=True)
class Task:
    """One image to build. argv is empty where there is nothing to do; problem is why it cannot even be tried.

    inputs, files: the digest of what it is made from, and the files among that with their SHA-256.
    """

    image: Image
    tag: str
    argv: tuple[str, ...]
    log: Path
    problem: str = ""
    inputs: str = ""
    files: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Outcome:
    """How a task ended: reason is empty when it is done."""

    task: Task
    reason: str = ""
    fault: Fault | None = None


def alone(paths: Paths) -> AbstractContextManager[None]:
    """One build at a time in a state directory: a second one says so and waits; what the first one made, it
    finds done."""
    return lock.alone(paths.lock("build"), "Another build is running here")


class Builder:
    """A pool of builds.

    Ctrl-C ends the children; BuildKit keeps the finished steps, so that the next run goes on from there.
    """

    def __init__(self, board: Board, jobs: int) -> None:
        self._board = board
        self._pool = ThreadPoolExecutor(jobs)
        self._ends: dict[str, Future[Outcome]] = {}
        self._projects: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stops: dict[str, Callable[[], None]] = {}
        self._stopped = threading.Event()

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Run tasks, given in an order where a base comes before what stands on it."""
        self._projects = {task.image.name: task.image.project for task in tasks}
        for task in tasks:
            self._ends[task.image.name] = self._pool.submit(self._one, task)
        try:
            return [end.result() for end in self._ends.values()]
        except BaseException:
            self._stop()
            raise
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _one(self, task: Task) -> Outcome:
        needs = [
            name for name in (task.image.base, catalogue.BUILDER.name if task.image.builder else "") if name
        ]
        lacking = next((name for name in needs if not self._shared(task, name) and self._failed(name)), "")
        if lacking:
            return self._skip(task, lacking)
        if self._stopped.is_set():
            return Outcome(task, "interrupted")
        if task.problem:
            self._board.end(task.tag, f"❌  {task.tag} - Failed", task.problem)
            return Outcome(task, task.problem)
        if task.argv:
            self._board.start(task.tag)
            code = self._try(task)
            if self._stopped.is_set():
                return Outcome(task, "interrupted")
            if code != 0:
                lacking = next(filter(self._failed, needs), "")
                return self._skip(task, lacking) if lacking else self._fail(task)
        self._board.end(task.tag, "" if task.image.internal else f"🔨  {task.tag} - Done")
        return Outcome(task)

    def _shared(self, task: Task, name: str) -> bool:
        """Targets of one Dockerfile share their stages in BuildKit: they need not wait for each other."""
        return name in self._ends and self._projects[name] == task.image.project

    def _failed(self, name: str) -> bool:
        # No deadlock with few workers: the base was handed to the pool before, so it has ended or is running.
        return name in self._ends and bool(self._ends[name].result().reason)

    def _skip(self, task: Task, lacking: str) -> Outcome:
        reason = f"{lacking} failed"
        self._board.end(task.tag, f"❌  {task.tag} - Skipped: {reason}")
        return Outcome(task, reason)

    def _fail(self, task: Task) -> Outcome:
        text = tail(task.log)
        why = explain(text)
        reason = why.message if why else "its build failed"
        details = f"{run.tail(text, TAIL_LINES)}\nthe whole log: {task.log}"
        self._board.end(task.tag, f"❌  {task.tag} - Failed" + (f": {why.message}" if why else ""), details)
        return Outcome(task, reason, why)

    def _try(self, task: Task) -> int:
        """Build, and build again when what failed is the weather."""
        task.log.parent.mkdir(parents=True, exist_ok=True)
        task.log.write_text("")
        for attempt in range(RETRIES + 1):
            code = self._build(task)
            why = explain(tail(task.log)) if code else None
            if not why or not why.transient or attempt == RETRIES:
                break
            self._board.note(f"🔁  {task.tag} - {why.message}; try {attempt + 2} of {RETRIES + 1}")
            if self._stopped.wait(PAUSE_SECONDS):
                break
        return code

    def _build(self, task: Task) -> int:
        log.command(run.line(task.argv))
        environment = docker.environment()
        with task.log.open("a") as file:
            file.write(f"$ {run.line(task.argv)}\n")
            file.flush()
            # It ends with us; what it has finished stays in the cache.
            with run.spawn(
                [*run.ENDS_WITH_US, *task.argv], stdout=file.fileno(), stderr=file.fileno(), env=environment
            ) as process:
                with self._lock:
                    self._stops[task.tag] = process.terminate
                    if self._stopped.is_set():
                        process.terminate()
                code = process.wait()
                with self._lock:
                    del self._stops[task.tag]
        return code

    def _stop(self) -> None:
        with self._lock:
            self._stopped.set()
            for stop in self._stops.values():
                stop()


def tail(file: Path) -> str:
    """The end of a log."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
        return stream.read().decode(errors="replace")
