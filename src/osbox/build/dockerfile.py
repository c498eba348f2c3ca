"""A Dockerfile as data: which stages a target needs, and which files of the build context they read.

Only what decides the digest of a target's inputs is understood; BuildKit judges the rest.
"""

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from osbox.errors import Error

HEREDOC = re.compile(r"<<-?(['\"]?)(\w+)\1")
IGNORED = "__pycache__"


@dataclass(frozen=True)
class Instruction:
    """One instruction on one line, continuations joined; heredoc bodies are part of the text."""

    word: str
    text: str


@dataclass(frozen=True)
class Stage:
    name: str
    base: str
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """args: the ARGs that are declared before the first stage, with their defaults."""

    args: Mapping[str, str]
    stages: Mapping[str, Stage]
    declared: frozenset[str]

    def needed(self, target: str) -> list[Stage]:
        """The target's stage and all that it is made from, in order of the file; raises Error for an unknown
        target."""
        if target not in self.stages:
            raise Error(
                f"the Dockerfile has no target {target}", hint="its targets: " + ", ".join(self.stages)
            )
        wanted: set[str] = set()
        todo = [target]
        while todo:
            name = todo.pop()
            if name in wanted or name not in self.stages:
                continue
            wanted.add(name)
            todo += [self.stages[name].base, *stages_read(self.stages[name])]
        return [stage for stage in self.stages.values() if stage.name in wanted]


def parse(text: str) -> Dockerfile:
    args: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    declared = set()
    name, base, body = "", "", list[Instruction]()

    def close() -> None:
        if base:
            stages[name] = Stage(name, base, tuple(body))

    for item in instructions(text):
        if item.word == "ARG":
            key, _, value = item.text.partition("=")
            declared.add(key.strip())
            if not base:
                args[key.strip()] = value.strip().strip("\"'")
        if item.word == "FROM":
            close()
            words = [word for word in item.text.split() if not word.startswith("--")]
            base = words[0]
            name = words[2] if len(words) > 2 else str(len(stages))  # noqa: PLR2004 - image AS name
            body = []
        elif base:
            body.append(item)
    close()
    return Dockerfile(args, stages, frozenset(declared))


def instructions(text: str) -> Iterator[Instruction]:
    """Instructions one by one, without comments."""
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line.rstrip()
        while whole.endswith("\\"):
            following = next(lines, "")
            whole = whole[:-1] + (" \\" if following.lstrip().startswith("#") else following.rstrip())
        word, _, rest = whole.strip().partition(" ")
        for heredoc in HEREDOC.finditer(rest) if word.upper() in ("RUN", "COPY") else ():
            for inner in lines:
                rest += "\n" + inner
                if inner.strip() == heredoc[2]:
                    break
        yield Instruction(word.upper(), rest.strip())


def stages_read(stage: Stage) -> list[str]:
    """Names of stages and images that a stage copies or mounts from."""
    text = " ".join(item.text for item in stage.instructions if item.word in ("COPY", "RUN", "ADD"))
    return re.findall(r"--from=(\S+)", text) + re.findall(r"--mount=\S*\bfrom=([^,\s]+)", text)


def context_files(stage: Stage, args: Mapping[str, str]) -> list[str]:
    """What a stage reads from the build context: paths and patterns, arguments put in."""
    found = []
    for item in stage.instructions:
        if item.word in ("COPY", "ADD") and "--from=" not in item.text:
            words = shlex.split(re.sub(r"[\[\],]", " ", item.text.splitlines()[0]))
            found += [word for word in words[:-1] if not word.startswith(("--", "<<"))]
        for mount in re.findall(r"--mount=(\S*type=bind\S*)", item.text):
            options = dict(part.partition("=")[::2] for part in mount.split(","))
            if "from" not in options:
                found.append(options.get("source") or options.get("src") or ".")
    return [Template(word).safe_substitute(args) for word in found]


def digest(project: Path, file: Path, target: str, args: Mapping[str, str], bases: Mapping[str, str]) -> str:
    """A digest of what a target is made from: recipe, files, arguments, images.

    bases: the digests of the images that it starts from or mounts, by the argument that names the image.
    """
    recipe = parse((project / file).read_text())
    values = {**_defaults(recipe), **args}
    total = hashlib.sha256()
    for stage in recipe.needed(target):
        total.update(bases.get(stage.base.strip("${}"), "").encode())
        for item in stage.instructions:
            total.update(f"{item.word} {item.text}\n".encode())
        for name, value in sorted(values.items()):
            total.update(f"{name}={value}\n".encode() if _uses(stage, name) else b"")
        for path in _read(project, stage, values):
            total.update(f"{path.relative_to(project)} {path.lstat().st_mode:o}\n".encode())
            total.update(str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
    return total.hexdigest()[:32]


def files(project: Path, file: Path, target: str, args: Mapping[str, str]) -> list[Path]:
    """The files of the build context that a target and the stages it needs read."""
    recipe = parse((project / file).read_text())
    values = {**_defaults(recipe), **args}
    return [path for stage in recipe.needed(target) for path in _read(project, stage, values)]


def _read(project: Path, stage: Stage, args: Mapping[str, str]) -> list[Path]:
    return [path for pattern in context_files(stage, args) for path in _matches(project, pattern)]


def _defaults(recipe: Dockerfile) -> dict[str, str]:
    inner = [
        item.text for stage in recipe.stages.values() for item in stage.instructions if item.word == "ARG"
    ]
    pairs = (text.partition("=") for text in inner)
    return {**{key: value.strip("\"'") for key, _, value in pairs if value}, **recipe.args}


def _uses(stage: Stage, name: str) -> bool:
    """Whether an argument can change what a stage does; the base's name cannot, its digest counts."""
    return any(item.word == "ARG" and item.text.partition("=")[0] == name for item in stage.instructions)


def _matches(project: Path, pattern: str) -> list[Path]:
    """The files and links under a COPY source, sorted; a missing one is left to BuildKit to complain
    about."""
    found = project.glob(pattern.strip("/")) if pattern.strip("/.") else [project / "images"]
    inside = [path for top in found for path in ([top] if top.is_file() else top.rglob("*"))]
    # Links in a configuration lead to places inside the image: here they lead nowhere.
    return sorted(
        path for path in inside if (path.is_file() or path.is_symlink()) and IGNORED not in path.parts
    )
