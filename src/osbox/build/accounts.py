"""What accounts for the files of an image: its packages, its recipe, bytecode. And what is not as they say.

Pure.
"""

import fnmatch
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from osbox.images import packages
from osbox.images.contents import DIRECTORY, FILE, LINK, Entry, Tree
from osbox.images.packages import PYTHON, Package

LEFT_OUT = ("tests", "test", "locale")  # directories that images/base/install-locked takes out of packages
MOST_LINKS = 16
EMPTY = hashlib.sha256(b"").hexdigest()
INFO = "var/lib/dpkg/info/"


@dataclass(frozen=True)
class Account:
    """What is wrong with a file system.

    differs: what is not as its package has it; unaccounted: files of nobody.
    """

    differs: tuple[str, ...]
    unaccounted: tuple[str, ...]


class View:
    """A file system with the links in directory names followed, as packages name files through them (/bin is
    /usr/bin)."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._links = {path: entry.link for path, entry in tree.entries.items() if entry.kind == LINK}

    def real(self, path: str) -> str:
        """The path without links on the way to its last part."""
        for _ in range(MOST_LINKS):
            crossed = next((path[:end] for end in _slashes(path) if path[:end] in self._links), "")
            if not crossed:
                break
            path = _leads(crossed, self._links[crossed]) + path[len(crossed) :]
        return path

    def end(self, path: str) -> str:
        """Where a link leads in the end; "" if it leads to nothing, or in a circle."""
        for _ in range(MOST_LINKS):
            path = self.real(path)
            if path not in self._links:
                return path if path in self.tree.entries else ""
            path = _leads(path, self._links[path])
        return ""

    @cached_property
    def excluded(self) -> list[str]:
        """dpkg's rules of what not to install."""
        texts = self.tree.texts
        return packages.excluded(
            "\n".join(
                self.tree.text(path) for path in sorted(texts) if path.startswith("etc/dpkg/dpkg.cfg.d/")
            )
        )


def account(
    tree: Tree, inside: Sequence[Package], generated: Iterable[str], recipe: Mapping[str, str]
) -> Account:
    """Hold a file system against its packages, its recipe (digests by name) and the patterns of what is made
    elsewhere."""
    view, owned = View(tree), set[str]()
    # All empty files are alike: a recipe's accounts for its namesakes only.
    empty = {name.rpartition("/")[2] for name, digest in recipe.items() if digest == EMPTY}
    digests = set(recipe.values()) - {EMPTY}
    owned |= {
        path
        for path, entry in tree.entries.items()
        if entry.sha256 == EMPTY and path.rpartition("/")[2] in empty
    }
    differs = [*_python(view, inside, owned), *_debian(view, digests, owned)]
    patterns = list(generated)
    rest = []
    for path, entry in tree.entries.items():
        if entry.kind not in (FILE, LINK) or path in owned or _is_accounted(view, entry, owned, digests):
            continue
        if not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns):
            rest.append(path)
    return Account(tuple(sorted(differs)), tuple(sorted(rest)))


def digest_of_link(target: str) -> str:
    """How a symbolic link of a recipe is written down among the digests of files."""
    return hashlib.sha256(f"link {target}".encode()).hexdigest()


def locks(tree: Tree, inside: Sequence[Package]) -> Iterator[str]:
    """How the installed Python packages differ from the locks that lie beside them."""
    for place in sorted({item.place.partition("/lib/")[0] for item in inside if item.kind == PYTHON}):
        wanted: dict[str, str] = {}
        for path in tree.texts:
            if path.startswith(f"{place}/locks/"):
                wanted |= {name: item.version for name, item in packages.locked(tree.text(path)).items()}
        found = {
            item.name: item.version
            for item in inside
            if item.kind == PYTHON and item.place.startswith(f"{place}/lib/")
        }
        local = {
            item.name for item in inside if item.place and f"{item.place}/direct_url.json" in tree.entries
        }
        yield from (
            f"{name} {wanted[name]} is locked and not installed"
            for name in sorted(wanted.keys() - found.keys())
        )
        yield from (
            f"{name} {found[name]} is installed and in no lock"
            for name in sorted(found.keys() - wanted.keys() - local)
        )
        both = sorted(wanted.keys() & found.keys())
        yield from (
            f"{name} is {found[name]}, the lock says {wanted[name]}"
            for name in both
            if wanted[name] != found[name]
        )


def _python(view: View, inside: Iterable[Package], owned: set[str]) -> Iterator[str]:
    """Files that are not as their distribution's RECORD says; those that are listed there are owned."""
    entries = view.tree.entries
    for item in inside:
        if item.kind != PYTHON:
            continue
        for path, sha256 in packages.recorded(view.tree.text(f"{item.place}/RECORD"), item.place):
            real = view.real(path)
            owned.add(real)
            if real not in entries:
                if not set(path.split("/")[:-1]) & set(LEFT_OUT):
                    yield f"{path} of {item.name} is missing"
            elif sha256 and entries[real].sha256 != sha256:
                yield f"{path} is not as {item.name} {item.version} has it"


def _debian(view: View, recipe: set[str], owned: set[str]) -> Iterator[str]:
    """Files that are not as their package has them; configuration that a recipe replaces is the recipe's."""
    tree, moved = view.tree, packages.diversions(view.tree.text("var/lib/dpkg/diversions"))
    conffiles = dict(packages.conffiles(tree.text(packages.STATUS)))
    for info in (path for path in tree.texts if path.startswith(INFO)):
        name = info.removeprefix(INFO).rpartition(".")[0].partition(":")[0]
        if info.endswith(".list"):
            owned.update(view.real(path.strip("/")) for path in tree.text(info).splitlines())
        else:
            yield from _sums(
                view,
                name,
                {path: md5 for path, md5 in packages.md5sums(tree.text(info)) if path not in conffiles},
                moved,
            )
    for path, md5 in conffiles.items():
        entry = tree.entries.get(view.real(path))
        if entry and entry.md5 != md5 and entry.sha256 not in recipe:
            yield f"{path} is neither as its package has it nor of the recipe"


def _sums(view: View, package: str, sums: Mapping[str, str], moved: Mapping[str, str]) -> Iterator[str]:
    for path, md5 in sums.items():
        entry = view.tree.entries.get(view.real(path)) or view.tree.entries.get(
            view.real(moved.get(path, path))
        )
        if entry is None:
            if not packages.is_excluded(path, view.excluded):
                yield f"{path} of {package} is missing"
        elif entry.md5 != md5:
            yield f"{path} is not as {package} has it"


def _is_accounted(view: View, entry: Entry, owned: set[str], recipe: set[str]) -> bool:
    """Whether a file is bytecode of an accounted one, of the recipe, or a link to something accounted."""
    path, entries = entry.path, view.tree.entries
    if entry.kind == FILE:
        return entry.sha256 in recipe or _source(path) in entries
    if digest_of_link(entry.link) in recipe:
        return True
    end = view.end(path)
    return bool(end) and (end in owned or entries[end].kind == DIRECTORY or entries[end].sha256 in recipe)


def _source(path: str) -> str:
    """The Python file that bytecode was made of; "" if the path is no bytecode's."""
    folder, _, name = path.rpartition("/__pycache__/")
    return (
        f"{folder}/{name.split('.')[0]}.py"
        if folder and path.endswith(".pyc") and ".cpython-" in name
        else ""
    )


def _slashes(path: str) -> Iterator[int]:
    return (index for index, letter in enumerate(path) if letter == "/")


def _leads(path: str, target: str) -> str:
    return packages.normal(target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}")
