"""The suites' own environment: locked packages, apart from ours, and the source of Swift, which alone has its
tests."""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from osbox import environment, log, run
from osbox.errors import Error, UserError
from osbox.releases import lock
from osbox.site.site import Paths, Site

LOCK = Path(__file__).with_name("requirements.lock")
NAME, READY = "suites-", ".ready"
AGAIN = "see that pip reaches its index (pip config list), then the same command again"
# What a person has set for pip would lead it out of the environment; index, proxy and certificates stay.
ELSEWHERE = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_NO_DEPS",
    "PIP_CONSTRAINT",
    "PIP_PYTHON",
)
TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
"""Where Python's ssl, requests and botocore look for authorities."""
PYTHON = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")


def ready(paths: Paths) -> Path:
    """The environment of the lock and of this Python, made when it is not there; others are removed."""
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = paths.tools / f"{NAME}{digest}"
    if (place / READY).exists():
        return place
    paths.tools.mkdir(parents=True, exist_ok=True)
    for old in paths.tools.glob(f"{NAME}*"):
        shutil.rmtree(old)
    with log.step("Install upstream's test suites"):
        run.run(_clean(sys.executable, "-m", "venv", str(place)), hint="apt-get install python3-venv")
        words = ("install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps")
        _pip(place, *words, "--no-user", "--requirement", str(LOCK))
    (place / READY).touch()
    return place


def swift(paths: Paths, python: Path, release: str) -> Path:
    """The source of Swift as the release has it locked, by its hash."""
    text = (paths.releases / release / "swift.lock").read_text()
    locked = next(one for one in lock.parse(text) if one.name == "swift")
    place = paths.tools / f"swift-{locked.version}"
    if (place / "test/functional").is_dir():
        return place
    new = paths.tools / f"swift-{locked.version}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with log.step(f"Fetch the tests of Swift {locked.version}"):
        (new / "swift.lock").write_text(locked.text)
        words = ("download", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps")
        source = ("--no-binary=:all:", "--no-build-isolation", "--requirement", str(new / "swift.lock"))
        _pip(python, *words, *source, "--dest", str(new))
        file = next(new.glob("swift-*.tar.gz"), None)
        if file is None:
            raise Error(f"the index has no source of Swift {locked.version}", hint=AGAIN)
        run.run(["tar", "-xzf", str(file), "-C", str(new)])  # tarfile of Debian 12 knows no filter
        (new / f"swift-{locked.version}").rename(place)
    shutil.rmtree(new)
    return place


def python(place: Path, *words: str) -> list[str]:
    """A command line of the environment's Python, to be run with our variables."""
    return [str(place / "bin" / "python"), *words]


def variables(paths: Paths, site: Site, more: Mapping[str, str]) -> dict[str, str]:
    """In which the suites run: they speak to the cloud by no proxy, verify by its authority, and know no
    other cloud and no other packages."""
    trusted = dict.fromkeys(TRUST, str(paths.trusted)) if site.tls else {}
    cleared = {key: "" for key in os.environ if key.startswith("OS_") or key in PYTHON}
    return {**cleared, **environment.direct(), "PYTHONDONTWRITEBYTECODE": "1", **trusted, **more}


def _pip(place: Path, *words: str) -> None:
    try:
        run.run(_clean(*python(place, "-m", "pip", *words)), hint=AGAIN)
    except UserError:
        raise
    except Error as error:
        if not (place / READY).exists():
            shutil.rmtree(place, ignore_errors=True)
        raise Error("the test suites could not be installed", evidence=error.evidence, hint=AGAIN) from error


def _clean(*words: str) -> list[str]:
    return [*environment.without((*ELSEWHERE, *PYTHON)), *words]
