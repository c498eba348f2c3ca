"""A clock of the cloud's own: libfaketime, taken out of Debian's package and preloaded into every service.

The machine's clock stays as it is, since all else lives by it. What moves is what the services' processes take for the time of day; as
when a real clock is set, the monotonic one runs on.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osbox import compose, engine, proof, run
from osbox.model.services import SERVICES
from osbox.model.site import load_site
from tests.e2e import crash
from tests.e2e.asking import engine as shell
from tests.home import HOME, NAME

PLACE = HOME / "tests" / "clock"  # the engine sees it
NOW = PLACE / "now"
FAKED = [name for name in SERVICES if name != "neutron-network"]  # which does nothing
SETTINGS = {
    "LD_PRELOAD": "/clock/libfaketimeMT.so.1", "FAKETIME_TIMESTAMP_FILE": "/clock/now", "FAKETIME_CACHE_DURATION": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
}  # fmt: skip


@contextmanager
def own() -> Iterator[None]:
    """All services run with a clock that `jump` sets; `osbox up` gives them the machine's own again."""
    PLACE.mkdir(parents=True, exist_ok=True)
    _library().rename(PLACE / "libfaketimeMT.so.1")
    NOW.write_text("+0\n")
    override = PLACE / "clock.yaml"
    volumes = [f"{PLACE}:/clock:ro"]
    override.write_text(json.dumps({"services": {name: {"environment": SETTINGS, "volumes": volumes} for name in FAKED}}))
    at = engine.find(crash.PATHS, load_site(HOME))
    assert at
    words = ["-f", override, "--progress", "quiet", "up", "--detach", "--pull", "never"]
    run.run(compose.argv(at, crash.PATHS, *map(str, words), rack=True), timeout=300)
    proof.prove(crash.PATHS, load_site(HOME), at, {}, logged_in=False)
    yield


def jump(seconds: int) -> None:
    """Set the services' clock so many seconds from the machine's; they look once a second."""
    NOW.write_text(f"{seconds:+d}\n")


def seen(service: str) -> float:
    """How many seconds a service's clock is from the machine's."""
    inside = shell("docker", "exec", f"{service}.{NAME}", "python3", "-c", "import time; print(time.time())")
    return float(inside) - time.time()


def _library() -> Path:
    run.run(["apt-get", "download", "-q", "libfaketime"], cwd=PLACE, hint="apt-get update")
    [package] = PLACE.glob("libfaketime_*.deb")
    run.run(["dpkg-deb", "-x", str(package), str(PLACE / "package")])
    package.unlink()
    [library] = (PLACE / "package").rglob("libfaketimeMT.so.1")
    return library
