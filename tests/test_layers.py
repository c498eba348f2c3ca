"""Who may import whom, what is pure, where processes are started, and how large a thing may be."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import PROJECT, tracked

SOURCE = PROJECT / "src" / "osbox"
DESIGN = PROJECT / "docs" / "design.md"


def cells(text: str) -> list[list[list[str]]]:
    """The table under "Layers": of each row, the names in its cells."""
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    rows = next(part for part in section if part.startswith("Layers\n")).splitlines()
    return [
        [re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:-1]]
        for line in rows
        if re.match(r"\| \d+ \|", line)
    ]


TABLE = cells(DESIGN.read_text())
RANK = {name: rank for rank, (_, rooms, _, _) in enumerate(TABLE) for name in rooms}
VERBS = {name for _, _, verbs, _ in TABLE for name in verbs}
PACKAGES = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
# What computes on values. pathlib is there to name files: TOUCHES has what would open them.
COMPUTES = {
    "base64",
    "collections",
    "collections.abc",
    "configparser",
    "contextlib",
    "csv",
    "dataclasses",
    "datetime",
    "difflib",
    "email.message",
    "email.parser",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",
    "hmac",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "pathlib",
    "re",
    "shlex",
    "string",
    "struct",
    "textwrap",
    "tomllib",
    "typing",
    "urllib.parse",
    "uuid",
    "pydantic",
    "debian.deb822",
    "packaging.utils",  # these two read versions and dpkg's paragraphs out of text
    "cryptography",
    "cryptography.exceptions",
    "cryptography.hazmat.primitives",
    "cryptography.hazmat.primitives.asymmetric.types",
    "cryptography.x509.oid",
    "cryptography.x509.verification",
}
TOUCHES = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "exists",
    "is_file",
    "is_dir",
    "is_symlink",
    "iterdir",
    "glob",
    "rglob",
    "stat",
    "resolve",
    "readlink",
    "mkdir",
    "unlink",
    "touch",
    "rename",
    "expanduser",
    "cwd",
    "now",
    "today",
    "uuid1",
    "uuid4",
}
STARTS_PROCESSES = {
    "run.py",
    "images/inside/programs.py",
}  # the latter runs inside the image that is tested, where there is no run.py
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
# Code that runs inside containers is measured like ours.
PYTHON = [
    *MODULES,
    *(path for path in tracked("images/*.py", "images/**/*.py", "bench/*.py") if path.name != "__init__.py"),
]
FUNCTION_LINES, MODULE_LINES = 50, 400
# One entry after the other, and found by its name.
TABLES = {"src/osbox/metal/causes.py"}


def name(path: Path) -> str:
    """osbox.network.plan; osbox.doctor for doctor/__init__.py."""
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name(path): path for path in MODULES}


def room(module: str) -> str:
    """The name in the table: a package's, or that of a module that stands loose."""
    return module.split(".")[1]


@dataclass(frozen=True)
class Facts:
    """What is asked of a module in several tests: to parse it takes longer than all that they do."""

    imports: tuple[str, ...]
    named: tuple[str, ...]
    """By its imports: modules, and what is taken out of them."""
    called: frozenset[str]
    attributes: frozenset[str]
    functions: tuple[tuple[str, int], ...]


@cache
def facts(path: Path) -> Facts:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    return Facts(
        tuple(imports(nodes)),
        tuple(named(nodes)),
        frozenset(
            call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls
        ),
        frozenset(
            f"{node.value.id}.{node.attr}"
            for node in nodes
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        ),
        tuple(functions(nodes)),
    )


def imports(nodes: list[ast.AST]) -> Iterator[str]:
    """Every module that a module imports, in functions too.

    That it loads the packages which that one is in is left out: but for doctor's, they have no more than
    words in them.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in NAMES or node.module == "osbox" else str(node.module)


def named(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names))


def own_imports(path: Path) -> set[str]:
    return {module for module in facts(path).imports if module.startswith("osbox.")}


def is_pure(path: Path) -> bool:
    """By the words that it begins with: known before any test, so without parsing all of them."""
    words = re.match(r'"""(.*?)"""', path.read_text(), re.DOTALL)
    return bool(words and re.search(r"\bPure\.(\s|$)", words[1]))


def functions(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.body[0].lineno + 1


def test_the_table_names_what_there_is() -> None:
    assert sorted(name for _, rooms, _, _ in TABLE for name in rooms) == sorted(
        {room(module) for module in NAMES}
    )
    assert {f"osbox.{name}" for name in VERBS} <= NAMES.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_come_from_lower_rows(path: Path) -> None:
    own = room(name(path))
    wrong = [
        one
        for one in own_imports(path)
        if RANK.get(room(one), 99) >= RANK[own] and not (room(one) == own and own in PACKAGES)
    ]
    assert not wrong, f"{name(path)} imports {wrong}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter({module: own_imports(path) for module, path in NAMES.items()}).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


PURE = {module: path for module, path in NAMES.items() if is_pure(path)}


@pytest.mark.parametrize("path", PURE.values(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_pure_modules_compute_on_values(path: Path) -> None:
    wrong = set(facts(path).imports) - {"osbox.errors", *COMPUTES, *PURE}
    assert not wrong, f"{name(path)} imports {wrong}"
    called = facts(path).called
    assert not called & TOUCHES, f"{name(path)} calls {called & TOUCHES}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_verbs_are_called_by_commands_only(path: Path) -> None:
    called = {one.removeprefix("osbox.") for one in own_imports(path)} & VERBS
    assert not called or room(name(path)) == "commands", f"{name(path)} imports {called}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_processes_are_started_by_run_only(path: Path) -> None:
    names = {part for name in facts(path).named for part in (name, name.rpartition(".")[2])}
    assert str(path.relative_to(SOURCE)) in STARTS_PROCESSES or "subprocess" not in names
    assert not {"os.system", "os.popen", "os.fork", "os.posix_spawn"} & facts(path).attributes


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nothing_is_too_large(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MODULE_LINES or str(path.relative_to(PROJECT)) in TABLES, f"{lines} lines"
    assert [(name, length) for name, length in facts(path).functions if length > FUNCTION_LINES] == []


def test_the_check_sees_imports(tmp_path: Path) -> None:
    module = tmp_path / "x.py"
    module.write_text(
        "def f():\n    from osbox import cli, nothing\n    import osbox.run\nimport urllib.parse\nfrom"
        " pathlib import Path\nfrom osbox.site import site\nfrom osbox.site.site import Site\nfrom"
        " osbox.images.inside import SCRIPTS\n"
    )
    assert sorted(facts(module).imports) == [
        "osbox.cli",
        "osbox.images.inside",
        "osbox.nothing",
        "osbox.run",
        "osbox.site.site",
        "osbox.site.site",
        "pathlib",
        "urllib.parse",
    ]


def test_the_check_reads_the_table() -> None:
    text = (
        "## Other\n| 0 | `a` | | |\n## Layers\n| Row | Rooms | Verbs | What |\n|---|---|---|---|\n| 0 | `b`,"
        " `c` | | d |\n| 1 | `e` | `e.f` | |\n"
    )
    assert cells(text) == [[[], ["b", "c"], [], []], [[], ["e"], ["e.f"], []]]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_private_of_a_library_is_used(path: Path) -> None:
    """It goes or moves with any new version, and then no command starts."""
    found = facts(path).named
    assert [one for one in found if "._" in one and not one.startswith(("osbox.", "__future__."))] == []
