"""What passed is not repeated, on made-up tests: when, what is said, and what is run again all the same."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from osbox import run
from osbox.site.site import Lifetime, declared
from tests import digests, records
from tests.made_up import MadeUp

pytestmark = pytest.mark.timeout(120)  # some start pytest several times

IMAGES = """
import pytest
from osbox.images.catalogue import BY_NAME
@pytest.mark.images
@pytest.mark.parametrize("image", [BY_NAME["os-memcached"], BY_NAME["os-rabbitmq"]], ids=lambda image: image.name)
def test_image(image): pass
def test_quick(): pass
"""  # noqa: E501
CHAIN = """
import os
import pytest
pytestmark = pytest.mark.e2e
def test_first(): pass
def test_second(): assert "BREAK" not in os.environ
@pytest.mark.full
def test_third(): assert "BREAK_THIRD" not in os.environ
"""
ALONE = "import pytest\n@pytest.mark.e2e\ndef test_alone(): pass\n"


@pytest.fixture
def made_up(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    found = MadeUp(pytester, monkeypatch)
    run.run(["git", "init", "--quiet", str(found.path)])
    (found.path / ".gitignore").write_text("home\n__pycache__\nrunpytest-*\nstdout\nstderr\n*.log\n")
    (found.path / "tests/apart").mkdir()
    (found.path / "tests/apart/conftest.py").write_text(
        ""
    )  # pytest treats plugins in another way where folders have rules of their own
    (found.path / "tests/apart/test_apart.py").write_text(
        "import pytest\n@pytest.mark.full\ndef test_apart(): pass\n"
    )
    (found.path / "src/osbox").mkdir(parents=True)
    (found.path / "src/osbox/new.py").write_text("first")
    return found


def names(result: pytest.RunResult) -> list[str]:
    """The tests that ran."""
    return re.findall(r"::(\S+) (?:PASSED|FAILED|ERROR)", result.stdout.str())


BOTH = ["test_image[os-memcached]", "test_image[os-rabbitmq]"]


def test_an_image_test_that_passed_is_not_repeated(made_up: MadeUp) -> None:
    made_up.write(IMAGES)
    assert names(made_up.run_here("-v")) == ["test_quick", *BOTH]
    result = made_up.run_here("-v")
    assert names(result) == ["test_quick"]
    told = (
        r"2 image tests not repeated: same inputs and test code as the green run of 20\S+; --again runs them"
    )
    said = [line for line in result.outlines if re.fullmatch(told, line)]
    assert len(said) == 2, "once at the start, once at the end"
    for asked in ("--again", "tests/test_made_up.py"):
        assert names(made_up.run_here("-v", asked))[-2:] == BOTH
    (made_up.home / "provenance").mkdir()
    statement = {"subject": [{"digest": {"sha256": "1234"}}]}
    (made_up.home / "provenance/os-memcached_latest.json").write_text(json.dumps(statement))
    assert names(made_up.run_here("-v")) == ["test_quick", BOTH[0]], "another build of it is here"


CHANGES: dict[str, Callable[[Path], object]] = {
    "osbox": lambda path: (path / "src/osbox/new.py").write_text("second"),
    "its own test": lambda path: (path / "tests/test_made_up.py").write_text(IMAGES + "\n"),
    "what tests share": lambda path: (path / "tests/shared.py").write_text(""),
}
INDIFFERENT: dict[str, Callable[[Path], object]] = {
    "a page": lambda path: (path / "README.md").write_text("x"),
    "another test": lambda path: (path / "tests/test_other.py").write_text("def test_other(): pass\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_makes_an_image_test_run_again(made_up: MadeUp, change: Callable[[Path], object]) -> None:
    made_up.write(IMAGES)
    made_up.run_here("-m", "images")
    change(made_up.path)
    assert names(made_up.run_here("-v", "-m", "images")) == BOTH


def test_what_does_not(made_up: MadeUp) -> None:
    made_up.write(IMAGES)
    made_up.run_here("-m", "images")
    for change in INDIFFERENT.values():
        change(made_up.path)
    assert names(made_up.run_here("-v", "-m", "images")) == []


def test_a_failure_is_forgotten_by_nothing_but_a_pass(
    made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up.write(
        IMAGES.replace(
            "def test_image(image): pass",
            "def test_image(image): assert not __import__('os').environ.get('BREAK')",
        )
    )
    made_up.run_here("-m", "images")
    monkeypatch.setenv("BREAK", "1")
    assert made_up.run_here("-m", "images", "--again").ret == pytest.ExitCode.TESTS_FAILED
    monkeypatch.delenv("BREAK")
    assert names(made_up.run_here("-v", "-m", "images")) == BOTH
    assert names(made_up.run_here("-v", "-m", "images")) == []


def test_full_goes_on_with_whole_files(made_up: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up.write(CHAIN, "test_chain.py")
    made_up.write(ALONE, "test_zone.py")
    full = ("-v", "-m", "not quick", "--full")
    assert names(made_up.run_here("-v", "-m", "not quick")) == ["test_first", "test_second", "test_alone"], (
        "a sample"
    )
    assert names(made_up.run_here("-v", "-m", "not quick"))[0] == "test_first", (
        "what is no image is left out with --full only"
    )
    monkeypatch.setenv("BREAK_THIRD", "1")
    result = made_up.run_here(*full)
    assert names(result) == ["test_first", "test_second", "test_third"], "the sample was not the whole file"
    assert any(
        re.match(r"tests/test_zone.py not repeated: its 1 tests passed with this very tree on 20", line)
        for line in result.outlines
    )
    monkeypatch.delenv("BREAK_THIRD")
    assert names(made_up.run_here(*full)) == ["test_first", "test_second", "test_third"], (
        "one of its tests had failed"
    )
    result = made_up.run_here(*full)
    assert (names(result), result.ret) == ([], pytest.ExitCode.OK)
    assert names(made_up.run_here(*full, "--again")) == [
        "test_first",
        "test_second",
        "test_third",
        "test_alone",
    ]
    (made_up.path / "README.md").write_text("changed, in no commit")
    assert len(names(made_up.run_here(*full))) == 4


def test_a_run_that_was_killed_records_no_half_file(made_up: MadeUp) -> None:
    made_up.write(ALONE, "test_alone.py")
    killed = "def test_second(): os.kill(os.getpid(), 9) if 'KILL' in os.environ else None; "
    made_up.write(CHAIN.replace("def test_second(): ", killed), "test_chain.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILL", "1")
        made_up.run("-m", "not quick", "--full")
    assert [record["test"] for record in records.read(made_up.home / "checks.jsonl").values()] == [
        "tests/test_alone.py"
    ]
    assert names(made_up.run_here("-v", "-m", "not quick", "--full")) == [
        "test_first",
        "test_second",
        "test_third",
    ]


def test_a_run_whose_time_is_up_is_red_and_goes_on(made_up: MadeUp) -> None:
    made_up.write(ALONE.replace("pass", "__import__('time').sleep(1.1)"), "test_a.py")
    made_up.write(ALONE.replace("test_alone", "test_next"), "test_b.py")
    full = ("-v", "-m", "e2e", "--full", "--session-timeout=1")
    result = made_up.run_here(*full)
    assert (names(result), result.ret) == (["test_alone"], pytest.ExitCode.TESTS_FAILED)
    result = made_up.run_here(*full)
    assert (names(result), result.ret) == (["test_next"], pytest.ExitCode.OK)


# --- the file
# --------------------------------------------------------------------------------


def line(test: str, digest: str = "d", *, passed: bool = True) -> dict[str, object]:
    return {"test": test, "digest": digest, "passed": passed, "date": "2026-01-01"}


def test_half_a_line_is_no_record_and_costs_no_other(tmp_path: Path) -> None:
    file = tmp_path / "state" / "checks.jsonl"
    records.write(file, [line("a"), line("b")])
    with file.open("a") as stream:
        stream.write('{"test": "c", "digest": "d", "pas')
    records.write(file, [line("d")])
    file.write_text(file.read_text() + '17\n"x"\n{}\n')
    assert [test for test, _ in records.read(file)] == ["a", "b", "d"]


def test_the_newest_records_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "checks.jsonl"
    records.write(file, [line(str(number)) for number in range(records.LINES + 1)])
    records.write(file, [line("new")])
    found = [test for test, _ in records.read(file)]
    assert (len(found), found[-2:]) == (records.LINES // 2 + 1, [str(records.LINES), "new"])


@pytest.mark.root
def test_a_full_disk_costs_the_record_and_nothing_else(made_up: MadeUp) -> None:
    made_up.home.mkdir()
    run.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(made_up.home)])
    try:
        with pytest.raises(OSError, match="No space left"):
            (made_up.home / "full").write_bytes(b"x" * (65 << 10))
        made_up.write(IMAGES)
        result = made_up.run_here("-m", "images")
        assert result.ret == pytest.ExitCode.OK
        assert (
            f"What passed is not written down in {made_up.home}/checks.jsonl: No space left on device"
            in result.outlines
        )
        (made_up.home / "full").unlink()
        assert names(made_up.run_here("-v", "-m", "images")) == BOTH
    finally:
        run.run(["umount", str(made_up.home)])


def test_records_outlive_a_purge_that_keeps_images() -> None:
    known = declared(records.FILE.name)
    assert known
    assert known.lifetime == Lifetime.KEPT


def test_the_digest_of_files(tmp_path: Path) -> None:
    file, seen = tmp_path / "a", set()
    changes: list[Callable[[], object]] = [
        lambda: file.write_text("x"),
        lambda: file.write_text("y"),
        lambda: file.chmod(0o755),
        file.unlink,
        lambda: file.symlink_to("nowhere"),
    ]
    for change in changes:
        change()
        seen.add(digests.of_files(tmp_path, ["a"]))
        os.utime(tmp_path)
    assert len(seen) == len(changes)


WANTED = """
import pytest
from osbox.images.catalogue import BY_NAME
from tests import records
IMAGE = pytest.mark.parametrize("image", [BY_NAME["os-memcached"], BY_NAME["os-rabbitmq"]], ids=lambda image: image.name)
pytestmark = pytest.mark.images
@pytest.fixture(scope="module", params=["2025.1", "2026.2"])
def reports(request): return [image.name for image in records.wanted(request)]
@pytest.fixture(scope="module")
def all_reports(request): return [image.name for image in records.wanted(request)]
@IMAGE
def test_image(image, reports): print("TOLD", reports)
@IMAGE
def test_other(image, all_reports): print("TOLD", all_reports)
"""  # noqa: E501


def test_a_fixture_tests_the_images_that_are_looked_at(made_up: MadeUp) -> None:
    def told(*words: str) -> set[str]:
        return set(re.findall("TOLD .*", made_up.run_here("-s", "--again", *words).stdout.str()))

    made_up.write(WANTED)
    assert told("-k", "test_image and not (2025.1 and rabbitmq)") == {
        "TOLD ['os-memcached']",
        "TOLD ['os-memcached', 'os-rabbitmq']",
    }
    assert told("-k", "test_other and memcached") == {"TOLD ['os-memcached']"}
