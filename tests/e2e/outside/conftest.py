"""An engine of these tests' own, on a file system of its own, in a network namespace whose only way out is a
proxy or a mirror."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from osbox import run
from osbox.engine import processes as leftovers
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.e2e.conftest import Tool
from tests.e2e.outside import world
from tests.e2e.outside.world import NAMESPACE, World

SIZE = "9g"  # what an engine asks for; tmpfs takes memory only for what is there (about 2 GB)
SITE = """\
name = "outside"
engine = "private"
engine_bridge = "osbox-oute"
engine_subnet = "10.29.93.0/24"
control_bridge = "osbox-out"
control_subnet = "10.29.92.0/24"
"""


@dataclass
class Outpost:
    """osbox inside the namespace. settings: what its environment says of the network."""

    world: World
    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def argv(self, *words: str) -> list[str]:
        environment = world.environment(
            OSBOX_HOME=str(self.home), NO_COLOR="1", COLUMNS="200", **self.settings
        )
        # Not `ip netns exec`: it mounts /sys anew, and the engine finds no control groups.
        return [
            "env",
            "-i",
            *(f"{name}={value}" for name, value in environment.items()),
            "nsenter",
            f"--net=/run/netns/{NAMESPACE}",
            "--",
            *words,
        ]

    def inside(self, *words: str) -> run.Result:
        """Run a command in the namespace, to its end."""
        return run.run(self.argv(*words), check=False, timeout=600)

    def osbox(self, *words: str, code: int = 0) -> str:
        """What osbox printed; fails the test when its exit code is another one."""
        result = self.inside(Tool.program, *words)
        print(f"$ osbox {' '.join(words)}\n{result.out}{result.err}")
        assert result.code == code, (
            f"osbox {' '.join(words)}: exit code {result.code}\n{result.out[-3000:]}\n{result.err[-3000:]}"
        )
        assert "Traceback" not in result.err
        return result.out + result.err

    def docker(self, *words: str) -> str:
        result = self.inside(Tool.program, "engine", "shell", "--", "docker", *words)
        assert result.code == 0, result.err
        return result.out

    def forget(self) -> None:
        """Remove all images and caches but for the Debian base: the next build fetches everything."""
        self.osbox("clean")
        extra = [
            tag
            for tag in self.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
            if not tag.startswith("osbox-debian:")
        ]
        if extra:
            self.docker("image", "rm", *extra)
        self.docker("builder", "prune", "--all", "--force")


PREFIX = "osbox-outpost-"


def remove_outposts() -> None:
    """Those of a run that was killed: engines, in the namespace of then, and their file systems."""
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if home.is_mount():
            Outpost(World(home, home), home).inside(Tool.program, "down", "--purge")
            leftovers.end(Paths(PROJECT, home))  # the namespace may be gone
            run.run(["umount", str(home)])
        home.rmdir()


@pytest.fixture(scope="package")
def outpost() -> Iterator[Outpost]:
    if os.geteuid() != 0:
        pytest.skip("makes namespaces, mounts and an engine: run as root")
    with waited("removal of what an earlier run left outside", within=300):
        remove_outposts()
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    with world.namespace(), world.programs() as outside:
        run.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(home)])
        there = Outpost(outside, home)
        try:
            (home / "site.toml").write_text(SITE)
            yield there
        finally:
            there.inside(Tool.program, "down", "--purge")
            run.run(["umount", str(home)])
            home.rmdir()
