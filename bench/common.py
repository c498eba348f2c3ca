"""What the benchmarks share: a timed osbox, medians, the table and the JSON."""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from osbox import run

OSBOX = str(Path(sys.executable).with_name("osbox"))
PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))  # what figures and tests share is in tests/
# Where no terminal says how wide it is, the table is as wide as it needs.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


@dataclass(frozen=True)
class Figure:
    """One line of the result.

    aim: not to be exceeded; floor: what cannot be undercut, measured in the same run; runs: every single
    measurement; other: the same of the project that it is compared with.
    """

    what: str
    value: float
    unit: str
    aim: float | None = None
    runs: tuple[float, ...] = ()
    floor: float | None = None
    other: float | None = None


def parser(doc: str | None) -> argparse.ArgumentParser:
    """What every benchmark has on its command line: its first line as help, and --json FILE."""
    found = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    found.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return found


def seconds(argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path = PROJECT) -> float:
    """How long a command takes; its output is shown, and an exit code other than 0 ends the benchmark."""
    _say(f"$ {run.line(argv)}")
    begin = time.monotonic()
    code = run.stream(argv, lambda text: _say(f"  {text}"), env=env, cwd=cwd)
    if code != 0:
        sys.exit(f"{run.line(argv)} failed with exit code {code}: nothing is measured")
    return round(time.monotonic() - begin, 1)


def _say(text: str) -> None:
    out.print(text, style="dim", markup=False)


def median(what: str, aim: float | None, measure: Callable[[], float], times: int = 3) -> Figure:
    runs = tuple(measure() for _ in range(times))
    return Figure(what, statistics.median(runs), "s", aim, runs)


def beside(figures: Sequence[Figure], others: Mapping[str, float]) -> list[Figure]:
    """The figures with those of the other project."""
    return [replace(item, other=others.get(item.what)) for item in figures]


def report(
    figures: Sequence[Figure], file: Path | None, *, other: str = "", notes: Sequence[str] = ()
) -> None:
    """Print the table; with a file, write the same as JSON. other: the name of what is compared with."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    compared = [other.upper(), "RATIO"] if other else []
    floors = ["FLOOR"] if any(item.floor is not None for item in figures) else []
    for title in ("FIGURE", "VALUE", "AIM", *floors, *compared, "RUNS"):
        table.add_column(title, justify="left" if title in ("FIGURE", "RUNS") else "right", no_wrap=True)
    for item in figures:
        cells = [item.what, f"{item.value:g} {item.unit}", _cell(item.aim, item.unit)]
        cells += [_cell(item.floor, item.unit)] if floors else []
        if other:
            ratio = f"{item.other / item.value:.1f}" if item.other and item.value else ""
            cells += [_cell(item.other, item.unit), ratio]
        table.add_row(*cells, " ".join(f"{value:g}" for value in item.runs))
    out.print(table)
    load = os.getloadavg()[2]
    for line in (f"{os.cpu_count()} processors; mean load of the last 15 minutes: {load:.1f}", *notes):
        out.print(line, markup=False)
    if file:
        data = {
            "processors": os.cpu_count(),
            "load": load,
            "notes": list(notes),
            "figures": [vars(item) for item in figures],
        }
        file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _cell(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g} {unit}"
