"""A gate against getting slower: the short figures of this checkout and of an older commit, in turn (A B A
B), on the same machine.

Exit code 1 when one of this checkout's is more than 15 % over the older one's. Makes an engine and a cloud in
/var/lib/osbox-bench, and removes them again (--keep leaves the engine with its caches).

    make bench [BASE=COMMIT]
    .venv/bin/python bench/gate.py [--base COMMIT] [--turns 2] [--limit 1.15] [--json FILE]
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import PROJECT, out, parser
from place import SITE, Place
from rich.table import Table

from osbox import run
from osbox.engine.engine import require_root

HOME = Path("/var/lib/osbox-bench")
NAME = "osbox-bench"
OPTION = "nova-scheduler.DEFAULT.debug"
LIMIT = 1.15
"""What one run of a figure differs from another with nothing changed: up to 10 % were seen on two shared
cores."""
AGAIN = 5
"""How often in a turn what takes a second or two is measured."""

Runs = dict[str, list[float]]
"""Seconds of every run, by figure."""


def main() -> None:
    words = parser(__doc__)
    words.add_argument(
        "--base",
        default="",
        metavar="COMMIT",
        help="default: the last tag; without one, where this change began",
    )
    words.add_argument("--turns", type=int, default=2, help="turns of each of the two")
    words.add_argument("--limit", type=float, default=LIMIT, help="the ratio from which on it fails")
    words.add_argument("--keep", action="store_true", help="leave the engine with its images and caches")
    options = words.parse_args()
    require_root()
    base = options.base or default_base()
    with checkout(base) as older:
        places = {base: Place(HOME, older, 2), "this": Place(HOME, PROJECT, 2)}
        runs: dict[str, Runs] = {name: {} for name in places}
        HOME.mkdir(parents=True, exist_ok=True)
        (HOME / "site.toml").write_text(SITE, encoding="utf-8")
        try:
            for turn in range(options.turns):
                for name, place in places.items():
                    out.print(f"[bold]turn {turn + 1} of {options.turns}: {name}[/]")
                    measure(place, runs[name])
        finally:
            places["this"].osbox("down", "--purge", *(["--keep-images"] if options.keep else []))
    slower = report(base, runs, options.limit)
    if options.json:
        options.json.write_text(
            json.dumps({"base": base, "limit": options.limit, "runs": runs}, indent=2) + "\n",
            encoding="utf-8",
        )
    sys.exit(f"slower than {base} by more than {options.limit - 1:.0%}: {', '.join(slower)}" if slower else 0)


def default_base() -> str:
    """The last tag; else the commit that the change to be judged began at."""
    clean = not git("status", "--porcelain", "--untracked-files=no")
    tag = git(
        "describe", "--tags", "--abbrev=0", *(["HEAD~1"] if clean else [])
    )  # a tag of this very commit is no older one
    if tag:
        return tag
    began = git("merge-base", "HEAD", "@{upstream}")
    if began and began != git("rev-parse", "HEAD"):
        return began
    return "HEAD~1" if clean else "HEAD"


def git(*words: str) -> str:
    """What git says; "" when it does not know."""
    result = run.run(["git", "-C", str(PROJECT), *words], check=False)
    return result.out.strip() if result.code == 0 else ""


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A work tree of an older commit; the installed osbox runs on it by PYTHONPATH."""
    with tempfile.TemporaryDirectory(prefix="osbox-gate-") as folder:
        place = Path(folder) / "older"
        run.run(
            ["git", "-C", str(PROJECT), "worktree", "add", "--detach", str(place), commit],
            hint="git log --oneline names commits",
        )
        try:
            yield place
        finally:
            run.run(["git", "-C", str(PROJECT), "worktree", "remove", "--force", str(place)])


def measure(place: Place, runs: Runs) -> None:
    """One turn. An engine sees the checkout that it was started from, so each turn has its own."""
    place.osbox("engine", "stop")
    place.osbox("build")
    place.osbox("up")  # once, so that nothing is read from the disk for the first time in what is measured
    place.osbox("down")
    volumes = place.docker(
        "volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}"
    ).split()
    place.docker("volume", "rm", *volumes)
    note(runs, "osbox up on empty volumes", place.osbox("up"))
    for number in range(AGAIN):
        note(runs, "osbox up again", place.osbox("up"))
        if number < 2:  # noqa: PLR2004 - on, and off again
            place.osbox(*(["set", f"{OPTION}=true"] if number == 0 else ["unset", OPTION]))
            note(runs, "one option of one service changed", place.osbox("up"))
    note(runs, "osbox down", place.osbox("down"))


def note(runs: Runs, what: str, seconds: float) -> None:
    runs.setdefault(what, []).append(seconds)


def report(base: str, runs: dict[str, Runs], limit: float) -> list[str]:
    """Print medians and ratios; returns the figures that are over the limit."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("FIGURE", base[:12].upper(), "THIS", "RATIO", "RUNS"):
        table.add_column(title, justify="left" if title in ("FIGURE", "RUNS") else "right", no_wrap=True)
    slower = []
    for what, old in runs[base].items():
        new = runs["this"][what]
        ratio = statistics.median(new) / statistics.median(old)
        slower += [what] if ratio > limit else []
        listed = " | ".join(" ".join(f"{value:g}" for value in side) for side in (old, new))
        table.add_row(
            what, f"{statistics.median(old):.1f} s", f"{statistics.median(new):.1f} s", f"{ratio:.2f}", listed
        )
    out.print(table)
    return slower


if __name__ == "__main__":
    main()
