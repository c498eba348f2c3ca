"""pytest on made-up tests, with the rules of this project's own (conftest.py) and a state directory of their
own."""

import os
from unittest import mock

import pytest

from tests import digests, disk, home, records
from tests.conftest import PROJECT

INI = (
    "[pytest]\naddopts = -ra --strict-markers -p no:cacheprovider -p tests.conftest\ntestpaths ="
    " tests\ntimeout_method = signal\n"
)


class MadeUp:
    """A project with a folder tests."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester, self.path, self.home = pytester, pytester.path, pytester.path / "home"
        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        monkeypatch.setenv("OSBOX_CHECK_HOME", str(self.home))
        for module in (home, digests, disk):
            monkeypatch.setattr(module, "BASE", self.home)
        monkeypatch.setattr(disk, "FULL", [])
        monkeypatch.setattr(records, "FILE", self.home / records.FILE.name)
        for name in [name for name in os.environ if name.startswith("PYTEST_")]:
            monkeypatch.delenv(name)  # of the run that we are in
        pytester.makeini(INI)
        (self.path / "tests").mkdir()
        self.free(99 << 30)

    def free(self, size: int) -> None:
        """How much of the disk is free, as its tests see it."""
        # Put back at its end: where the made-up run is in this process, what comes after it would see that
        # disk, too.
        self.pytester.makeconftest(
            "import shutil\nreal = shutil.disk_usage\ndef pytest_configure(config): shutil.disk_usage ="
            f" lambda _: type('Usage', (), {{'free': {size}}})\ndef pytest_unconfigure(config):"
            " shutil.disk_usage = real\n"
        )

    def write(self, text: str, name: str = "test_made_up.py") -> None:
        (self.path / "tests" / name).write_text(text)

    def run(self, *words: str) -> pytest.RunResult:
        return self.pytester.runpytest_subprocess(*words, timeout=100)

    def run_here(self, *words: str) -> pytest.RunResult:
        """The same in this process, in a tenth of the time; the deadlines are those of the test that calls
        it."""
        with mock.patch.dict(os.environ):  # in which a run's beginning says what it is
            return self.pytester.runpytest_inprocess("--timeout=0", *words)
