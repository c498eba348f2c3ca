"""Where the images are measured: an engine, a state directory and a copy of the checkout of the benchmark's
own."""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import OSBOX, PROJECT, out, seconds

from osbox import run

# Nothing of this may meet a cloud that is on the machine: the engine has its own directory, bridge and
# subnet.
SITE = """
name = "osbox-bench"
engine = "private"
bridge = "bench-metal"
veth = ["benchext0", "benchext1"]
subnet = "10.29.26.0/24"
control_bridge = "bench"
control_subnet = "10.29.25.0/24"
engine_bridge = "bench-engine"
engine_subnet = "10.29.24.0/24"
loopback = "127.0.0.3"
"""


@dataclass(frozen=True)
class Place:
    """home: the state directory; checkout: a copy, whose files the benchmark changes; jobs: how many builds
    or tests at a time."""

    home: Path
    checkout: Path
    jobs: int

    @property
    def environment(self) -> dict[str, str]:
        """PYTHONPATH makes the installed osbox work on the copy."""
        return {
            "OSBOX_HOME": str(self.home),
            "NO_COLOR": "1",
            "BUILD_VERSION": "latest",
            "PYTHONPATH": str(self.checkout / "src"),
        }

    def make(self, *words: str) -> float:
        """Seconds that `make …` takes."""
        return seconds(["make", *words], self.environment, self.checkout)

    def all(self) -> float:
        return self.make("all", f"-j{self.jobs}")

    def osbox(self, *words: str) -> float:
        """Seconds that `osbox …` takes."""
        return seconds([OSBOX, *words], self.environment, self.checkout)

    def docker(self, *words: str) -> str:
        """What `docker …` prints at the benchmark's engine."""
        pid = (self.home / "engine/dockerd.pid").read_text(encoding="utf-8").strip()
        return run.run(["nsenter", "-t", pid, "-m", "--", "docker", *words]).out

    def ids(self, pattern: str = "os-*") -> dict[str, str]:
        """The images of a name pattern that are there: id by name."""
        lines = self.docker(
            "images", "--no-trunc", "--filter", f"reference={pattern}", "--format", "{{.Repository}} {{.ID}}"
        ).splitlines()
        return dict(line.split() for line in lines)

    def layers(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """The layers of images: bytes by digest, by image. A layer is known by itself and all below it."""
        found = {}
        for name, entry in zip(names, json.loads(self.docker("image", "inspect", *names)), strict=True):
            lines = self.docker(
                "history", "--no-trunc", "--human=false", "--format", "{{json .}}", name
            ).splitlines()
            sizes = [int(json.loads(line)["Size"]) for line in reversed(lines)]
            found[name] = dict(zip(entry["RootFS"]["Layers"], _of_layers(entry, sizes), strict=True))
        return found


def _of_layers(entry: Mapping[str, Any], sizes: list[int]) -> list[int]:
    """The sizes of those steps that made a layer: Docker's history does not say which, but how many there
    are."""
    count = len(entry["RootFS"]["Layers"])
    empty = len(sizes) - count
    kept: list[int] = []
    for position, size in enumerate(sizes):
        rest = len(sizes) - position
        if size == 0 and empty and rest > count - len(kept):
            empty -= 1
            continue
        kept.append(size)
    return kept


def unique(layers: Mapping[str, Mapping[str, int]]) -> int:
    """Bytes that images take together: a layer that they share counts once."""
    return sum({digest: size for of_image in layers.values() for digest, size in of_image.items()}.values())


@contextmanager
def made(home: Path, jobs: int, *, keep: bool) -> Iterator[Place]:
    """The place, empty: whatever an earlier run left is removed first, and this one's in the end."""
    checkout = home.with_name(home.name + "-checkout")
    place = Place(home, checkout, jobs)
    if home.exists() and not (home / "site.toml").exists():
        sys.exit(f"{home} is there and not of this benchmark; name another one with --home")
    if not Path(sys.prefix, "installed").exists():
        sys.exit(
            "this Python is not the one that `make setup` made; next: make setup && .venv/bin/python"
            " bench/images.py"
        )
    remove(place)
    home.mkdir(parents=True)
    (home / "site.toml").write_text(SITE, encoding="utf-8")
    ignored = shutil.ignore_patterns(".venv", "__pycache__", ".*_cache")
    shutil.copytree(PROJECT, checkout, symlinks=True, ignore=ignored)
    (checkout / ".venv").symlink_to(sys.prefix)
    try:
        yield place
    finally:
        if not keep:
            remove(place)


def remove(place: Place) -> None:
    if (place.home / "site.toml").exists():
        out.print(f"[dim]remove {place.home}[/dim]")
        # By the installed checkout: the copy may be gone already.
        run.run([OSBOX, "down", "--purge"], env={**place.environment, "PYTHONPATH": ""}, check=False)
    if (place.checkout / ".venv").is_symlink():
        (place.checkout / ".venv").unlink()
        shutil.rmtree(place.checkout)


def step_seconds(text: str, pattern: str) -> float:
    """How long the build steps that match took together, by a build's output; what came from the cache took
    no time."""
    numbers = re.findall(rf"^#(\d+) \[[^\]]+\] .*(?:{pattern})", text, re.MULTILINE)
    done = dict(re.findall(r"^#(\d+) DONE ([\d.]+)s$", text, re.MULTILINE))
    return round(sum(float(done.get(number, 0)) for number in dict.fromkeys(numbers)), 1)


def received() -> int:
    """Bytes that this machine has received on its way out since it started."""
    routes = json.loads(run.run(["ip", "-json", "route", "show", "default"]).out)
    links = {route["dev"] for route in routes} or {path.name for path in Path("/sys/class/net").iterdir()} - {
        "lo"
    }
    return sum(
        int(Path(f"/sys/class/net/{name}/statistics/rx_bytes").read_text(encoding="utf-8")) for name in links
    )
