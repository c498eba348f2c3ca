"""The plugin that runs in the environment of the suites, under a real pytest: what it tells of each test."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import osbox.judges.inside
from osbox import environment, run
from osbox.judges import run as judges
from osbox.judges import verdict
from osbox.judges.inside import osbox_recorder
from osbox.judges.suite import Run

INSIDE = Path(osbox.judges.inside.__file__).parent
PACKAGES = "lib/python3.11/site-packages"
TESTS = """
import unittest

class Some(unittest.TestCase):
    def test_passes(self):
        pass

    def test_fails(self):
        self.assertEqual(404, 409, "Details:\\nConflict")

    @unittest.skip("no volumes")
    def test_skipped(self):
        pass

    def test_skips(self):
        self.skipTest("no consoles")

    @unittest.expectedFailure
    def test_is_known_to_fail(self):
        self.fail("as upstream knows")

class TornDown(unittest.TestCase):
    def tearDown(self):
        raise RuntimeError("in use")

    def test_passes(self):
        pass

class ClassTornDown(unittest.TestCase):
    @classmethod
    def tearDownClass(cls):
        raise RuntimeError("the network is in use")

    def test_passes(self):
        pass

class Skipped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("Cinder is required")

    def test_one(self):
        pass

    def test_two(self):
        pass

class NotSetUp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("no credentials")

    def test_one(self):
        pass
"""
HERE = "suite.tests.api.test_some"
BROKEN = "suite.tests.api.test_broken"
TOLD = {
    f"{HERE}.Some.test_passes": ("passed", ""),
    f"{HERE}.Some.test_fails": ("failed", "AssertionError: 404 != 409 : Details:"),
    f"{HERE}.Some.test_skipped": ("skipped", "no volumes"),
    f"{HERE}.Some.test_skips": ("skipped", "no consoles"),
    f"{HERE}.Some.test_is_known_to_fail": ("skipped", osbox_recorder.KNOWN),
    f"{HERE}.TornDown.test_passes": ("failed", "RuntimeError: in use"),
    f"{HERE}.ClassTornDown.test_passes": ("failed", "RuntimeError: the network is in use"),
    f"{HERE}.Skipped.test_one": ("skipped", "Cinder is required"),
    f"{HERE}.Skipped.test_two": ("skipped", "Cinder is required"),
    f"{HERE}.NotSetUp.test_one": ("failed", "RuntimeError: no credentials"),
}
# As pytest has a failure of testtools, of the run of a suite.
TESTTOOLS = """\
'NoneType' object is not iterable

During handling of the above exception, another exception occurred:
NOTE: Incompatible Exception Representation, displaying natively:

testtools.testresult.real._StringException: {before}Traceback (most recent call last):
  File "openstack/tests/functional/baremetal/v1/test_driver.py", line 53, in test_fake_hardware_list_details
    driver = next(d for d in drivers if d.name == 'fake-hardware')
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
{trace}

"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An environment with a suite in it, as far as paths go."""
    api = tmp_path / "venv" / PACKAGES / "suite/tests/api"
    api.mkdir(parents=True)
    for folder in (api, *api.parents[:2]):
        (folder / "__init__.py").touch()
    (api / "test_some.py").write_text(TESTS)
    return tmp_path / "venv"


