"""gunicorn for every OpenStack API: which application and port come from the environment of the image.

Arguments stay off the command line on purpose: the services parse sys.argv with oslo.config and would exit on
gunicorn's options.
"""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

wsgi_app = os.environ["OSBOX_WSGI"]
bind = [f"0.0.0.0:{os.environ['OSBOX_PORT']}"]
workers = int(os.environ.get("OSBOX_WORKERS", "1"))
worker_class = "gthread"
threads = int(os.environ.get("OSBOX_THREADS", "16"))
keepalive = 30  # seconds; clients hold connections open between calls
timeout = 300  # seconds without a heartbeat of the worker's main loop
# An image that is being read arrives whole, and so does the answer of a call that waits for a conductor.
# No connection is kept by the entrance: who ends idle ends at once. compose/stack.yaml waits 10 s more.
graceful_timeout = 130
# The entrance alone says by which scheme a request came: it takes away what clients say of that. No other
# header becomes a part of the address, as by default of those who may say the scheme.
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
forwarder_headers = ""
worker_tmp_dir = "/dev/shm"  # noqa: S108 - gunicorn's heartbeat file wants a memory file system
control_socket_disable = True
accesslog = "-" if os.environ.get("OSBOX_ACCESS_LOG") else None
errorlog = "-"
loglevel = "warning"


STARTED = int(time.time())


def pre_fork(server: Any, worker: Any) -> None:
    """In the master: a worker's number is the lowest that no other has."""
    taken = {getattr(one, "number", 0) for one in server.WORKERS.values()}
    worker.number = next(number for number in range(1, len(taken) + 2) if number not in taken)


def post_fork(_server: Any, worker: Any) -> None:
    """What Neutron asks its server for, and knows of uWSGI alone: when it was started, and which worker this
    is. Without it each of several workers takes the others' rows out of OVN's hash ring."""
    if wsgi_app.startswith("neutron."):
        sys.modules["uwsgi"] = SimpleNamespace(  # type: ignore[assignment]
            opt={"start-time": str(STARTED).encode()}, numproc=workers, worker_id=lambda: worker.number
        )


def worker_exit(_server: Any, worker: Any) -> None:
    """Neutron's ends here. ML2/OVN would take the worker's row out of the hash ring first, and try that for
    two minutes when the database ended beside it; the next worker of that number has the same row again."""
    if wsgi_app.startswith("neutron.") and worker.booted:  # one that did not come up has a code to end with
        os._exit(0)


def post_worker_init(worker: Any) -> None:
    """Take the signals back, and lose nothing when they come."""
    # ML2/OVN takes SIGTERM for itself when it is loaded: the worker did not hear it, and was killed at last.
    worker.init_signals()
    lose_nothing(worker)


def lose_nothing(worker: Any) -> None:
    """Lose nothing of what reached the listening socket when the service ends.

    gunicorn 25 and later stops accepting at SIGTERM, but keeps the socket open until its last request is
    done: the kernel goes on answering who connects, and what waits there is reset at the end. This takes in
    what waits and closes the socket at once: who comes later is refused, and the entrance tries again.
    gunicorn 23 closes its sockets first.
    """
    stock = getattr(worker, "set_accept_enabled", None)
    if stock is None:
        return

    def set_accept_enabled(enabled: bool) -> None:
        stock(enabled)
        if enabled or worker.alive:
            return
        for listener in worker.sockets:
            before = -1
            while before != worker.nr_conns:  # one call takes one connection, or none
                before = worker.nr_conns
                worker.accept(listener)
            listener.close()

    worker.set_accept_enabled = set_accept_enabled


ENDING = ("04", "09", "0B")  # states in which the connection's end, too, counts as a byte to be sent
STILL_SECONDS = 10


def on_exit(_server: Any) -> None:
    """Wait until the kernel has sent all that was written: with the container its network goes, and what is
    still in a socket's queue. Not for whom has taken nothing for a while."""
    before, since = list[str](), time.monotonic()
    while left := unsent(Path("/proc/net/tcp").read_text(encoding="ascii"), int(os.environ["OSBOX_PORT"])):
        if left != before:
            before, since = left, time.monotonic()
        elif time.monotonic() - since > STILL_SECONDS:
            return
        time.sleep(0.1)


def unsent(table: str, port: int) -> list[str]:
    """The connections of /proc/net/tcp to our port that have bytes which the peer has not acknowledged."""
    found = []
    for line in table.splitlines()[1:]:
        _, mine, theirs, state, queues = line.split()[:5]
        left = int(queues.split(":")[0], 16) - (state in ENDING)
        if state in ("01", *ENDING) and left > 0 and int(mine.split(":")[1], 16) == port:
            found.append(f"{theirs} {left}")
    return found
