"""What the benchmarks share: a timed osbox, medians, the table and the JSON."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from osbox import run

OSBOX = str(Path(sys.executable).with_name("osbox"))
PROJECT = Path(__file__).resolve().parents[1]
out = Console(highlight=False)


@dataclass(frozen=True)
class Figure:
    """One line of the result. runs: every single measurement."""

    what: str
    value: float
    unit: str
    aim: float | None = None
    runs: tuple[float, ...] = ()


def seconds(argv: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """How long a command takes; its output is shown, and an exit code other than 0 ends the benchmark."""
    _say(f"$ {run.line(argv)}")
    begin = time.monotonic()
    code = run.stream(argv, lambda text: _say(f"  {text}"), env=env, cwd=PROJECT)
    if code != 0:
        sys.exit(f"{run.line(argv)} failed with exit code {code}: nothing is measured")
    return round(time.monotonic() - begin, 1)


def _say(text: str) -> None:
    out.print(text, style="dim", markup=False)


def median(what: str, aim: float | None, measure: Callable[[], float], times: int = 3) -> Figure:
    runs = tuple(measure() for _ in range(times))
    return Figure(what, statistics.median(runs), "s", aim, runs)


def report(figures: Sequence[Figure], file: Path | None) -> None:
    """Print the table; with a file, write the same as JSON."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("FIGURE", "VALUE", "AIM", "RUNS"):
        table.add_column(title, justify="right" if title in ("VALUE", "AIM") else "left", no_wrap=True)
    for item in figures:
        aim = "" if item.aim is None else f"{item.aim:g} {item.unit}"
        table.add_row(item.what, f"{item.value:g} {item.unit}", aim, " ".join(f"{value:g}" for value in item.runs))
    out.print(table)
    load = os.getloadavg()[2]
    out.print(f"{os.cpu_count()} processors; mean load of the last 15 minutes: {load:.1f}")
    if file:
        data = {"processors": os.cpu_count(), "load": load, "figures": [vars(item) for item in figures]}
        file.write_text(json.dumps(data, indent=2) + "\n")
