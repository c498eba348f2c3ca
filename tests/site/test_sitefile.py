"""site.toml changed in place: what people wrote stays, what is set is read back, and nothing is ever
half-written."""

import errno
import tomllib
from pathlib import Path
from typing import Any

import pytest

from osbox import run
from osbox.cli import execute
from osbox.errors import UserError
from osbox.site import sitefile
from osbox.site.load import load_site

WHERE = ("options", "nova", "DEFAULT", "debug")
WRITTEN = """\
# Our cloud.
name = "box-2"   # the second
veth = ["ext2",
        "ext3"]

[options.keystone.token]
expiration = 300  # seconds; see ticket 7
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def options(home: Path) -> dict[str, Any]:
    return load_site(home).options


def test_the_first_option_makes_the_file(home: Path) -> None:
    assert sitefile.put(home, {WHERE: True}) == [WHERE]
    assert (home / "site.toml").read_text() == "[options.nova.DEFAULT]\ndebug = true\n"
    assert options(home) == {"nova": {"DEFAULT": {"debug": True}}}


def test_all_else_stays_as_it_was_written(home: Path) -> None:
    (home / "site.toml").write_text(WRITTEN)
    sitefile.put(home, {WHERE: True, ("workers",): 2, ("options", "keystone", "token", "expiration"): 600})
    text = (home / "site.toml").read_text()
    for line in WRITTEN.replace("300", "600").splitlines():
        assert line in text.splitlines()
    site = load_site(home)
    assert (site.workers, site.options) == (
        2,
        {"keystone": {"token": {"expiration": 600}}, "nova": {"DEFAULT": {"debug": True}}},
    )
    assert set(sitefile.remove(home, [WHERE, ("workers",)])) == {WHERE, ("workers",)}
    sitefile.put(home, {("options", "keystone", "token", "expiration"): 300})
    assert (home / "site.toml").read_text().split() == WRITTEN.split()


STYLES = {
    "dotted keys": '[options]\nnova.DEFAULT.debug = false # why\nnova.DEFAULT.x = 1\nnova-api.wsgi.y = "z"\n',
    "dotted from the top": "options.nova.DEFAULT.debug = false\nname = 'a'\n",
    "inline": "options = { nova = { DEFAULT = { debug = false } } }\n",
    "inline below": "[options]\nnova = { DEFAULT = { debug = false, x = 1 } }\n",
    "tables": "[options.nova.DEFAULT]\ndebug = false\n[options.nova.api]\nx = 1\n",
    "tables apart": (
        "[options.nova.DEFAULT]\nx = 1\n[options.keystone.token]\ny = 2\n[options.nova.api]\nz = 3\n"
    ),
    "no end of line": 'name = "a"',
    "carriage returns": 'name = "a"\r\n[options.nova.DEFAULT]\r\ndebug = false\r\n',
}


@pytest.mark.parametrize("text", STYLES.values(), ids=STYLES.keys())
def test_however_people_write_it(home: Path, text: str) -> None:
    (home / "site.toml").write_bytes(text.encode())
    before = tomllib.loads(text)
    others = [("options", "nova", "conductor", "workers"), ("options", "glance", "DEFAULT", "debug")]
    sitefile.put(home, {WHERE: True})
    sitefile.put(home, {others[0]: 3, others[1]: True})
    found = options(home)
    assert (
        found["nova"]["DEFAULT"]["debug"],
        found["nova"]["conductor"]["workers"],
        found["glance"]["DEFAULT"]["debug"],
    ) == (True, 3, True)
    sitefile.remove(home, [WHERE, *others])
    (before.get("options", {}).get("nova", {}).get("DEFAULT", {})).pop("debug", None)
    assert _pruned(tomllib.loads((home / "site.toml").read_text())) == _pruned(before)


def _pruned(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    return {key: value for key, item in data.items() if (value := _pruned(item)) not in ({}, None)}


def test_setting_what_is_set_changes_nothing(home: Path) -> None:
    sitefile.put(home, {WHERE: True})
    before = (home / "site.toml").stat().st_ino
    assert sitefile.put(home, {WHERE: True}) == []
    assert sitefile.remove(home, [("options", "nova", "DEFAULT", "other"), ("options", "x", "y", "z")]) == []
    assert (home / "site.toml").stat().st_ino == before
    assert sitefile.put(home, {WHERE: 1}) == [WHERE], "1 is not true"


def test_a_link_into_a_repository_stays_one(home: Path) -> None:
    (home / "repository").mkdir()
    (home / "repository" / "site.toml").write_text(WRITTEN)
    (home / "repository" / "site.toml").chmod(0o640)
    (home / "site.toml").symlink_to("repository/site.toml")
    sitefile.put(home, {WHERE: True})
    assert (home / "site.toml").is_symlink()
    assert "debug = true" in (home / "repository" / "site.toml").read_text()
    assert (home / "repository" / "site.toml").stat().st_mode & 0o777 == 0o640


WRONG = {
    "no TOML": ("name = \n", "(at line 1, column 8)"),
    "a table that is a word": ("[options]\nnova = 1\n", "options.nova: "),
    "no group": ("[options.nova]\ndebug = true\n", "options.nova.debug: "),
    "a date": ("[options.nova.DEFAULT]\ndebug = 2026-01-01\n", "options.nova.DEFAULT.debug: "),
    "no workers": ("workers = 0\n", "workers: "),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_told_with_its_place_and_left_alone(home: Path, text: str, said: str) -> None:
    (home / "site.toml").write_text(text)
    with pytest.raises(UserError) as error:
        sitefile.put(home, {WHERE: True})
    assert str(home / "site.toml") in error.value.message
    assert said in error.value.message + error.value.evidence
    assert (home / "site.toml").read_text() == text


def test_every_command_tells_the_line_of_a_syntax_error(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSBOX_HOME", str(home))
    (home / "site.toml").write_text('name = "a"\n[options.nova.DEFAULT\ndebug = true\n')
    for words in (["plan"], ["up"], ["set", "nova.DEFAULT.debug=true"], ["get"]):
        assert execute(words) == 2
        said = capsys.readouterr().err
        assert "is not valid TOML" in said
        assert "line 2" in said


@pytest.mark.root
def test_a_full_disk_leaves_the_old_file(home: Path) -> None:
    small = home / "small"
    small.mkdir()
    run.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)])
    try:
        (small / "site.toml").write_text(WRITTEN)
        (small / "filler").write_bytes(b"x" * (56 << 10))
        with pytest.raises(OSError) as error:  # noqa: PT011 - the number says which
            sitefile.put(small, {("options", "nova", "DEFAULT", "x"): "y" * 20_000})
        assert error.value.errno == errno.ENOSPC
        assert (small / "site.toml").read_text() == WRITTEN
        assert sorted(path.name for path in small.iterdir()) == ["filler", "site.toml"]
    finally:
        run.run(["umount", str(small)])
