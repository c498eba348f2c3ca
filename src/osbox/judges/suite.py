"""A suite: which tests it has, and how they are run. Pure."""

import configparser
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("tempest", "swift", "sdk")
FILES = "test_*.py *_test.py tests.py"
"""What Swift's tests are called."""


def ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    """The text of a configuration file, as the suites read theirs."""
    config, text = configparser.RawConfigParser(), io.StringIO()
    config.read_dict(sections)
    config.write(text)
    return text.getvalue()


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
            ["-p", "xdist", "--numprocesses", str(self.workers), "--dist=loadscope"]
            if self.workers > 1
            else []
        )
        # pytest looks for files below where it is called, whatever its root is, and leaves one out that is
        # named beside its folder: that should have it.
        named = (
            ["-o", f"python_files={FILES}", *(str(self.source / one) for one in self.packages)]
            if self.source
            else ["--pyargs", *self.packages]
        )
        return [
            *("-m", "pytest", "-c", str(place / "pytest.ini"), "--rootdir", str(self.source or installed)),
            *("-p", "osbox_recorder", "-p", "timeout", "-p", "no:cacheprovider"),
            *("--quiet", "--tb=short"),
            *(
                f"--timeout={self.seconds}",
                f"--junitxml={place / 'junit.xml'}",
                "--continue-on-collection-errors",  # what cannot be read is one failed test
                *shared,
                *named,
            ),
        ]
