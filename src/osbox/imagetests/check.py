"""Test the images, a line each: what is declared, what is in their layers, their programs, and how their
services live."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from osbox.board import Board
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import Error
from osbox.images import runspec
from osbox.images.catalogue import Image
from osbox.images.sandbox import Sandbox
from osbox.imagetests import files, life, programs, reading, recipe
from osbox.imagetests.reading import Files
from osbox.imagetests.subject import Subject, needles
from osbox.site.site import Paths

PROBES: tuple[Callable[[Subject], Iterator[str]], ...] = (
    recipe.recipe,
    recipe.frame,
    life.missing_secret,
    programs.programs,
    files.set_id_files,
    files.world_writable,
    files.leaks,
    files.leftovers,
    files.bytecode,
    files.licences,
    life.life,
)


@dataclass(frozen=True)
class Report:
    """What the tests of one image found; it passed when there is no problem."""

    image: str
    version: str
    problems: tuple[str, ...]
    seconds: float = 0

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass
class Session:
    """One run of `osbox test`.

    doing: which test each image is at; files: what the layers hold, by image id; seen: the layers of Python
    packages whose programs are tested already.
    """

    paths: Paths
    sandbox: Sandbox
    board: Board | None
    specs: dict[str, runspec.RunSpec]
    there: dict[str, ImageInfo]
    needles: dict[str, bytes]
    files: Future[dict[str, Files]]
    doing: dict[str, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    seen: set[tuple[str, ...]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def check(
    paths: Paths,
    engine: Engine,
    images: Sequence[Image],
    *,
    version: str = "latest",
    jobs: int | None = None,
    quiet: bool = False,
) -> list[Report]:
    """Test images and print a line for each (quiet: none); returns what was found."""
    return check_tags(
        paths, engine, [(image, image.tag(version)) for image in images], jobs=jobs, quiet=quiet
    )


def check_tags(
    paths: Paths,
    engine: Engine,
    tagged: Sequence[tuple[Image, str]],
    *,
    jobs: int | None = None,
    quiet: bool = False,
) -> list[Report]:
    """The same for images of any tag, each with the image that it is said to be."""
    doing: dict[str, str] = {}
    scratch = paths.tests / f"images-{os.getpid()}"
    board = None if quiet else Board(lambda tag: doing.get(tag, ""))
    there = docker.images(engine, *(tag for _, tag in tagged))
    secret = needles(paths)
    pool, reader = ThreadPoolExecutor(jobs or os.cpu_count() or 1), ThreadPoolExecutor(1)
    try:
        with Sandbox(engine, scratch) as sandbox:
            # Layers are read while the first containers start.
            read = reader.submit(
                reading.read, engine, list({entry.id: entry for entry in there.values()}.values()), secret
            )
            session = Session(paths, sandbox, board, runspec.load(paths.compose), there, secret, read, doing)
            return _test_all(session, tagged, pool)
    finally:
        # Interrupted, what still runs ends by itself: its containers are removed under it.
        for each in (pool, reader):
            each.shutdown(wait=False, cancel_futures=True)
        shutil.rmtree(scratch, ignore_errors=True)


def _test_all(
    session: Session, tagged: Sequence[tuple[Image, str]], pool: ThreadPoolExecutor
) -> list[Report]:
    try:
        if not session.board:
            return list(pool.map(lambda item: _test(session, *item), tagged))
        with session.board:
            return list(pool.map(lambda item: _test(session, *item), tagged))
    except BaseException:
        session.stopped.set()
        raise


def _test(session: Session, image: Image, tag: str) -> Report:
    begin = time.monotonic()
    if session.board:
        session.board.start(tag)
    try:
        problems = _problems(session, image, tag)
    except Error as error:
        problems = [error.message]
    report = Report(
        image.name, tag.rpartition(":")[2], tuple(dict.fromkeys(problems)), round(time.monotonic() - begin, 1)
    )
    if session.board and not session.stopped.is_set():
        first, *others = [*report.problems, ""]
        line = f"✅  {tag} - Passed" if report.passed else f"❌  {tag} - Failed: {first}"
        session.board.end(tag, line, "\n".join(filter(None, others)))
    return report


def _problems(session: Session, image: Image, tag: str) -> list[str]:
    entry = session.there.get(tag)
    if not entry:
        return [f"it is not built; next: osbox build {image.name}"]
    history = docker.ask(
        session.sandbox.engine, "history", "--no-trunc", "--format", "{{.CreatedBy}}", tag
    ).out
    spec = session.specs.get(image.name, runspec.RunSpec())
    inside = programs.look(session.sandbox, tag, spec)
    subject = Subject(
        session.paths,
        image,
        tag,
        entry,
        history,
        spec,
        session.sandbox,
        inside,
        session.needles,
        lambda: session.files.result()[entry.id],
        first=lambda: _is_first(session, entry),
    )
    # It starts while the other tests run.
    with life.service(subject) as running:
        return list(_probed(session, replace(subject, running=running)))


def _is_first(session: Session, entry: ImageInfo) -> bool:
    """Whether no image before this one had the same layers of Python packages."""
    files, diff_ids = session.files.result()[entry.id], entry.layers
    key = tuple(
        diff_ids[number]
        for number in sorted({number for path, number in files.layer.items() if path.startswith("opt/")})
    )
    with session.lock:
        first = key not in session.seen
        session.seen.add(key)
    return first


def _probed(session: Session, subject: Subject) -> Iterator[str]:
    for probe in PROBES:
        session.doing[subject.tag] = probe.__name__.replace("_", " ")
        try:
            yield from probe(subject)
        except Error as error:
            yield f"{session.doing[subject.tag]}: {error.message}"


def raise_for(reports: Sequence[Report]) -> None:
    """Raise the one error that sums up what failed."""
    bad = [report.image for report in reports if not report.passed]
    if bad:
        raise Error(f"{len(bad)} of {len(reports)} images failed their tests: {', '.join(bad)}")
