"""Linters and types are tests; so is that the tree names no package registry and no path of one machine."""

import re
import sys
from pathlib import Path

import pytest

from osbox import run
from osbox.imagetests.recipe import SHELLS, tool
from osbox.site import sources as host
from tests.conftest import PROJECT, tracked


def clean(result: run.Result) -> None:
    assert result.code == 0, f"\n{result.out}{result.err}"


def shell_scripts() -> list[str]:
    return [str(path) for path in tracked() if _first_line(path).startswith(SHELLS)]


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(80).decode(errors="replace")


def test_ruff() -> None:
    clean(run.run([tool("ruff"), "check", "--quiet", "."], cwd=PROJECT, check=False))


def test_format() -> None:
    clean(run.run([tool("ruff"), "format", "--check", "--quiet", "--diff", "."], cwd=PROJECT, check=False))


@pytest.mark.timeout(180)  # without a cache of mypy's, on a busy machine
def test_types() -> None:
    clean(run.run([sys.executable, "-m", "mypy"], cwd=PROJECT, check=False))
    for path in tracked("images/**/gunicorn.conf.py"):  # left out above, being several of one name
        clean(run.run([sys.executable, "-m", "mypy", str(path)], cwd=PROJECT, check=False))


def test_shellcheck() -> None:
    scripts = shell_scripts()
    assert scripts
    clean(run.run([tool("shellcheck"), *scripts], check=False))


@pytest.mark.parametrize("path", tracked("images/*/Dockerfile"), ids=lambda path: path.parent.name)
def test_hadolint(path: Path) -> None:
    config = str(PROJECT / ".hadolint.yaml")
    clean(run.run([tool("hadolint"), "--no-color", "--config", config, str(path)], check=False))


def test_no_package_registry_is_named() -> None:
    """The user's machine decides where packages come from."""
    debian = [f"{name}.deb" + "ian.org" for name in ("deb", "security", "ftp")]
    known = ["py" + "pi.org", "python" + "hosted", "npm" + "js", *debian]
    urls = [*host.apt_mirrors(), *host.pip_config().values()]
    own = [match[1] for url in urls for match in re.finditer(r"://(?:[^/@\s]*@)?([^/:\s]+)", url)]
    names = re.compile("|".join(map(re.escape, [*known, *own])))
    assert [path.name for path in tracked() if names.search(path.read_text(errors="replace"))] == []
