"""A clock of the cloud's own: libfaketime, taken out of Debian's package and preloaded into every service.

The machine's clock stays as it is, since all else lives by it. What moves is what the services' processes
take for the time of day; as when a real clock is set, the monotonic one runs on.
"""

import json
import shutil
import time
from pathlib import Path

from osbox import run
from osbox.cloud import compose, proof
from osbox.cloud.services import SERVICES
from osbox.engine import docker, engine
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.e2e import crash
from tests.e2e.asking import engine as shell
from tests.home import HOME, NAME

PLACE = HOME / "tests" / "clock"  # the engine sees it
NOW = PLACE / "now"
FAKED = [name for name in SERVICES if name != "neutron-network"]  # which does nothing
SETTINGS = {
    "LD_PRELOAD": "/clock/libfaketimeMT.so.1",
    "FAKETIME_TIMESTAMP_FILE": "/clock/now",
    "FAKETIME_CACHE_DURATION": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "NO_FAKE_STAT": "1",
}


def preload() -> None:
    """All services run with a clock that `jump` sets; `osbox up` gives them the machine's own again."""
    at = engine.find(crash.PATHS, load_site(HOME))
    assert at
    PLACE.mkdir(parents=True, exist_ok=True)
    file = Path(__file__).with_suffix(".dockerfile")
    shutil.copy(file, PLACE)  # the engine sees the state directory alone
    argv = docker.build_argv(at, Paths(PLACE, HOME), Path(file.name), target="library", output=PLACE)
    run.run(argv, env=docker.environment(), timeout=300)
    jump(0)
    override = PLACE / "clock.yaml"
    volumes = [f"{PLACE}:/clock:ro"]
    override.write_text(
        json.dumps({"services": {name: {"environment": SETTINGS, "volumes": volumes} for name in FAKED}})
    )
    words = ["-f", override, "--progress", "quiet", "up", "--detach", "--pull", "never"]
    run.run(compose.argv(at, crash.PATHS, *map(str, words), rack=True), timeout=300)
    since = {service: state.started for service, state in compose.observe(at, load_site(HOME)).items()}
    proof.prove(crash.PATHS, load_site(HOME), at, since, logged_in=False)


def jump(seconds: int) -> None:
    """Set the services' clock so many seconds from the machine's; they look once a second."""
    new = NOW.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.rename(NOW)  # an empty file would end the services


def seen(service: str) -> float:
    """How many seconds a service's clock is from the machine's."""
    inside = shell("docker", "exec", f"{service}.{NAME}", "python3", "-c", "import time; print(time.time())")
    return float(inside) - time.time()
