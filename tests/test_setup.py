"""`make setup` in a project of the test's own: its packages get into its .venv, whatever Python and pip are
told of other places."""

import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from osbox import run
from tests.conftest import PROJECT

BACKEND = """
import zipfile
def build_editable(directory, settings=None, metadata=None):
    name = "own-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        for file, text in CONTENT.items():
            wheel.writestr(file, text)
    return name
"""


def content(name: str) -> dict[str, str]:
    return {
        f"{name}.py": "",
        f"{name}-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{name}-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.dist-info/RECORD": "".join(
            f"{file},,\n"
            for file in (f"{name}.py", *(f"{name}-1.dist-info/{one}" for one in ("METADATA", "RECORD")))
        ),
    }


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make setup` makes it, which takes longer than all that is tested with it. It may be moved: by its
    Python alone it is called."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    run.run([sys.executable, "-m", "venv", str(place)])
    return place


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile beside a lock of one package, which a directory has in place of an index."""
    place, index = tmp_path / "project", tmp_path / "index"
    place.mkdir()
    index.mkdir()
    wheel = index / "dep-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, text in content("dep").items():
            file.writestr(name, text)
    shutil.copy(PROJECT / "Makefile", place)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (place / "requirements.lock").write_text(f"dep==1 --hash=sha256:{digest}\n")
    (place / "backend.py").write_text(f"CONTENT = {content('own')!r}\n{BACKEND}")
    (place / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "own"\nversion = "1"\n'
    )
    return place


def there(project: Path, environment: Path) -> None:
    """An environment with no package of the project in it; what is put into it are other files."""
    shutil.copytree(environment, project / ".venv", symlinks=True, copy_function=os.link)


def setup(project: Path, env: Mapping[str, str], conf: str = "") -> None:
    """`make setup` as a person with these settings calls it."""
    settings = project.parent / "pip.conf"
    settings.write_text(f"[global]\nno-index = true\nfind-links = {project.parent / 'index'}\n{conf}")
    own = [name for name in os.environ if name.startswith(("MAKE", "PIP_", "PYTHON", "VIRTUAL_ENV"))]
    words = ["env", *(f"-u{name}" for name in own)]
    words += [f"PIP_CONFIG_FILE={settings}", *(f"{name}={value}" for name, value in env.items())]
    done = run.run([*words, "make", "-C", str(project), f"PYTHON={sys.executable}", "setup"], check=False)
    log = project / ".venv/setup.log"
    assert done.code == 0, done.err + (log.read_text() if log.exists() else "")
    seen = run.run(
        [str(project / ".venv/bin/python"), "-c", "import dep, own; print(dep.__file__, own.__file__)"]
    )
    assert all(file.startswith(f"{project}/.venv/lib") for file in seen.out.split()), seen.out


ELSEWHERE = "/nonexistent/elsewhere"


ENVIRONMENT = {
    **dict.fromkeys(("PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_DRY_RUN", "PIP_REQUIRE_HASHES"), "1"),
    **dict.fromkeys(("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON"), ELSEWHERE),
    **dict.fromkeys(("PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV"), ELSEWHERE),
}


@pytest.mark.timeout(120)  # on a busy machine
@pytest.mark.parametrize(
    ("env", "conf"),
    [
        ({"PIP_USER": "1"}, ""),
        (ENVIRONMENT, ""),
        ({}, f"user = true\nprefix = {ELSEWHERE}\nroot = {ELSEWHERE}\nrequire-virtualenv = true\n"),
        ({}, f"target = {ELSEWHERE}\n[install]\nuser = true\ndry-run = true\nrequire-hashes = true\n"),
    ],
    ids=["PIP_USER", "all in the environment", "pip.conf", "pip.conf, install"],
)
def test_it_gets_into_its_own_environment(
    project: Path, tmp_path: Path, env: dict[str, str], conf: str, request: pytest.FixtureRequest
) -> None:
    if env is not ENVIRONMENT:  # with all that is set, it also makes one
        there(project, request.getfixturevalue("environment"))
    other = tmp_path / "other"
    for name, text in content("dep").items():  # which would pass for installed
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(text)
    setup(project, {**env, "PYTHONPATH": str(other)}, conf)


def test_settings_of_a_person_reach_no_recipe(project: Path) -> None:
    """Without bytecode, each start of osbox compiles what it loads, and pytest prepares all tests anew."""
    (project / "show.mk").write_text("include Makefile\nshow:\n\t@env\n")
    said = run.run(
        ["make", "-C", str(project), "-f", "show.mk", "show"],
        env={**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": ELSEWHERE},
    )
    names = {line.partition("=")[0] for line in said.out.splitlines()}
    assert not names & {*ENVIRONMENT, "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"} - {
        "PIP_DRY_RUN",
        "PIP_REQUIRE_HASHES",  # which only pip's own line sets otherwise
    }


@pytest.mark.timeout(120)
def test_what_changed_in_the_lock_takes_the_place_of_what_was_there(project: Path, environment: Path) -> None:
    there(project, environment)
    setup(project, {})
    lock, wheel = project / "requirements.lock", project.parent / "index/dep-2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, text in content("dep").items():
            file.writestr(name.replace("dep-1", "dep-2"), text.replace("Version: 1\n", "Version: 2\n", 1))
    lock.write_text(f"dep==2 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    setup(project, {})
    found = sorted(path.name for path in (project / ".venv/lib").glob("python*/site-packages/dep-*"))
    assert found == ["dep-2.dist-info"]
