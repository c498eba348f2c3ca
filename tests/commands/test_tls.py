"""osbox tls: what is printed, what is refused, and how it ends."""

import json
import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from osbox import files
from osbox.cli import execute
from osbox.commands import tls
from osbox.engine import engine
from osbox.site import sources
from osbox.site.site import Paths
from osbox.tls.store import Files
from tests.tls.made import DAY, NOW, Made, key_pem, made, pem, refused

OURS = ("127.0.0.1", "10.29.29.1")


@pytest.fixture(autouse=True)
def anybody(own_user: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """These need no root here."""
    monkeypatch.setattr(engine, "require_root", lambda: None)


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A company's certificate, its key, its authority."""
    root = made("Example root", ca=True)
    return write(tmp_path, made("cloud", root, names=(*OURS, "cloud.example")), root)


def write(place: Path, leaf: Made, root: Made) -> tuple[Path, Path, Path]:
    cert, key, ca = place / "cert.pem", place / "cert.key", place / "root.pem"
    cert.write_bytes(pem(leaf[0]))
    files.write(key, key_pem(leaf[1]), mode=files.PRIVATE)
    ca.write_bytes(pem(root[0]))
    return cert, key, ca


def install(given: tuple[Path, Path, Path], *more: str) -> int:
    return execute(["tls", "install", *map(str, given), *more])


def flat(text: str) -> str:
    return " ".join(text.split())


def test_before_there_is_one(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["tls", "show"]) == 0
    assert "There is no certificate yet; next: osbox tls renew" in capsys.readouterr().out
    assert execute(["tls", "ca"]) == 2
    assert "Next: osbox tls renew" in capsys.readouterr().err
    assert not paths.home.exists()


def test_what_is_shown_of_ours(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["tls", "renew"]) == 0
    told = capsys.readouterr()
    assert "The certificate is made anew: there is none" in told.out
    assert told.err == "", "nobody trusts another one"
    assert execute(["tls", "show"]) == 0
    shown = capsys.readouterr().out
    for part in ("made by osbox", "CN=osbox CA os-in-a-box", "10.29.29.1", "824 days left"):
        assert part in shown
    whole = re.sub(r"\s+", "", shown)  # a narrow terminal folds them
    assert "front/front.pem" in whole
    assert re.search(r"SHA-256(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", whole)


def test_programs_are_told_the_same(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    execute(["tls", "renew"])
    capsys.readouterr()
    assert execute(["tls", "show", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tls"], told["of"], told["problems"]) == (True, "osbox", [])
    assert told["certificate"]["days_left"] == 824
    assert set(told["files"]) == {"authority", "trusted", "front"}
    assert "PRIVATE" not in json.dumps(told)


def test_the_authority_can_be_pasted(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    execute(["tls", "renew"])
    capsys.readouterr()
    assert execute(["tls", "ca"]) == 0
    assert capsys.readouterr().out == Files.of(paths).trusted.read_text()


def test_a_second_renewal_is_of_the_same_authority(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    execute(["tls", "renew"])
    at = Files.of(paths)
    before = at.trusted.read_text(), at.front.read_text()
    capsys.readouterr()
    assert execute(["tls", "renew"]) == 0
    assert "authority" not in capsys.readouterr().err
    assert (at.trusted.read_text() == before[0], at.front.read_text() == before[1]) == (True, False)


def test_what_is_due_is_made_and_nothing_else(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a timer calls it."""
    at = Files.of(paths)

    def ran(days: int = 0) -> tuple[int, str]:
        monkeypatch.setattr(tls, "_now", lambda: NOW + days * DAY)
        code = execute(["tls", "renew", "--due"])
        told = capsys.readouterr()
        return code, flat(told.out + told.err)

    assert "made anew: there is none" in ran()[1]
    first, root = at.front.read_text(), at.trusted.read_text()
    assert ran(790)[1].startswith("Nothing is due: it is good until ")
    assert at.front.read_text() == first
    assert "made anew: it ends at " in ran(800)[1]
    assert (at.front.read_text() == first, at.trusted.read_text() == root) == (False, True)
    code, said = ran(3500)
    assert (code, at.trusted.read_text() == root) == (2, True)
    assert "the authority has to be made anew: it ends at " in said
    assert ran(-3)[0] == 2, "the clock was not set yet"
    at.authority.unlink()
    code, said = ran(1)
    assert (code, at.trusted.read_text() == root) == (2, True)
    assert "the authority has to be made anew: there is none" in said
    (paths.home / "site.toml").write_text("tls = false\n")
    assert ran(1) == (0, "Nothing is due: tls = false in site.toml")


def test_an_installed_one_is_never_due(
    paths: Paths, given: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    install(given)
    capsys.readouterr()
    assert execute(["tls", "renew", "--due"]) == 0
    assert "Nothing is due: it was installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("days", "said"), [(800, "ends soon"), (830, "has expired"), (-2, "is not yet valid")]
)
def test_a_clock_that_jumps(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], days: int, said: str
) -> None:
    execute(["tls", "renew"])
    capsys.readouterr()
    monkeypatch.setattr(tls, "_now", lambda: NOW + days * DAY + timedelta(minutes=1))
    assert execute(["tls", "show"]) == 1
    told = flat(capsys.readouterr().err)
    assert said in told
    assert "osbox tls renew" in told


def test_other_names_are_told(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    execute(["tls", "renew"])
    paths.site_toml.write_text('listen = "192.0.2.7"\n')
    capsys.readouterr()
    assert execute(["tls", "show"]) == 1
    assert "192.0.2.7; osbox tls renew" in flat(capsys.readouterr().err)
    execute(["tls", "renew"])
    assert execute(["tls", "show"]) == 0


@pytest.mark.parametrize("text", [b"", bytes(99), b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_a_damaged_one_is_no_missing_one(
    paths: Paths, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    execute(["tls", "renew"])
    Files.of(paths).front.write_bytes(text)
    capsys.readouterr()
    assert execute(["tls", "show"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "osbox tls renew" in flat(told.err)
    assert execute(["tls", "show", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]
    assert execute(["tls", "renew"]) == 0
    assert execute(["tls", "show"]) == 0


# --- installed
# --------------------------------------------------------------------------------


def test_a_companys_takes_the_place_of_ours(
    paths: Paths, given: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    execute(["tls", "renew"])
    assert install(given) == 0
    assert "The certificate is installed: it is good until" in capsys.readouterr().out
    at = Files.of(paths)
    assert refused(at.front, at.trusted, "cloud.example") == ""
    assert execute(["tls", "show"]) == 0
    shown = capsys.readouterr().out
    assert "CN=cloud, installed" in shown
    assert "by who issued it, not by osbox" in shown
    assert execute(["tls", "renew"]) == 2
    assert "osbox tls renew --own" in flat(capsys.readouterr().err)
    assert execute(["tls", "renew", "--own"]) == 0
    assert "made by osbox" in (execute(["tls", "show"]), capsys.readouterr().out)[1]


def test_its_end_is_told(
    paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made("Example root", ca=True)
    leaf = made("cloud", root, names=OURS, end=NOW + 9 * DAY)
    assert install(write(tmp_path, leaf, root)) == 0
    assert "osbox does not renew it" in capsys.readouterr().err
    assert execute(["tls", "show"]) == 1
    assert "have another one issued, then: osbox tls install" in flat(capsys.readouterr().err)


def test_one_that_is_not_for_our_addresses(
    paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nodes and osbox itself come by addresses: it is refused, and taken by who says so."""
    root = made("Example root", ca=True)
    given = write(tmp_path, made("cloud", root, names=("cloud.example",)), root)
    execute(["tls", "renew"])
    before = Files.of(paths).front.read_bytes()
    capsys.readouterr()
    assert install(given) == 2
    told = flat(capsys.readouterr().err)
    assert "is for other names: it has cloud.example, and not 127.0.0.1, 10.29.29.1" in told
    assert "or --partial" in told
    assert Files.of(paths).front.read_bytes() == before
    assert install(given, "--partial") == 0
    assert "is for other names" in flat(capsys.readouterr().err), "told all the same"


def test_a_key_that_all_can_read_is_told(
    paths: Paths, given: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given[1].chmod(0o644)
    assert install(given) == 0
    assert f"chmod 600 {given[1]}" in flat(capsys.readouterr().err)


def test_without_an_authority_those_of_this_machine_count(
    paths: Paths,
    given: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cert, key, ca = given
    assert execute(["tls", "install", str(cert), str(key)]) == 2
    told = flat(capsys.readouterr().err)
    assert "leads to no authority that is trusted" in told
    assert "Warning" not in told
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    ca.write_bytes(broken + ca.read_bytes())  # of others' certificates one is not as it should be
    monkeypatch.setattr(sources, "ca_bundle", lambda: ca)
    assert execute(["tls", "install", str(cert), str(key)]) == 0
    at = Files.of(paths)
    assert refused(at.front, at.trusted, "127.0.0.1") == ""


@pytest.mark.parametrize("wrong", [0, 1, 2])
@pytest.mark.parametrize("how", ["missing", "a directory", "no PEM"])
def test_a_file_that_cannot_be_used_changes_nothing(
    paths: Paths, given: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str], wrong: int, how: str
) -> None:
    file = given[wrong]
    if how == "no PEM":
        file.write_bytes(b"\x00\xff\n")
    else:
        file.unlink()
    if how == "a directory":
        file.mkdir()
    assert install(given) == 2
    told = capsys.readouterr().err
    assert file.name in told
    assert "Traceback" not in told
    assert not Files.of(paths).front.exists()


def test_who_is_not_root_is_told_so(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("OSBOX_HOME", str(paths.home))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert execute(["tls", "renew"]) == 2
    assert "sudo osbox" in capsys.readouterr().err
