"""How long the control plane takes to come up, and what it needs when idle. Removes the volumes of the deployment in OSBOX_HOME.

    OSBOX_HOME=/var/lib/osbox-bench .venv/bin/python bench/stack.py --yes [--json FILE]
"""

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

from common import OSBOX, Figure, median, report, seconds

from osbox import run
from osbox.model.site import find_paths, load_site

UNITS = {"B": 1 / (1 << 20), "KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
IDLE_SECONDS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--yes", action="store_true", help="its data may be removed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    home = find_paths().home
    if not options.yes:
        sys.exit(f"this removes all data of the cloud in {home} three times over; if that is meant: --yes")
    name = load_site(home).name
    seconds([OSBOX, "build"])
    figures = [
        median("osbox up on empty volumes", 137, lambda: from_nothing(name)),
        median("osbox up again", 5, lambda: seconds([OSBOX, "up"])),
    ]
    time.sleep(IDLE_SECONDS)
    report([*figures, Figure("memory of the idle cloud", memory(name), "MiB")], options.json)


def docker(*words: str) -> str:
    return run.run([OSBOX, "engine", "shell", "--", "docker", *words]).out


def from_nothing(name: str) -> float:
    """Take the cloud down, remove its volumes, and bring it up."""
    seconds([OSBOX, "down"])
    volumes = docker("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={name}").split()
    if volumes:
        docker("volume", "rm", *volumes)
    os.sync()
    return seconds([OSBOX, "up"])


def memory(name: str) -> float:
    """What the control groups of all containers hold, page cache that can be dropped left out (as `docker stats` counts)."""
    containers = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={name}").split()
    if not containers:
        sys.exit(f"no container of {name} runs")
    lines = docker("stats", "--no-stream", "--format", "json", *containers).splitlines()
    used = [json.loads(line)["MemUsage"].partition(" / ")[0] for line in lines]
    found = [re.fullmatch(r"([\d.]+)(\w+)", text) for text in used]
    return round(sum(float(match[1]) * UNITS[match[2]] for match in found if match))


if __name__ == "__main__":
    main()
