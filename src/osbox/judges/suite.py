"""A suite: which tests it has, and how they are run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("tempest", "swift", "sdk")


@dataclass(frozen=True)
class Run:
    """What pytest is given. packages: installed ones, or files below `source`. environment: of the tests.
    workers: processes that share the tests, a class each; 1 where all act in one account. seconds: a test may
    take no longer.
    """

    packages: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None
    workers: int = 1
    seconds: int = 600

    def words(self, place: Path, installed: Path) -> list[str]:
        """pytest's words. place: where results and configuration are; installed: the environment, for the
        ids of tests are paths below the root, or below nobody knows what."""
        shared = (
            ["--numprocesses", str(self.workers), "--dist=loadscope"]
            if self.workers > 1
            else ["-p", "no:xdist"]
        )
        named = [] if self.source else ["--pyargs"]
        return [
            *("-m", "pytest", "-c", str(place / "pytest.ini"), "--rootdir", str(self.source or installed)),
            *("-p", "osbox_recorder", "-p", "no:cacheprovider", "--quiet", "--tb=short"),
            *(
                f"--timeout={self.seconds}",
                f"--junitxml={place / 'junit.xml'}",
                *shared,
                *named,
                *self.packages,
            ),
        ]
