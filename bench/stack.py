"""How long the control plane takes to come up, what of it is processor time, and what it needs when idle.

Removes the volumes of the deployment in OSBOX_HOME.

    OSBOX_HOME=/var/lib/osbox-bench .venv/bin/python bench/stack.py --yes [--json FILE] [--record]
"""

import json
import os
import re
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from common import OSBOX, PROJECT, Figure, median, out, parser, report, seconds

from osbox import run
from osbox.engine import processes
from osbox.site.load import find_paths, load_site

UNITS = {"B": 1 / (1 << 20), "KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
IDLE_SECONDS = 60
HISTORY = PROJECT / "docs" / "history.md"
OPTION = "nova-scheduler.DEFAULT.debug"
# Where the kernel counts the processor time of a container: control groups of version 1 (ns) and 2 (µs).
COUNTERS = (
    ("cpuacct/*/{}/cpuacct.usage", 1e9),
    ("*/{}/cpu.stat", 1e6),
    ("*/*/docker-{}.scope/cpu.stat", 1e6),
)


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--yes", action="store_true", help="its data may be removed")
    words.add_argument("--record", action="store_true", help=f"add a line to {HISTORY.relative_to(PROJECT)}")
    options = words.parse_args()
    home = find_paths().home
    if not options.yes:
        sys.exit(f"this removes all data of the cloud in {home} three times over; if that is meant: --yes")
    name = load_site(home).name
    seconds([OSBOX, "build"])
    cold = median("osbox up on empty volumes", 45, lambda: from_nothing(name))
    used = processor(name)
    spent = round(sum(used.values()), 1)
    out.print(
        *[f"{value:6.1f} s  {service}" for service, value in sorted(used.items(), key=lambda item: -item[1])],
        sep="\n",
        markup=False,
    )
    figures = [
        Figure(
            cold.what,
            cold.value,
            cold.unit,
            cold.aim,
            cold.runs,
            floor=round(spent / (os.cpu_count() or 1), 1),
        ),
        Figure("processor time of the containers meanwhile", spent, "s"),
        median("osbox up again", 2, lambda: seconds([OSBOX, "up"]), 5),
        median("one option of one service changed", 10, changed),
        median("osbox up after the engine and all containers were killed", None, revived),
    ]
    seconds([OSBOX, "unset", OPTION])
    seconds([OSBOX, "up"])
    time.sleep(IDLE_SECONDS)
    figures.append(Figure("memory of the idle cloud", memory(name), "MiB", 2560))
    report(
        figures,
        options.json,
        notes=["the floor of `up`: the processor time of its containers, spread over all processors"],
    )
    if options.record:
        record(figures)


def docker(*words: str) -> str:
    return run.run([OSBOX, "engine", "shell", "--", "docker", *words]).out


def from_nothing(name: str) -> float:
    """Take the cloud down, remove its volumes, and bring it up."""
    seconds([OSBOX, "down"])
    volumes = docker(
        "volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={name}"
    ).split()
    if volumes:
        docker("volume", "rm", *volumes)
    os.sync()
    return seconds([OSBOX, "up"])


def changed() -> float:
    """Turn an option of one service over, and have it in force."""
    value = "false" if "= true" in run.run([OSBOX, "get", OPTION], check=False).out.lower() else "true"
    seconds([OSBOX, "set", f"{OPTION}={value}"])
    return seconds([OSBOX, "up"])


def revived() -> float:
    """Kill every process of the engine and its containers at once; bring the cloud back from what is on the
    disk."""
    paths = find_paths()
    while found := processes.find(paths):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    return seconds([OSBOX, "up"])


def containers(name: str) -> list[str]:
    found = docker(
        "ps", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={name}"
    ).split()
    return found or sys.exit(f"no container of {name} runs")


def processor(name: str) -> dict[str, float]:
    """Seconds of processor time that each container has used since it started."""
    ids = containers(name)
    names = docker("inspect", "--format", "{{.Name}}", *ids).split()
    return {
        service.strip("/").removesuffix(f".{name}"): _used(container)
        for service, container in zip(names, ids, strict=True)
    }


def _used(container: str) -> float:
    for pattern, unit in COUNTERS:
        for file in Path("/sys/fs/cgroup").glob(pattern.format(container)):
            found = re.search(r"(?:usage_usec )?(\d+)", file.read_text(encoding="utf-8"))
            if found:
                return int(found[1]) / unit
    return 0.0


def memory(name: str) -> float:
    """What the control groups of all containers hold, page cache that can be dropped left out (as `docker
    stats` counts)."""
    lines = docker("stats", "--no-stream", "--format", "json", *containers(name)).splitlines()
    used = [json.loads(line)["MemUsage"].partition(" / ")[0] for line in lines]
    found = [re.fullmatch(r"([\d.]+)(\w+)", text) for text in used]
    return round(sum(float(match[1]) * UNITS[match[2]] for match in found if match))


def record(figures: list[Figure]) -> None:
    """One line a run: the newest last."""
    commit = (
        run.run(["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"], check=False).out.strip() or "?"
    )
    cells = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        commit,
        str(os.cpu_count()),
        *(f"{figure.value:g} {figure.unit}" for figure in figures),
    ]
    if not HISTORY.exists():
        titles = ["Date", "Commit", "Processors", *(figure.what for figure in figures)]
        head = (
            "# History of the figures\n\nA line for each run of `bench/stack.py --record`.\n\n|"
            f" {' | '.join(titles)} |\n|{'---|' * len(titles)}\n"
        )
        HISTORY.write_text(head, encoding="utf-8")
    with HISTORY.open("a", encoding="utf-8") as stream:
        stream.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
