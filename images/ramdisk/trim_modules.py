"""Leave only those kernel modules that modules.txt asks for, and what they need: python3 trim_modules.py
DIRECTORY LIST

Run while modules.dep is whole: it names every module that another one needs, so that nothing kept misses a
symbol.
"""

import sys
from collections.abc import Iterable
from pathlib import Path


def parse_dep(text: str) -> dict[str, list[str]]:
    """modules.dep: each module and all that it needs, as paths."""
    return {
        name: needs.split() for name, _, needs in (line.partition(":") for line in text.splitlines() if line)
    }


def wanted(module: str, rules: Iterable[str]) -> bool:
    """Whether the longest rule that matches a module's path keeps it."""
    path = module.removeprefix("kernel/").partition(".ko")[0]
    matches = [rule for rule in rules if f"{path}/".startswith(rule.removeprefix("-") + "/")]
    return bool(matches) and not max(matches, key=lambda rule: len(rule.removeprefix("-"))).startswith("-")


def keep(dep: dict[str, list[str]], rules: list[str]) -> set[str]:
    """The modules to keep."""
    asked = {module for module in dep if wanted(module, rules)}
    return asked | {need for module in asked for need in dep[module]}


def main(directory: Path, rules_file: Path) -> None:
    rules = [
        line.strip()
        for line in rules_file.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    dep = parse_dep((directory / "modules.dep").read_text(encoding="utf-8"))
    for module in dep.keys() - keep(dep, rules):
        (directory / module).unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
