"""The project as a wheel carries it, and what the wheel says of it.

In a checkout git tells which files belong to the project and of which commit they are. An installed wheel has
no git: it says so itself, in a file that hatch_build.py writes when it is built (and that is why nothing but
the standard library is imported here). It tells the symbolic links, too, which a wheel cannot hold, and which
files are programs, which an installer may forget.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from osbox.errors import Error, UserError

FOLDER, FILE = "project", "wheel.json"
SOURCE = "src/osbox/"
"""The package's own files: in a checkout below this, in a wheel beside FOLDER."""
CARRIED = (
    SOURCE,
    "images/",
    "releases/",
    "compose/",
    ".dockerignore",
    ".hadolint.yaml",
    "requirements.lock",
    "LICENSE",  # these and what follows: so that a bundle, made from a wheel, brings a checkout that installs
    "Makefile",
    "README.md",
    "hatch_build.py",
    "pyproject.toml",
)
"""What of the checkout a wheel carries: files, and folders with all in them."""
REPAIR = "install again the wheel that it came from: pip install --force-reinstall --no-deps FILE.whl"
"""By its file: in an index of packages the name is nobody's, and so anybody's."""
PROGRAM, PLAIN, LINK = 0o100755, 0o100644, 0o120777
"""The modes that git knows, and so those that two clones agree on, whatever the umask was."""
IGNORED = "__pycache__"


@dataclass(frozen=True)
class Package:
    """What a wheel says of the project that it was built from.

    revision, created, source: its commit; "" where there was no git. changed: files that were not as they
    were committed. files: each with its SHA-256; links: where each leads; programs: files that can be run.
    """

    revision: str
    created: str
    source: str
    changed: tuple[str, ...]
    files: Mapping[str, str]
    links: Mapping[str, str]
    programs: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A file or link of the project by its name in the checkout. content: of a link, where it leads."""

    name: str
    mode: int
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def render(package: Package) -> str:
    return json.dumps(asdict(package), indent=1, sort_keys=True) + "\n"


def read(project: Path) -> Package | None:
    """What the wheel says; None when the project is a checkout. Raises Error when it cannot be read."""
    try:
        data = json.loads((project / FILE).read_text())
        return Package(changed=tuple(data.pop("changed")), programs=tuple(data.pop("programs")), **data)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(f"{FILE} cannot be read") from error


def public(remote: str) -> str:
    """A remote's address without a user's name and password; "" for one that is no web address."""
    parts = urlsplit(remote)
    return f"https://{parts.hostname}{parts.path}" if parts.scheme == "https" and parts.hostname else ""


def entries(project: Path, *tops: str) -> Iterator[Entry]:
    """The files and links below these folders (and files of these names), sorted; of a checkout all that lie
    there, of a wheel those that it was built with, as they are now."""
    package = read(project)
    if not package:
        yield from _lying(project, tops)
        return
    for name in sorted({*package.files, *package.links}):
        if name.startswith(tops):
            if name in package.links:
                yield Entry(name, LINK, package.links[name].encode())
            else:
                yield Entry(name, PROGRAM if name in package.programs else PLAIN, _content(project, name))


def differing(project: Path, package: Package, *tops: str) -> tuple[str, ...]:
    """Those of a wheel's files that are not as they were committed: when it was built, or since."""
    since = {
        entry.name
        for entry in entries(project, *tops)
        if package.files.get(entry.name, entry.sha256) != entry.sha256
    }
    return tuple(sorted({*since, *(name for name in package.changed if name.startswith(tops))}))


def require_checkout(project: Path, command: str, instead: str) -> None:
    """Raise UserError when what a command writes into the project has no place in an installed package."""
    if read(project):
        raise UserError(
            f"{command} writes into releases/ of a checkout, and this osbox was installed as a package",
            hint=f"{instead}; or in a clone: make setup, then .venv/bin/{command}",
        )


def _lying(project: Path, tops: tuple[str, ...]) -> Iterator[Entry]:
    found = {
        str(path.relative_to(project)): path
        for top in tops
        for path in ((project / top).rglob("*") if top.endswith("/") else [project / top])
        if IGNORED not in path.parts
    }
    for name, path in sorted(found.items()):
        if path.is_symlink():
            yield Entry(name, LINK, str(path.readlink()).encode())
        elif path.is_file():
            yield Entry(name, PROGRAM if path.stat().st_mode & 0o100 else PLAIN, path.read_bytes())


def _content(project: Path, name: str) -> bytes:
    place = project / name
    if (
        name.startswith(SOURCE) and not (project / SOURCE).is_dir()
    ):  # it is, in an unpacked source distribution
        place = project.parent / name.removeprefix(SOURCE)
    try:
        return place.read_bytes()
    except FileNotFoundError as error:
        raise _damaged(f"{place} is missing") from error


def _damaged(what: str) -> Error:
    return Error(f"this installation of osbox is damaged: {what}", hint=REPAIR)
