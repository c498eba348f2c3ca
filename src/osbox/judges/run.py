"""Run one of upstream's suites against the cloud that is up: make what it needs, remove that again, judge."""

import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from osbox import files, log, run
from osbox.cloud import sessions
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.judges import (
    belongings,
    disk,
    environment,
    flavors,
    leftovers,
    objects,
    people,
    sdk,
    swift,
    tempest,
    verdict,
)
from osbox.judges.people import Clouds, Person
from osbox.judges.progress import Progress
from osbox.judges.suite import Run
from osbox.judges.verdict import Expected, Verdict
from osbox.site.site import Paths, Site

EXPECTED = Path(__file__).with_name("expected")
PEOPLE: Mapping[str, Sequence[Person]] = {"tempest": tempest.PEOPLE, "swift": swift.PEOPLE, "sdk": sdk.PEOPLE}
INI = "[pytest]\naddopts =\npython_classes = NotByName\n"
"""Classes of unittest only, as upstream's own runners find them: a mixin is called Test…, too."""
RECORDS, OUTPUT = "tests.jsonl", "output.log"
WANTED, LEFT = "OSBOX_TESTS", "OSBOX_LEAVE"
CLEANING_SECONDS = 600
NOTHING = 5
"""pytest's exit code when no test was meant; https://docs.pytest.org/en/stable/reference/exit-codes.html"""
ENDED = (0, 1, NOTHING)


@dataclass(frozen=True)
class Judge:
    """One suite at one cloud. release: of OpenStack, whose expectations count."""

    paths: Paths
    site: Site
    engine: Engine
    name: str
    release: str

    @property
    def place(self) -> Path:
        """Configuration, log and results of the last run."""
        return self.paths.judges / self.name

    def begin(self) -> None:
        """Have the place, for nobody else to read."""
        files.private_directory(self.paths.judges)
        files.private_directory(self.place)

    def connect(self) -> Clouds:
        return Clouds(
            sessions.connect(self.paths, self.site), sessions.connect(self.paths, self.site, system=True)
        )


def judge(here: Judge, wanted: str = "", *, workers: int = 0) -> Verdict:
    """Run the tests whose dotted names have `wanted` (a regular expression) in them.

    workers: processes, in place of the suite's own number. Raises UserError when there is no such test, or
    a name that the suite needs is taken; Error when it could not be run.
    """
    try:
        re.compile(wanted)
    except re.error as error:
        raise UserError(f"{wanted} is no regular expression: {error}", hint="osbox judge --help") from None
    rules = verdict.expected((EXPECTED / f"{here.name}.toml").read_text(), here.release)
    python = environment.ready(here.paths)
    source = environment.swift(here.paths, python, here.release) if here.name == "swift" else None
    here.begin()
    with _guests(here, python) as clouds:
        for old in (RECORDS, OUTPUT, "junit.xml"):
            (here.place / old).unlink(missing_ok=True)
        todo = _prepare(here, clouds, source, workers)
        code = _run(here, python, todo, wanted, rules)
    lines = (here.place / RECORDS).read_text().splitlines() if (here.place / RECORDS).exists() else []
    found = verdict.read(lines)
    if code not in ENDED or (not found and code != NOTHING):
        said = run.tail((here.place / OUTPUT).read_text(errors="replace"))
        raise Error(
            f"the suite ended early, with exit code {code}",
            evidence=said,
            hint=f"all of it: {here.place / OUTPUT}",
        )
    if not found:
        raise UserError(
            f"no test of {here.name} has {wanted} in its name", hint=f"less {here.place / OUTPUT}"
        )
    return verdict.judge(found, rules)


@contextmanager
def _guests(here: Judge, python: Path) -> Iterator[Clouds]:
    """Nothing of a run before, and nothing of this one afterwards, unless there is a second Ctrl-C."""
    clouds = here.connect()
    _clean(here, python, clouds)
    try:
        yield clouds
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            log.say("removing what the suite has made; Ctrl-C once more leaves that to the next run")
        with suppress(Exception):  # the first error is the one to be told
            _clean(here, python, clouds)
        raise
    try:
        _clean(here, python, clouds)
        if left := people.left(clouds.project):
            log.warn(f"the suite left behind: {', '.join(left)}")
    except Exception as error:  # noqa: BLE001 - what the suite has shown counts all the same
        told = error.message if isinstance(error, Error) else str(error)
        log.warn(f"not all is removed, the next run does it: {told}")