def ends(todo: Run, installed: Path, wanted: str = "") -> tuple[int, dict[str, tuple[str, str]]]:
    """pytest's exit code, and what it told: run as osbox does it, in the place of results."""
    place = installed.parent / "judges"
    place.mkdir()
    (place / "pytest.ini").write_text(judges.INI)
    paths: Mapping[str, str] = {
        "PYTHONPATH": os.pathsep.join(map(str, (INSIDE, installed / PACKAGES))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OSBOX_RECORDS": str(place / judges.RECORDS),
        "OSBOX_TESTS": wanted,
    }
    # The worker that this test itself runs in has told the suite's pytest what it is by these.
    clean = environment.without([name for name in os.environ if name.startswith("PYTEST_")])
    done = run.run(
        [*clean, sys.executable, *todo.words(place, installed)], env=paths, cwd=place, check=False, timeout=60
    )
    records = place / judges.RECORDS
    lines = records.read_text().splitlines() if records.exists() else []
    found = verdict.read(lines)
    assert done.code in (0, 1, 5), done.out + done.err
    told = [json.loads(line) for line in lines]
    read = [one for one in told if "test" in one and one["test"] != BROKEN]
    counted = [one["collected"] for one in told if "collected" in one]
    assert counted == [len({one["test"] for one in read})], "once, and before any has ended"
    assert not read or told.index(read[0]) > told.index({"collected": counted[0]})
    return done.code, {test.name: (test.outcome, test.reason) for test in found}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_became_of_each(installed: Path, workers: int) -> None:
    assert ends(Run(("suite.tests",), workers=workers), installed) == (1, TOLD)


def test_a_test_is_told_when_it_ends(installed: Path) -> None:
    """A run that is killed has told what it knew."""
    (installed / PACKAGES / "suite/tests/api/test_some.py").write_text(
        dedent(
            """
            import os, signal

            def test_first():
                pass

            def test_killed():
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )
    with pytest.raises(AssertionError):
        ends(Run(("suite.tests",)), installed)
    lines = (installed.parent / "judges" / judges.RECORDS).read_text().splitlines()
    collected, *ended = map(json.loads, lines)
    assert collected == {"collected": 2}
    assert [one["test"] for one in ended] == [f"{HERE}.test_first"]


@pytest.mark.parametrize("workers", [1, 2])
def test_only_those_that_are_meant(installed: Path, workers: int) -> None:
    code, found = ends(
        Run(("suite.tests",), workers=workers), installed, r"api\.test_some\.Some\.test_(pass|skips)"
    )
    assert code == 0
    assert found == {
        f"{HERE}.Some.test_passes": ("passed", ""),
        f"{HERE}.Some.test_skips": ("skipped", "no consoles"),
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_none_that_is_meant(installed: Path, workers: int) -> None:
    assert ends(Run(("suite.tests",), workers=workers), installed, "tset") == (judges.NOTHING, {})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_cannot_be_read_is_a_failed_test(installed: Path, workers: int) -> None:
    """And the others run: one broken module of a plug-in was the end of all."""
    (installed / PACKAGES / "suite/tests/api/test_broken.py").write_text("import nothing_of_the_kind\n")
    code, found = ends(Run(("suite.tests",), workers=workers), installed)
    assert code == 1
    assert found.pop(BROKEN) == ("failed", "ModuleNotFoundError: No module named 'nothing_of_the_kind'")
    assert found == TOLD


def test_files_below_a_source(installed: Path) -> None:
    """As Swift's; the suite is run in the place of its results, which is elsewhere."""
    source = installed.parent / "swift-2.37.1"
    (source / "test/functional").mkdir(parents=True)
    for folder in ("test", "test/functional"):
        (source / folder / "__init__.py").touch()
    (source / "test/functional/tests.py").write_text(
        "import unittest\nclass TestAccount(unittest.TestCase):\n    def test_head(self):\n        pass\n"
    )
    (source / "test/functional/test_acl.py").write_text("def test_read():\n    pass\n")
    todo = Run(("test/functional", "test/functional/tests.py"), source=source)
    assert ends(todo, installed) == (
        0,
        {
            "test.functional.test_acl.test_read": ("passed", ""),
            "test.functional.tests.TestAccount.test_head": ("passed", ""),
        },
    )


@pytest.mark.parametrize(
    ("node", "name"),
    [
        (f"{PACKAGES}/tempest/api/test_a.py::A::test_b", "tempest.api.test_a.A.test_b"),
        (f"{PACKAGES}/openstack/tests/test/test_a.py::test_b", "openstack.tests.test.test_a.test_b"),
        ("../../venv/" + PACKAGES + "/tempest/api/test_a.py", "tempest.api.test_a"),
        ("test/s3api/test_a.py::A::test_b[x/y.z]", "test.s3api.test_a.A.test_b[x/y.z]"),
        ("../swift-2.37.1/test/functional/tests.py::A::test_b", "test.functional.tests.A.test_b"),
        ("", ""),
    ],
)
def test_dotted_names(node: str, name: str) -> None:
    assert osbox_recorder.name(node) == name


def test_long_reasons_are_cut() -> None:
    report: Any = pytest.TestReport("a", ("a.py", 1, "a"), {}, "failed", "E  " + "x" * 1000, "call")
    assert osbox_recorder._reason(report) == "x" * osbox_recorder.REASON


TIDYING = "traceback-1: {{{\nTraceback:\n    tidy()\nValueError: in use\n}}}\n\n"


@pytest.mark.parametrize(
    ("before", "trace", "said"),
    [
        ("", "StopIteration", "StopIteration"),
        ("", "openstack.exceptions.ResourceFailure", "openstack.exceptions.ResourceFailure"),
        ("", "AssertionError: 1 != 2 : Found:\nNothing", "AssertionError: 1 != 2 : Found:"),
        ("", "what names no error", "what names no error"),
        (TIDYING, "StopIteration", "StopIteration"),
        (TIDYING, "AssertionError: 1 != 2", "AssertionError: 1 != 2"),
    ],
)
def test_reasons_of_testtools(before: str, trace: str, said: str) -> None:
    """It hides the exception behind one of its own, and has all traces in the words of that."""
    text = TESTTOOLS.format(before=before, trace=trace)
    report: Any = pytest.TestReport("a", ("a.py", 1, "a"), {}, "failed", text, "call")
    assert osbox_recorder._reason(report) == said


def test_workers_of_a_suite_share_classes() -> None:
    words = Run(("a",), workers=3).words(Path("/place"), Path("/venv"))
    assert words[words.index("--numprocesses") + 1] == "3"
    assert "--dist=loadscope" in words
    assert "xdist" not in replace(Run(("a",)), workers=1).words(Path("/place"), Path("/venv"))
