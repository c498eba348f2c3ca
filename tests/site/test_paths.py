"""The state directory: everything in it is declared in one place, with its lifetime; secrets are for root."""

import ast
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osbox import files as osbox_files
from osbox.cloud import applied, compose, credentials
from osbox.cloud.applied import Applied
from osbox.contents import setup
from osbox.engine.engine import Engine
from osbox.generations import record
from osbox.judges import swift
from osbox.judges.run import Judge
from osbox.site import secrets, sources
from osbox.site.site import STATE, Lifetime, Paths, Site, StateFile, declared
from osbox.tls import store
from tests.conftest import PROJECT

HOME_OF = PROJECT / "src" / "osbox" / "site" / "site.py"
CODE = sorted(path for path in (PROJECT / "src" / "osbox").rglob("*.py") if path != HOME_OF)


def named_below_home(text: str) -> Iterator[str]:
    """The expressions that name what is below a state directory: home / "x", paths.home / x, f"{home}/x"."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.BinOp(left=left, op=ast.Div()) if is_home(left):
                yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(value=value, attr="joinpath")) if is_home(value):
                yield ast.unparse(node)
            case ast.JoinedStr(values=values):
                yield from (ast.unparse(node) for pair in pairwise(values) if is_below(*pair))


def is_below(part: ast.expr, after: ast.expr) -> bool:
    match part, after:
        case ast.FormattedValue(value=value), ast.Constant(value=str(text)):
            return is_home(value) and text.startswith("/")
    return False


def is_home(node: ast.expr) -> bool:
    return getattr(node, "attr", getattr(node, "id", "")) == "home"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(HOME_OF.parents[1])))
def test_what_is_in_the_state_directory_is_declared_in_one_place(path: Path) -> None:
    assert list(named_below_home(path.read_text())) == [], "declare it in osbox.site.site.Paths"


def test_the_check_sees_them() -> None:
    text = (
        'paths.home / "a"\nhome / NAME / "b"\nf"{here.paths.home}/c"\nhome.joinpath("d")\nhome.parent / "e"\n'
    )
    assert len(list(named_below_home(text))) == 4


def test_each_is_declared_once() -> None:
    names = [item.name for item in vars(Paths).values() if isinstance(item, StateFile)]
    assert len(set(names)) == len(names)
    assert Paths.ledger.at(Path("/x")) == Paths(Path("/p"), Path("/x")).ledger == Path("/x/ledger.json")


def test_what_a_killed_run_left_is_as_what_it_wrote() -> None:
    assert declared("ledger.json.new") == declared("ledger.json") == Paths.ledger
    assert declared("machine.lock")
    assert declared("thesis") is None
    # Advisories are the operator's own files: read, never made, and so never removed.
    assert [name for name, item in STATE.items() if item.lifetime == Lifetime.THEIRS] == ["vulnerabilities"]


def test_the_page_has_them_all() -> None:
    table = (PROJECT / "docs" / "commands.md").read_text().partition("## What is in $OSBOX_HOME")[2]
    absent = [
        item.name for item in vars(Paths).values() if isinstance(item, StateFile) if item.name not in table
    ]
    assert absent == []
    assert "`*.lock`" in table


# --- secrets
# --------------------------------------------------------------------------------


def made_a_key(paths: Paths) -> None:
    compute = SimpleNamespace(find_keypair=lambda _: None, create_keypair=lambda **_: None)
    cloud: Any = SimpleNamespace(compute=compute)
    setup.key_pair(cloud, paths)


def wrote_options(paths: Paths) -> None:
    compose.write(paths, compose.files(paths, {}, {"nova-api": {"OS_VNC__PASSWORD": "x"}}))


def wrote_credentials(paths: Paths) -> None:
    secrets.ensure(paths)
    credentials.write_credentials(paths, Site())


def told_a_suite(paths: Paths) -> None:
    """Where the suites keep what they are told; what is in it has been there before."""
    judge = Judge(paths, Site(), Engine("host", "28"), "swift", "2026.1")
    judge.begin()
    assert mode(judge.place) == 0o700
    osbox_files.write(judge.place / swift.FILE, "password = x", mode=osbox_files.PRIVATE)


def set_out(paths: Paths) -> None:
    record.begin(paths, 1)
    record.set_out(paths, record.GoingBack(1, 2))


WRITERS: Mapping[str, Callable[[Paths], object]] = {
    "applied.json": lambda paths: applied.write(paths, Applied({"nova": {"image": "x"}})),
    "build-secrets": sources.build_secrets,
    "clouds.yaml": wrote_credentials,
    "generations": set_out,
    "id_ed25519": made_a_key,
    "judges": told_a_suite,
    "openrc": wrote_credentials,
    "options": wrote_options,
    "secrets": secrets.ensure,
    "tls": lambda paths: store.ensure(paths, Site(), ("localhost",), datetime.now(UTC)),
}


@pytest.mark.parametrize("name", sorted(name for name, item in STATE.items() if item.secret))
@pytest.mark.parametrize("before", ["nothing", "readable by all"])
def test_what_is_secret_is_for_root_alone(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, name: str, before: str
) -> None:
    """Whatever the umask is, and also where an older osbox left it to be read by all."""
    monkeypatch.setattr(os, "chown", lambda *_: None)  # secrets are given to the containers' user
    old = os.umask(0)
    try:
        WRITERS[name](paths)
        if before == "readable by all":
            for place in (paths.home / name, *(paths.home / name).rglob("*")):
                place.chmod(0o755 if place.is_dir() else 0o644)
            for lost in list(paths.secrets.glob("*"))[:1] if name == "secrets" else []:
                lost.unlink()
            WRITERS[name](paths)
    finally:
        os.umask(old)
    top = paths.home / name
    files = [path for path in top.rglob("*") if path.is_file()] if top.is_dir() else [top]
    if top.is_dir():
        assert mode(top) == 0o700
    assert files
    if (name, before) != ("secrets", "readable by all"):  # one that is there is never written again
        assert {mode(file) for file in files} == {0o600}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
