"""Wait until something is so, or until the time for it is over; one place for deadline, pause and Ctrl-C."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from osbox.errors import Error

T = TypeVar("T")
HEARD_SECONDS = 0.2
"""How long a Ctrl-C may go unheard while others work: what joins a thread is not interrupted."""


def happens(ready: Callable[[], T], seconds: float, *, poll: float = 1) -> T:
    """Call ready() every `poll` seconds until it returns something true, and return that; when the time is
    over, its last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := ready()) and time.monotonic() < deadline:
        time.sleep(poll)
    return answer


def wait(what: str, ready: Callable[[], T], seconds: float, *, poll: float = 1, hint: str = "") -> T:
    """As `happens`; raises Error when the time is over."""
    answer = happens(ready, seconds, poll=poll)
    if not answer:
        raise Error(f"{what} did not happen within {seconds:.0f} s", hint=hint)
    return answer


def beside(jobs: Mapping[str, Callable[[threading.Event], object]]) -> None:
    """Run jobs at the same time, each in a thread, until all have ended; raises the first error of one, by
    order.

    Each gets an event that is set when it shall end: on Ctrl-C and on an error of another. Nobody waits for
    it then, it ends with the process.
    """
    stop, failed = threading.Event(), dict[str, BaseException]()

    def run(name: str, job: Callable[[threading.Event], object]) -> None:
        try:
            job(stop)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failed[name] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in jobs.items()]
    for thread in threads:
        thread.start()
    try:
        while not failed and any(thread.is_alive() for thread in threads):
            for thread in threads:
                if thread.is_alive():
                    thread.join(HEARD_SECONDS)
                    break
    finally:
        stop.set()
    for name in jobs:
        if name in failed:
            raise failed[name]
