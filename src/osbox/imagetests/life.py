"""How a service of an image lives: it starts, is told to be ill when it is, recovers, and ends when it is
asked to."""

from collections.abc import Iterator
from contextlib import contextmanager

from osbox.errors import Error
from osbox.images.sandbox import secrets
from osbox.imagetests.subject import Subject

ENDED_WELL = (0, 143)  # by itself, or by the signal


@contextmanager
def service(subject: Subject) -> Iterator[str]:
    """A container of the image's own command for the time of the block; "" for an image without a service."""
    if not subject.serves:
        yield ""
        return
    options = secrets(subject.sandbox.scratch, subject.secrets)
    with subject.sandbox.started(
        subject.tag, subject.spec, *options, "--env=OSBOX_ADDRESS=127.0.0.1"
    ) as name:
        yield name


def missing_secret(subject: Subject) -> Iterator[str]:
    """Without its secrets it says which one is missing, in one line, and ends."""
    if not subject.secrets:
        return
    result = subject.sandbox.run(subject.tag, subject.spec, [], "--env=OSBOX_ADDRESS=127.0.0.1")
    lines = (result.out + result.err).strip().splitlines()
    named = lines and any(name in lines[-1] for name in subject.secrets)
    if result.code == 0 or len(lines) != 1 or not named:
        yield f"without secrets it says, with exit code {result.code}: {' / '.join(lines[-3:]) or 'nothing'}"


def life(subject: Subject) -> Iterator[str]:
    """It starts on empty volumes, becomes healthy, ill when its processes stand still, well again, and ends
    on SIGTERM.

    What waits for other services ends on SIGTERM while it waits; the end-to-end tests start it.
    """
    if not subject.running:
        return
    if not subject.waits:
        why = subject.sandbox.until_healthy(subject.running)
        if why:
            yield f"started, {why}"
            return
        yield from _illness(subject)
    yield from _end(subject)


def _illness(subject: Subject) -> Iterator[str]:
    sandbox, name = subject.sandbox, subject.running
    with sandbox.standing_still(name):
        if not sandbox.until(name, "unhealthy"):
            yield "its health check says that it is well while all its processes stand still"
    if not sandbox.until(name, "healthy"):
        yield "its health check does not say that it is well again"


def _end(subject: Subject) -> Iterator[str]:
    try:
        code, seconds = subject.sandbox.end(subject.running, subject.spec.grace)
    except Error as error:
        yield error.message
        return
    if code not in ENDED_WELL:
        late = f", and did not end within its {subject.spec.grace} s" if seconds >= subject.spec.grace else ""
        yield f"ends on SIGTERM with exit code {code}{late}"