def _prepare(here: Judge, clouds: Clouds, source: Path | None, workers: int) -> Run:
    people.require_ours(clouds.project, (*PEOPLE[here.name], objects.PERSON))
    if here.name == "sdk":
        belongings.note(clouds, here.paths.judges / "sdk")
    logins = people.make(clouds.project, PEOPLE[here.name])
    files.write(here.place / "pytest.ini", INI)
    if source:
        made = swift.prepare(clouds, here.site, here.place, logins, source)
    elif here.name == "sdk":
        leftovers.note(clouds.system, here.place)
        made = sdk.prepare(clouds, here.site, here.place, logins)
    else:
        leftovers.note(clouds.system, here.place)
        disk.serve(here.engine, here.site)
        made = tempest.prepare(clouds, here.site, here.place, logins)
    return made if not workers else Run(made.packages, made.environment, made.source, workers, made.seconds)


def _run(here: Judge, python: Path, todo: Run, wanted: str, rules: Expected) -> int:
    """pytest's exit code. Its output goes to a file; the screen has how far it is."""
    inside = str(Path(__file__).with_name("inside"))
    given = todo.environment.get("PYTHONPATH")
    more = {
        **todo.environment,
        "PYTHONPATH": f"{inside}:{given}" if given else inside,
        # requests_mock's loads ssl before Swift's tests have eventlet take its place: endless recursion.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OSBOX_RECORDS": str(here.place / RECORDS),
        WANTED: wanted,
        LEFT: rules.left,
    }
    # A run that is killed must not leave tests at work, which make things while the next one removes them.
    words = [*run.ENDS_WITH_US, *environment.python(python, *todo.words(here.place, python))]
    shown = Progress(here.place / RECORDS, rules)
    with log.step(f"Run {here.name}'s tests", shown), (here.place / OUTPUT).open("w") as output:
        return run.stream(
            words,
            lambda line: print(line, file=output, flush=True),
            env=environment.variables(here.paths, here.site, more),
            cwd=here.place,
        )


def _clean(here: Judge, python: Path, clouds: Clouds) -> None:
    """Remove what this run, or an earlier one of any suite, has made; where there was none, look only."""
    place = here.paths.judges / "tempest"
    if tempest.is_left(place):  # before its user goes, as whom it cleans up
        with log.step("Remove what Tempest left"):
            _after_tempest(here, python, clouds, place)
    sdk.remove(clouds)
    flavors.remove(clouds.project)
    _after_ironic(clouds, here.paths.judges / "sdk")
    people.remove(clouds.project, _emptied(here, clouds))


def _emptied(here: Judge, clouds: Clouds) -> Collection[str]:
    """Remove what tests have made themselves; returns the ids of projects that still have something."""
    place = here.paths.judges / "sdk"  # only its tests give such names
    projects, kept = belongings.projects(clouds, place), dict[str, list[str]]()
    if projects:
        with log.step("Remove what the suites' projects have"):
            kept = objects.remove(clouds, here.paths, here.site, projects)
            for project, things in belongings.remove(clouds, projects).items():
                kept.setdefault(project, []).extend(things)
    named = belongings.remove_named(clouds, place, kept)
    told = [thing for things in (*kept.values(), named) for thing in things]
    if told:
        log.warn(f"not removed, the next run tries again: {', '.join(told)}")
    return kept


def _after_tempest(here: Judge, python: Path, clouds: Clouds, place: Path) -> None:
    """By its own cleaning, and what that does not know."""
    for words in tempest.clean(place):
        try:
            run.run(
                environment.python(python, *words),
                env=environment.variables(here.paths, here.site, {}),
                cwd=place,
                timeout=CLEANING_SECONDS,
            )
        except Error as error:  # what is left is told at the end
            log.warn(f"tempest cleanup: {error.message}")
    _after_ironic(clouds, place)
    tempest.remove_images(clouds)
    disk.withdraw(here.engine, here.site)
    (place / tempest.RECORDED).unlink(missing_ok=True)
    shutil.rmtree(place / "lock", ignore_errors=True)


def _after_ironic(clouds: Clouds, place: Path) -> None:
    """What its tests left; nothing where no note says what was there before."""
    kept = leftovers.remove(clouds.system, place)
    if kept:
        log.warn(f"Ironic does not remove {', '.join(kept)}; the next run tries again")
