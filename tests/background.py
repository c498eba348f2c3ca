"""What goes on beside a test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def busy(act: Callable[[], object]) -> Iterator[None]:
    """Something goes on all the time beside the block."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
