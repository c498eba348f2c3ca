"""Runs inside an image, as `python - native|eventlet`: how oslo.messaging waits for a reply, without a
broker.

Prints milliseconds from the arrival of a reply to the return of the one that waits for it (median of 20), and
how often something else that wants to run every 10 ms ran while one waited for 300 ms.
"""

import statistics
import sys
import time

if sys.argv[1] == "eventlet":
    import eventlet  # type: ignore[import-not-found]

    eventlet.monkey_patch()

import threading

from oslo_messaging._drivers.amqpdriver import ReplyWaiters


def waited(waiters: ReplyWaiters, name: str, after: float) -> float:
    """Milliseconds between a reply that comes `after` seconds and its reader."""
    arrived = list[float]()

    def put() -> None:
        time.sleep(after)
        arrived.append(time.monotonic())
        waiters.put(name, {"result": name})

    waiters.add(name)
    threading.Thread(target=put, daemon=True).start()
    assert waiters.get(name, timeout=30) == {"result": name}
    return (time.monotonic() - arrived[0]) * 1000


def main() -> None:
    waiters, ticks, done = ReplyWaiters(), list[float](), threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.01)

    print(f"{statistics.median(waited(waiters, str(number), 0.005) for number in range(20)):.1f}")
    threading.Thread(target=tick, daemon=True).start()
    waited(waiters, "long", 0.3)
    done.set()
    print(len(ticks))
    waiters.add("never")
    try:
        waiters.get("never", timeout=0.2)
    except Exception as error:  # noqa: BLE001 - its name is what is looked at
        print(type(error).__name__)


main()
