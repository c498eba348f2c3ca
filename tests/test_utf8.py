"""Text is UTF-8 whatever the locale: what people write, and what a process of ours reads and writes."""

import ast
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from osbox import document, run, utf8
from osbox.errors import UserError
from osbox.site import sitefile, sources
from osbox.site.load import load_site
from tests.conftest import tracked

TEXT = "name = 'größe'\nlast = 1\n"
FOREIGN = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
"""The locale of a machine that knows no other, without what Python would do about it."""


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode("utf-8-sig"),
    ],
    ids=["as it is", "with a mark", "from Windows", "from an old Mac, with a mark"],
)
def test_a_mark_and_carriage_returns_are_no_part_of_it(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    assert utf8.read(tmp_path / "x") == TEXT


@pytest.mark.parametrize(
    ("data", "evidence", "coding"),
    [
        (b"a: 1\nb: gr\xf6\xdfe\n", "x:2: the byte 0xf6", "ISO-8859-1"),
        ("a: 1\n".encode("utf-16"), "x:1: the file begins as UTF-16 does", "UTF-16"),
        (b"a: 1\r\nb: 2\r\n\xff", "x:3: the byte 0xff", "ISO-8859-1"),
    ],
)
def test_what_is_not_utf8_is_one_error_with_its_line(
    data: bytes, evidence: str, coding: str, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UserError, match="x is not UTF-8") as refused:
        utf8.read(tmp_path / "x")
    assert refused.value.evidence == evidence
    assert f"-f {coding} " in refused.value.hint


def test_a_pipe_that_somebody_writes_into_is_read() -> None:
    """`osbox node enroll <(sops -d nodes.yaml)`: passwords are nowhere on the disk."""
    readable, writable = os.pipe()
    os.write(writable, b"nodes: []\n")
    os.close(writable)
    try:
        assert utf8.read(Path(f"/dev/fd/{readable}")) == "nodes: []\n"
    finally:
        os.close(readable)


@pytest.mark.parametrize(
    "kind", ["a pipe", "a directory", "a socket", "a block device", "a character device"]
)
def test_what_is_no_file_is_refused_at_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe without a writer was waited for, and /dev/zero filled the memory."""
    place = tmp_path / "site.toml"
    match kind:
        case "a pipe":
            os.mkfifo(place)
        case "a directory":
            place.mkdir()
        case "a socket":
            monkeypatch.chdir(tmp_path)  # its path must be short
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(place.name)
        case "a block device":  # only root may make one
            real = Path.stat
            mode = SimpleNamespace(st_mode=stat.S_IFBLK | 0o600, st_size=0)
            monkeypatch.setattr(Path, "stat", lambda path, **_: mode if path == place else real(path))
        case _:
            place.symlink_to("/dev/zero")
    readers: list[Callable[[Path], object]] = [utf8.read, document.read, lambda path: load_site(path.parent)]
    for read in readers:
        with pytest.raises(UserError, match=f"site.toml: it is {kind}, and no file") as refused:
            read(place)
        assert refused.value.code == 2


def test_a_home_of_nobody_is_a_persons_mistake() -> None:
    assert utf8.at_home(Path("~/x")) == Path.home() / "x"
    assert utf8.at_home(Path("x")) == Path("x")
    with pytest.raises(UserError, match="no home of ~nobodyknown"):
        utf8.at_home(Path("~nobodyknown/x"))
    assert sources.pip_settings({"PIP_CONFIG_FILE": "~nobodyknown/pip.conf", "PIP_TIMEOUT": "7"})


def test_site_toml_may_have_a_mark_and_carriage_returns(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_bytes("\ufeff# größer\r\nworkers = 2\r\n".encode())
    assert load_site(tmp_path).workers == 2
    sitefile.put(tmp_path, {("options", "nova", "DEFAULT", "debug"): True})
    assert file.read_bytes().startswith("# größer\r\nworkers = 2\r\n".encode())
    file.write_bytes("# größer\nworkers = 2\n".encode("iso-8859-1"))
    with pytest.raises(UserError, match=r"site\.toml is not UTF-8"):
        load_site(tmp_path)


def test_a_comment_of_another_encoding_in_pip_conf_is_nobodys_error(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_bytes("[global]\n# für alle\nproxy = http://proxy.example:3128\n".encode("iso-8859-1"))
    assert sources.pip_settings({"PIP_CONFIG_FILE": str(file)})["proxy"] == "http://proxy.example:3128"


STARTED = (
    "import sys, pathlib; from osbox import utf8; utf8.start();"
    r"print(sys.argv[1][-5:], pathlib.Path(sys.argv[1]).write_text('\xfc'), sys.flags.utf8_mode)"
)


def test_a_process_in_another_locale_begins_anew_once(tmp_path: Path) -> None:
    said = run.run([sys.executable, "-c", STARTED, str(tmp_path / "größe")], env=FOREIGN)
    assert said.out == "größe 1 1\n"
    assert (tmp_path / "größe").read_bytes() == "ü".encode()


def test_osbox_reads_and_says_it_in_any_locale(home: Path) -> None:
    home.mkdir()
    (home / "site.toml").write_bytes('"größe" = 1\n'.encode())
    done = run.run([sys.executable, "-m", "osbox.cli", "rack", "list"], env=FOREIGN, check=False)
    assert (done.code, "größe: there is no such key" in done.err) == (2, True), done.err


# --- what does not run as `osbox`, nor by make, names the encoding

OPENS = {"open", "fdopen", "TemporaryFile", "NamedTemporaryFile"}
ELSEWHERE = tracked(
    "images/*.py", "images/**/*.py", "bench/*.py", "hatch_build.py", "src/osbox/images/inside/*.py"
) + tracked("src/osbox/run.py")


def unnamed(tree: ast.Module) -> Iterator[str]:
    """Calls that read or write text in the locale's encoding."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not any(word.arg == "encoding" for word in node.keywords):
            owner, _, name = ast.unparse(node.func).rpartition(".")
            text = any(word.arg in ("text", "universal_newlines") for word in node.keywords)
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            binary = any(isinstance(word, str) and len(word) <= 3 and "b" in word for word in words)
            opens = name in OPENS and not binary and owner not in ("os", "tarfile", "libvirt")
            if name in ("read_text", "write_text") or text or (opens and "opener" not in owner):
                yield f"line {node.lineno}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_encoding_is_named(path: Path) -> None:
    assert list(unnamed(ast.parse(path.read_bytes()))) == []


def test_the_check_sees_them() -> None:
    text = (
        "p.read_text()\np.write_text(x)\nopen(p)\np.open('w')\nsubprocess.run(x, text=True)\n"
        "open(p, 'rb')\np.read_text(encoding='utf-8')\nos.open(p, 0)\nsubprocess.run(x)\np.read_bytes()\n"
    )
    assert [line[:7] for line in unnamed(ast.parse(text))] == [f"line {number}:" for number in range(1, 6)]


def test_every_image_stands_on_a_base_with_a_locale_of_utf8() -> None:
    """Where the services' own programs, and libraries in them, read and write text."""
    for path in tracked("images/*/Dockerfile"):
        text = path.read_text(encoding="utf-8")
        grounds = {line.split()[1] for line in text.splitlines() if line.startswith("FROM ")}
        assert "${DEBIAN}" not in grounds or "\nENV LANG=C.UTF-8\n" in text, path


def test_the_environment_of_python_programs_that_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is in UTF-8 mode, or in such a locale, stays as it is."""
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("began anew"))
    monkeypatch.setattr("locale.getencoding", lambda: "UTF-8")
    utf8.start()
