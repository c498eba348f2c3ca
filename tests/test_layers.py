"""Who may import whom, where processes are started, and how large a thing may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT, tracked

SOURCE = PROJECT / "src" / "osbox"
# A module imports from rows above its own only; those of one package (model, commands) may import each other.
ROWS = [
    {"errors", "fault", "files"},
    {"document", "log", "waiting"},
    {"board", "run"},
    {"site"},
    {"contents", "engine"},
    {"images", "metal", "network"},
    {"bootpath", "releases"},
    {"build", "cloud", "imagetests"},
    {"doctor", "supply"},
    {"commands"},
    {"cli"},
]
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}
PACKAGES = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
STARTS_PROCESSES = {"run.py", "images/inside/programs.py"}  # the latter runs inside the image that is tested, where there is no run.py
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
# Code that runs inside containers is measured like ours.
PYTHON = [*MODULES, *(path for path in tracked("images/*.py", "images/**/*.py", "bench/*.py") if path.name != "__init__.py")]
FUNCTION_LINES, MODULE_LINES = 40, 300


def unit(path: Path) -> str:
    """The name in the table: a module's, or its package's."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """The units of osbox that a module imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "osbox":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("osbox."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("osbox."))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_come_from_lower_rows(path: Path) -> None:
    own = unit(path)
    assert own in RANK, f"{own} has no row yet: put it into ROWS"
    wrong = [name for name in imports(path) if RANK.get(name, 99) >= RANK[own] and not (name == own and own in PACKAGES)]
    assert not wrong, f"{own} imports {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_processes_are_started_by_run_only(path: Path) -> None:
    tree = list(ast.walk(ast.parse(path.read_text())))
    names = {
        name
        for node in tree if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }  # fmt: skip
    assert str(path.relative_to(SOURCE)) in STARTS_PROCESSES or "subprocess" not in names
    calls = {f"{ast.unparse(node.value)}.{node.attr}" for node in tree if isinstance(node, ast.Attribute)}
    assert not {"os.system", "os.popen", "os.fork", "os.posix_spawn"} & calls


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nothing_is_too_large(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MODULE_LINES, f"{lines} lines"
    assert [(name, length) for name, length in functions(path) if length > FUNCTION_LINES] == []


def test_the_check_sees_a_wrong_import(tmp_path: Path) -> None:
    module = tmp_path / "x.py"
    module.write_text("def f():\n    from osbox import cli\n    import osbox.docker\n    from osbox.model import site\n")
    assert list(imports(module)) == ["cli", "docker", "model"]
