"""How long the images take, how large they are, how far that is from what cannot be undercut, and from
Kolla's on the same machine.

    .venv/bin/python bench/images.py [--only PART]… [--runs N] [--skip-kolla] [--json FILE] [--home DIRECTORY]
    [--keep]

Everything is measured on an engine of the benchmark's own, in a copy of the checkout; both are removed.
"""

import argparse
import hashlib
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import floors
import kolla
from common import Figure, beside, median, out, parser, report
from place import Place, made, received, unique

from osbox import checksums
from osbox.engine import engine
from osbox.images import catalogue
from osbox.site.load import load_site
from osbox.site.site import HOME, Paths

MEGABYTE = 10**6
RACK = "os-rack"


def main() -> None:
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("this makes an engine: run it as root")
    other = engine.find(Paths(Path(__file__).resolve().parents[1], Path(HOME)), load_site(Path(HOME)))
    if other and not options.beside:
        sys.exit(
            f"the engine of {HOME} runs, and both would share the processors and the firewall's chains;"
            " first: osbox engine stop"
        )
    wanted = [name for name in PARTS if name in (options.only or PARTS)]
    figures: list[Figure] = []
    notes: list[str] = []
    others: dict[str, float] = {}
    with made(options.home, os.cpu_count() or 1, keep=options.keep) as place:
        if "cold" not in wanted:
            place.all()
        for name in wanted:
            out.rule(name)
            found = PARTS[name](place, options.runs)
            out.print(
                *[f"{figure.what}: {figure.value} {figure.unit}" for figure in found], sep="\n", markup=False
            )
            figures += found
        if not options.skip_kolla:
            out.rule("kolla")
            others, notes = kolla.measure(place)
    report(beside(figures, others), options.json, other="kolla" if others else "", notes=notes)


def arguments() -> argparse.Namespace:
    words = parser(__doc__)
    words.add_argument(
        "--only",
        action="append",
        choices=PARTS,
        metavar="PART",
        help=f"measure this only, may be repeated: {', '.join(PARTS)}",
    )
    words.add_argument(
        "--runs",
        type=int,
        default=3,
        metavar="N",
        help="of what is cheap, the median of N (%(default)s); cold is built once",
    )
    words.add_argument("--skip-kolla", action="store_true", help="do not build Kolla's images for comparison")
    words.add_argument(
        "--home",
        type=Path,
        default=Path("/var/lib/osbox-bench"),
        help="state directory, made and removed (%(default)s)",
    )
    words.add_argument("--keep", action="store_true", help="leave the engine and the images there")
    words.add_argument("--beside", action="store_true", help="measure although another engine runs")
    return words.parse_args()


def cold(place: Place, _: int) -> list[Figure]:
    """Nothing is there: no engine, no Debian base, no package."""
    begin = received()
    start = place.osbox("engine", "start")
    middle = received()
    whole = place.all()
    return [
        Figure("the private engine, made and started", start, "s"),
        Figure("received for the engine", round((middle - begin) / MEGABYTE), "MB"),
        Figure("cold make all", whole, "s", 60),
        Figure("received for the images", round((received() - middle) / MEGABYTE), "MB"),
    ]


def unchanged(place: Place, runs: int) -> list[Figure]:
    return [median("unchanged make all", 2, place.all, runs)]


def conf(place: Place, runs: int) -> list[Figure]:
    """A line more in one configuration file of one service."""
    return changed(
        place,
        "one conf file of one service changed",
        place.checkout / "images/keystone/etc/keystone/keystone.conf",
        runs,
        5,
    )


def lock(place: Place, runs: int) -> list[Figure]:
    """A line more in a lock: what stands on it is installed anew, from the cache of packages, as with a new
    version in it."""
    folder = place.checkout / "releases/2026.1"
    return [
        *changed(place, "one package of Keystone's own changed", folder / "keystone.lock", runs),
        *changed(place, "one package that several share changed", folder / "common.lock", 1),
    ]


def changed(place: Place, what: str, file: Path, runs: int, aim: float | None = None) -> list[Figure]:
    """Seconds of `make all` after a comment was added to a file, and how many images are others then."""
    times, built = [], set[str]()
    for number in range(runs):
        before = place.ids()
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"\n# change {number}\n")
        confirm(file)
        times.append(place.all())
        after = place.ids()
        built = {name for name in after if after[name] != before.get(name) and name in catalogue.BY_NAME}
    out.print(f"built anew: {', '.join(sorted(built))}")
    return [
        Figure(what, statistics.median(times), "s", aim, tuple(times)),
        Figure(f"{what}: images built anew", len(built), f"of {len(catalogue.IMAGES)}"),
    ]


def confirm(file: Path) -> None:
    """A changed lock is refused unless the sums beside it are of it, as `osbox lock` leaves them."""
    sums = file.with_name(checksums.FILE)
    if sums.exists():
        names = [line.split()[1] for line in sums.read_text(encoding="utf-8").splitlines()]
        sums.write_text(
            "".join(
                f"{hashlib.sha256(sums.with_name(name).read_bytes()).hexdigest()}  {name}\n" for name in names
            ),
            encoding="utf-8",
        )


def size(place: Place, _: int) -> list[Figure]:
    there = place.layers([image.name for image in catalogue.IMAGES])
    others = {name: layers for name, layers in there.items() if name != RACK}
    largest = max(others, key=lambda name: sum(others[name].values()))
    return [
        Figure("unique bytes of all images but the rack", round(unique(others) / MEGABYTE), "MB", 900),
        Figure("what the rack adds", round((unique(there) - unique(others)) / MEGABYTE), "MB", 450),
        Figure("the largest image", round(sum(others[largest].values()) / MEGABYTE), "MB", 450),
        Figure(
            "images that run as root", sum(runs_as_root(place, name) for name in there), f"of {len(there)}"
        ),
    ]


def runs_as_root(place: Place, name: str) -> bool:
    user = place.docker("image", "inspect", "--format", "{{.Config.User}}", name).strip().partition(":")[0]
    return user in ("", "0", "root")


def test(place: Place, _: int) -> list[Figure]:
    return [Figure("make test -j2", place.make("test", "-j2"), "s", 120)]


PARTS: dict[str, Callable[[Place, int], list[Figure]]] = {
    "cold": cold,
    "unchanged": unchanged,
    "conf": conf,
    "lock": lock,
    "size": size,
    "test": test,
    "floor": floors.measure,
}

if __name__ == "__main__":
    main()
