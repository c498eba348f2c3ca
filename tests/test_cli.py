"""Every way a command can end: what is said, on which stream, and the exit code."""

import errno
import importlib
import json
import pwd
import shlex
import sys
from pathlib import Path

import pytest

from osbox import run
from osbox.cli import REFUSALS, execute
from osbox.engine import engine
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.images import inventory
from osbox.images.inventory import Listed, Listing
from tests.conftest import PROJECT

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that has to fail before must not start one."""

    def refuse(*_: object) -> Engine:
        raise AssertionError("the engine was started")

    monkeypatch.setattr(engine, "start", refuse)


WRONG = {
    "no such command": (["bild"], "No such command 'bild'. Did you mean 'build'?"),
    "no such option": (["build", "--fast"], "No such option: --fast"),
    "no such image": (["build", "keyston"], "no image is called keyston"),
    "no such image to test": (["test", "keyston"], "no image is called keyston"),
    "no such image to clean": (["clean", "keyston"], "no image is called keyston"),
    "a version that is no tag": (["build", "--version", "1 0"], "the version '1 0' cannot be an image tag"),
    "an empty version": (["clean", "--version="], "the version '' cannot be an image tag"),
    "a version like an option": (["test", "--version=-1"], "the version '-1' cannot be an image tag"),
    "nothing to plan with": (["plan", "--version="], "the version '' cannot be an image tag"),
    "nothing to bring up": (["up", "--version="], "the version '' cannot be an image tag"),
    "nothing to push": (["push", "localhost:5000", "--version="], "the version '' cannot be an image tag"),
    "nothing to look into": (["images", "verify", "--version="], "the version '' cannot be an image tag"),
    "a bundle of no name": (["bundle", "create", ""], f"{PROJECT} is a directory"),
    "a bundle nowhere": (["bundle", "create", "/nowhere/osbox.tar"], "there is no directory /nowhere"),
    "jobs that are none": (["build", "-j", "0"], "Invalid value for '-j' / '--jobs': "),
    "no such engine": (["--engine", "podman", "images"], "--engine podman is not known"),
    "a missing value": (["build", "-j"], "Option '-j' requires an argument."),
    "a kernel that there is not": (
        ["setup", "--kernel", "foo"],
        "Invalid value for '--kernel': 'foo' is not one of 'cloud', 'generic'.",
    ),
    "an interface of no name": (["net", "connect", "--interface="], "--interface names no interface"),
    "engine shell without one": (["--engine", "private", "engine", "shell"], "no engine runs"),
}


@pytest.mark.parametrize(("argv", "message"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.usefixtures("no_engine")
def test_a_wrong_word_is_one_clear_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    assert execute(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"Error: {message}")
    assert "Traceback" not in said.err


def test_an_unknown_release_names_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "start", lambda *_: Engine("host", "26"))
    assert execute(["build", "--release", "1999.1"]) == 2
    assert "known releases: " in capsys.readouterr().err


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("command", ["build", "test", "clean"])
def test_a_retired_image_is_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([command, "os-glance-registry"]) == 0
    assert capsys.readouterr().out.startswith("☝️  os-glance-registry:latest - Retired: ")


def test_relative_home_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSBOX_HOME", "here")
    assert execute(["images"]) == 2
    assert "OSBOX_HOME is not an absolute path: here" in capsys.readouterr().err


HOMES = {
    "the root": ("/", "OSBOX_HOME is /, which is not for osbox alone"),
    "another name of it": ("/tmp/..", "OSBOX_HOME is /, which is not for osbox alone"),
    "of everybody": ("/tmp", "OSBOX_HOME is /tmp, which is not for osbox alone"),
    "of the system": ("/var", "OSBOX_HOME is /var, which is not for osbox alone"),
    "a person's": ("~", "which is not for osbox alone"),
    "the checkout": (str(PROJECT), f"OSBOX_HOME is {PROJECT}, which is not for osbox alone"),
    "a file": ("/etc/passwd", "OSBOX_HOME is no directory: /etc/passwd"),
    "below a file": ("/etc/passwd/osbox", "OSBOX_HOME cannot be used: Not a directory: /etc/passwd/osbox"),
    "too long": ("/tmp/" + "x" * 300, "OSBOX_HOME cannot be used: File name too long: /tmp/x"),
    "of two lines": ("/tmp/a\nb", "OSBOX_HOME has a character that Docker reads as another: '/tmp/a\\nb'"),
    "two paths": (
        "/tmp/a:/tmp/b",
        "OSBOX_HOME has a character that Docker reads as another: '/tmp/a:/tmp/b'",
    ),
}


@pytest.mark.parametrize(("place", "message"), HOMES.values(), ids=HOMES.keys())
def test_a_home_that_cannot_be_one_is_refused(
    place: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A purge would have removed everybody's /tmp, and the tests of the checkout; a file was a defect."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OSBOX_HOME", str(tmp_path) if place == "~" else place)
    assert execute(["status"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Next: " in said


@pytest.mark.parametrize(
    ("place", "hint"),
    [
        ("/opt", "OSBOX_HOME=/opt/osbox, or without it /var/lib/osbox"),
        *((place, f"OSBOX_HOME={place}/osbox, or without it") for place in ("/srv", "/mnt", "/media")),
        ("HOME/ann", "OSBOX_HOME=HOME/ann/osbox, or without it"),
        ("HOME/link", "OSBOX_HOME=HOME/ann/osbox, or without it"),
        *((place, "unset it: it is /var/lib/osbox then") for place in ("/proc", "/sys", "/dev", "/run")),
        *((place, "unset it: it is /var/lib/osbox then") for place in ("/tmp", "/bin", "/etc", "/var/tmp")),
        ("HOME/service", ""),
    ],
)
def test_a_place_of_others_is_refused_with_one_that_lasts(
    place: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With sudo, ~ is root's: the home of who called it was taken. Below /tmp or /run nothing lasts."""
    for name in ("ann", "service"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("ann")
    users = [("ann", 1000), ("service", 999)]
    of = [pwd.struct_passwd((name, "x", uid, uid, "", str(tmp_path / name), "")) for name, uid in users]
    monkeypatch.setattr(pwd, "getpwall", lambda: of)
    monkeypatch.setenv("OSBOX_HOME", place.replace("HOME/", f"{tmp_path}/"))
    assert execute(["get"]) == (2 if hint else 0)
    said = " ".join(capsys.readouterr().err.split())
    assert ("which is not for osbox alone" in said) == bool(hint)
    assert hint.replace("HOME/", f"{tmp_path}/") in said


@pytest.mark.parametrize(
    "home", ["/", "//", "/var", "/usr/", "/var/../var", "/tmp/a:b", "/tmp/a\nb", "/dev/null/x"]
)
def test_a_home_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: str
) -> None:
    """A purge removes `tmp` and `logs` below it, and of / these are somebody else's."""
    monkeypatch.setenv("OSBOX_HOME", home)
    assert execute(["images"]) == 2
    assert "Error: OSBOX_HOME " in capsys.readouterr().err


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--name", "", "down", "--purge"], "--name '': a name has lower-case letters"),
        (["--name", "lab-", "plan"], "--name 'lab-': a name has lower-case letters"),
        (["--engine", "", "plan"], "--engine  is not known"),
        (["up", "--listen", ""], "--listen : "),
        (["plan", "--listen", ""], "--listen : "),
    ],
)
def test_an_empty_variable_is_no_wish(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`osbox --name "$NAME" down --purge` of a variable that is not set would take the unnamed one."""
    assert execute(argv) == 2
    assert told in capsys.readouterr().err


def test_help_is_for_strangers(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(
        word in page
        for word in ("build", "engine", "OSBOX_HOME", "Exit codes", "--verbose", "Images", "demo")
    )


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([]) == 0
    assert "Usage: osbox" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out.startswith("osbox ")


def test_status_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--engine", "private", "engine", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running"] is False
    assert not home.exists()


ENDS = {
    "ours": (
        Error("it broke", evidence="line 1\nline 2", hint="try this"),
        1,
        "Error: it broke\n  │ line 1\n  │ line 2\nNext: try this\n",
    ),
    "the user's": (UserError("a wrong word"), 2, "Error: a wrong word\n"),
    "the disk's": (
        OSError(errno.ENOSPC, "No space left", "/x"),
        1,
        "Error: the disk is full: /x\nNext: free some space; run it again\n",
    ),
    "a disk that nobody names": (
        OSError(errno.ENOSPC, "No space left"),
        1,
        "Error: the disk is full: that of OSBOX_HOME, or where the output goes\n"
        "Next: free some space; run it again\n",
    ),
    "a read-only disk's": (
        OSError(errno.EROFS, "Read-only file system", "/x"),
        1,
        "Error: the file system cannot be written to: /x\n"
        "Next: mount it writable, or set OSBOX_HOME to a directory on another disk\n",
    ),
    "a limit's": (
        OSError(errno.EMFILE, "Too many open files"),
        1,
        "Error: too many files are open\nNext: raise the limit (ulimit -n), then the same command again\n",
    ),
    "interrupted": (KeyboardInterrupt(), 130, "Interrupted; run the same command again to go on\n"),
}


@pytest.mark.parametrize(("error", "code", "said"), ENDS.values(), ids=ENDS.keys())
def test_how_a_command_ends(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> Engine:
        raise error

    monkeypatch.setattr(engine, "start", fail)
    assert execute(["images"]) == code
    assert capsys.readouterr().err.strip() == said.strip()


def osbox(script: str, **variables: str) -> run.Result:
    """The tool as a shell starts it: OSBOX stands for it."""
    words = f"{shlex.quote(sys.executable)} -m osbox.cli"
    return run.run(["sh", "-c", script.replace("OSBOX", words)], env=variables, check=False)


@pytest.mark.parametrize("refused", [error for error in REFUSALS if error not in (errno.EACCES, errno.EPERM)])
def test_what_the_machine_refuses_is_no_defect(
    refused: int, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> Engine:
        raise OSError(refused, "no", "/x")

    monkeypatch.setattr(engine, "start", fail)
    assert execute(["images"]) == 1
    said = capsys.readouterr().err
    assert "defect" not in said
    assert "/x\nNext: " in said
    assert not home.exists()


def test_an_exit_code_needs_nobody_who_reads() -> None:
    """It was 1, of a failure to tell the error."""
    for away in (">/dev/full", ">&-"):
        assert osbox(f"OSBOX bild 2{away}").code == 2


@pytest.mark.parametrize("size", ["0", "³", "-5", "x", "", "10000000"])
def test_a_terminal_of_no_size(size: str) -> None:
    """Nothing was printed, and with a digit of no ASCII there was a trace."""
    for name in ("COLUMNS", "LINES"):
        assert osbox("OSBOX --version", **{name: size}).out.startswith("osbox ")
        assert osbox("OSBOX bild", **{name: size}).err.startswith("Error: No such command 'bild'")


def test_few_open_files_are_no_defect() -> None:
    said = osbox("ulimit -n 6; OSBOX status")
    assert said.code == 1
    assert "oo many" in said.err
    assert "ulimit -n" in said.err


def test_a_defect_is_one_line_and_a_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "start", lambda *_: 1 / 0)
    assert execute(["images"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: osbox has a defect: ZeroDivisionError: division by zero\n")
    assert "Traceback" not in said
    [file] = (home / "logs").glob("defect-*.log")
    assert str(file) in said
    assert "ZeroDivisionError" in file.read_text()


def test_a_listing_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(engine, "start", lambda *_: Engine("host", "26"))
    listed = Listed("os-mysql", "1.0", "sha256:1", 5, 4, "2026-11-23T04:13:00Z", "stack", "", 97, 0)
    monkeypatch.setattr(inventory, "listing", lambda *_: (Listing((listed,), 5, 0), {"sha256:1": []}))
    assert execute(["images", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "images": [
            {
                "name": "os-mysql",
                "version": "1.0",
                "id": "sha256:1",
                "bytes": 5,
                "unique": 4,
                "created": "2026-11-23T04:13:00Z",
                "user": "stack",
                "release": "",
                "debian": 97,
                "python": 0,
                "vulnerabilities": None,
            }
        ],
        "total": 5,
        "rack": 0,
    }


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = run.line([sys.executable, "-m", "osbox.cli", "--help"])
    assert run.run(["sh", "-c", f"{command} | true"]) == run.Result(0, "", "")


@pytest.mark.parametrize("library", ["keystoneauth1", "openstack", "pyroute2", "tomlkit"])
def test_the_command_line_starts_without_what_only_some_commands_need(library: str) -> None:
    """They take a second to import, and an unchanged `make all` shall take three."""
    code = (
        "import sys, osbox.cli; print([name for name in sys.modules if name.partition('.')[0] =="
        f" {library!r}][:3])"
    )
    assert run.run([sys.executable, "-c", code]).out == "[]\n"


@pytest.mark.parametrize("group", ["engine", "node", "net"])
def test_a_group_without_a_command_shows_its_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([group]) == 0
    said = capsys.readouterr()
    assert f"Usage: osbox {group}" in said.out
    assert said.err == ""


def test_colour_only_on_a_terminal() -> None:
    result = run.run([sys.executable, "-m", "osbox.cli", "build", "keyston"], check=False)
    assert "\x1b" not in result.out + result.err


@pytest.mark.parametrize(
    ("options", "jobs"), [(["-j5"], "-j5"), (["-j", "3"], "-j3"), (["-j"], ""), (["-j1"], "-j1"), ([], "")]
)
def test_make_hands_on_the_number_of_jobs(options: list[str], jobs: str) -> None:
    """Through make itself: in a recipe MAKEFLAGS differs from what it is elsewhere."""
    result = run.run(
        [
            "make",
            "--no-print-directory",
            "-C",
            str(PROJECT),
            "all",
            *options,
            "BUILD_VERSION=1.0",
            "OSBOX=echo $$BUILD_VERSION",
            "--assume-old=.venv/installed",
        ]
    )
    assert result.out.split() == ["1.0", "build", *([jobs] if jobs else [])]
    assert result.err == ""


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("keystoneauth1.exceptions", "ConnectTimeout"),
        ("openstack.exceptions", "ConflictException"),  # an OSError, too, by way of requests
        ("openstack.exceptions", "NotFoundException"),
        ("requests", "ConnectionError"),
    ],
)
def test_a_refusal_of_the_cloud_is_no_defect(
    module: str, kind: str, monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = getattr(importlib.import_module(module), kind)  # in here, for they are slow to import

    def refuse(*_: object) -> None:
        raise failure("Request to http://127.0.0.1:6385 timed out")

    monkeypatch.setattr("osbox.cli._call", refuse)
    assert execute(["status"]) == 1
    told = capsys.readouterr().err
    assert "the cloud refused a request or did not answer" in told
    assert "6385 timed out" in told
    assert "defect" not in told
