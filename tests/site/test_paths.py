"""The state directory: everything in it is declared in one place, with its lifetime; secrets are for root."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from osbox.site.site import STATE, Lifetime, Paths, StateFile, declared
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
