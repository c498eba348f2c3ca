"""Wait until something is so, or until the time for it is over."""

import time
from typing import Any

from osbox.errors import Error


def wait(what: str, ready: Any, seconds: float, *, poll: float = 1, hint: str = "") -> Any:
    """Call ready() until it returns something true; raises Error with the last state when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ready()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Error(f"{what} did not happen within {seconds:.0f} s", hint=hint)
        time.sleep(poll)
