"""Locks as data: read what uv resolved, split it by who needs what, compare two of them. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osbox.releases.release import COMMON, RAMDISK, Release

PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
PARENT = re.compile(r"^    # (?:via ?|  )(.*)$")


@dataclass(frozen=True)
class Package:
    """A locked package: its lines without comments, and what needs it (packages, or `-r group.in`)."""

    name: str
    version: str
    text: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """What became of one package. old or new is empty when it was not there or is gone.

    group: the lock it is in, or `old → new`. The same version twice: it moved, or its index has other files
    of it now.
    """

    package: str
    old: str
    new: str
    group: str


def parse(text: str) -> list[Package]:
    """The packages of uv's output, or of a lock."""
    packages: list[Package] = []
    lines: list[str] = []
    parents: list[str] = []
    for line in [*text.splitlines(), "end==0"]:
        if PIN.match(line):
            if lines:
                packages.append(_package(lines, parents))
            lines, parents = [line], []
        elif parent := PARENT.match(line):
            parents += [parent[1].strip()] if parent[1].strip() else []
        elif line.startswith("    --hash"):
            lines.append(line)
    return packages


def _package(lines: Sequence[str], parents: Sequence[str]) -> Package:
    pin = PIN.match(lines[0])
    assert pin is not None  # noqa: S101 - it is why the package began here
    return Package(pin[1], pin[2], "\n".join(lines) + "\n", tuple(parents))


def constrain(upstream: str, own: Sequence[str]) -> str:
    """Upstream's constraints with those of our own in the place of theirs for the same packages."""
    ours = {_canonical(line) for line in own}
    kept = [
        line
        for line in upstream.splitlines()
        if line and not line.startswith("#") and _canonical(line) not in ours
    ]
    return "".join(f"{line}\n" for line in [*kept, *own])


def _canonical(requirement: str) -> str:
    """The name in a requirement, as Python's packages compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


def split(packages: Sequence[Package], groups: Sequence[str]) -> dict[str, list[Package]]:
    """The packages of each group: a project's are those that nothing but it needs, `common` has the rest."""
    needs: dict[str, set[str]] = {package.name: set() for package in packages}
    changed = True
    while changed:  # who needs a package needs what it needs, round circles too
        changed = False
        for package in packages:
            found = set().union(*(_needed_by(parent, needs) for parent in package.parents))
            changed |= not found <= needs[package.name]
            needs[package.name] |= found
    result: dict[str, list[Package]] = {group: [] for group in groups}
    for package in packages:
        who = needs[package.name]
        result[who.pop() if len(who) == 1 else COMMON].append(package)
    return result


def _needed_by(parent: str, needs: Mapping[str, set[str]]) -> set[str]:
    """The groups behind one parent: a file of requirements is its group; constraints need nothing."""
    if parent.startswith("-r "):
        return {parent.removeprefix("-r ").removesuffix(".in")}
    return needs.get(parent, set())


def render(release: Release, group: str, packages: Sequence[Package]) -> str:
    """A lock.

    It says nothing of the others, so that a change of theirs builds nothing that is made of this one.
    """
    what = {COMMON: "what two or more projects need", RAMDISK: "what the deploy ramdisk needs"}.get(
        group, f"what only {group} needs"
    )
    head = (
        f"# OpenStack {release.name}: {what}. Written by osbox lock --release {release.name}; edit"
        " release.toml instead.\n"
    )
    return head + "".join(package.text for package in packages)


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    """What differs between two sets of locks (text by group), by package."""
    before, after = _by_name(old), _by_name(new)
    return [
        _change(before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def _by_name(locks: Mapping[str, str]) -> dict[tuple[str, bool], tuple[str, Package]]:
    """Group and package by name; the ramdisk may have another version of the same one."""
    return {
        (package.name, group == RAMDISK): (group, package)
        for group, text in locks.items()
        for package in parse(text)
    }


def _change(old: tuple[str, Package] | None, new: tuple[str, Package] | None) -> Change:
    groups = [side[0] for side in (old, new) if side]
    name = next(side[1].name for side in (old, new) if side)
    return Change(
        name, old[1].version if old else "", new[1].version if new else "", " → ".join(dict.fromkeys(groups))
    )
