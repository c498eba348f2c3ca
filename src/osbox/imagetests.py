"""Test the images, a line each: recipe, user, layers, version, configuration; how they fail, and that they start."""

import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from osbox import docker, probes
from osbox.board import Board
from osbox.engine import Engine
from osbox.errors import Error
from osbox.model import runspec
from osbox.model.catalogue import Image
from osbox.model.site import Paths
from osbox.probes import PROBES, Subject
from osbox.sandbox import Sandbox


@dataclass(frozen=True)
class Report:
    """What the tests of one image found; it passed when there is no problem."""

    image: str
    version: str
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass
class Session:
    """One run of `osbox test`. doing: which test each image is at."""

    paths: Paths
    sandbox: Sandbox
    board: Board | None
    version: str
    specs: dict[str, runspec.RunSpec]
    doing: dict[str, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)


def check(
    paths: Paths, engine: Engine, wanted: Sequence[Image], *, version: str = "latest", jobs: int | None = None,
    quiet: bool = False,
) -> list[Report]:  # fmt: skip
    """Test images and print a line for each (quiet: none); returns what was found."""
    doing: dict[str, str] = {}
    scratch = paths.home / "tests" / f"images-{os.getpid()}"
    board = None if quiet else Board(lambda tag: doing.get(tag, ""))
    try:
        with Sandbox(engine, scratch) as sandbox:
            session = Session(paths, sandbox, board, version, runspec.load(paths.compose), doing)
            return _test_all(session, wanted, jobs or os.cpu_count() or 1)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _test_all(session: Session, wanted: Sequence[Image], jobs: int) -> list[Report]:
    pool = ThreadPoolExecutor(jobs)
    try:
        if not session.board:
            return list(pool.map(lambda image: _test(session, image), wanted))
        with session.board:
            return list(pool.map(lambda image: _test(session, image), wanted))
    except BaseException:
        session.stopped.set()
        raise
    finally:
        # Interrupted, what still runs ends by itself: its containers are removed under it.
        pool.shutdown(wait=False, cancel_futures=True)


def _test(session: Session, image: Image) -> Report:
    tag = image.tag(session.version)
    if session.board:
        session.board.start(tag)
    try:
        problems = _problems(session, image, tag)
    except Error as error:
        problems = [error.message]
    report = Report(image.name, session.version, tuple(dict.fromkeys(problems)))
    if session.board and not session.stopped.is_set():
        first, *others = [*report.problems, ""]
        line = f"✅  {tag} - Passed" if report.passed else f"❌  {tag} - Failed: {first}"
        session.board.end(tag, line, "\n".join(filter(None, others)))
    return report


def _problems(session: Session, image: Image, tag: str) -> list[str]:
    found = docker.inspect(session.sandbox.engine, "image", tag)
    if not found:
        return [f"it is not built; next: osbox build {image.name}"]
    history = docker.docker(session.sandbox.engine, "history", "--no-trunc", "--format", "{{.CreatedBy}}", tag).out
    spec = session.specs.get(image.name, runspec.RunSpec())
    inside = probes.look(session.sandbox, tag, spec)
    subject = Subject(session.paths, image, tag, found[0]["Config"], history, spec, session.sandbox, inside)
    problems: list[str] = []
    for probe in PROBES:
        session.doing[tag] = probe.__name__.replace("_", " ")
        try:
            problems += probe(subject)
        except Error as error:
            problems.append(f"{session.doing[tag]}: {error.message}")
    return problems


def raise_for(reports: Sequence[Report]) -> None:
    """Raise the one error that sums up what failed."""
    bad = [report.image for report in reports if not report.passed]
    if bad:
        raise Error(f"{len(bad)} of {len(reports)} images failed their tests: {', '.join(bad)}")
