"""Runs inside an image, with the image's Python: load its programs and drivers, judge its configuration, run
what must fail.

Standard library only. The last line of its output is JSON; what it is asked stands in TASK, which the caller
puts in front.
"""

import ast
import contextlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

TASK: dict[str, Any] = globals().get("TASK", {})
SCRIPTS = ("console_scripts", "gui_scripts")
SECONDS = 120


def main(task: dict[str, Any]) -> dict[str, Any]:
    # What mostly waits runs beside what computes.
    commands = {name: start(argv, task["environment"]) for name, argv in task["commands"].items()}
    found = {
        "scripts": [line for name in task["distributions"] for line in broken_scripts(name)],
        "drivers": [line for group, name in task["drivers"] for line in broken_driver(group, name)],
        "modules": [line for name in task["modules"] for line in missing_module(name)],
        "configuration": validate(task["configuration"], task["namespaces"]) if task["namespaces"] else "",
        "distributions": [described(item) for item in metadata.distributions()],
        "environment": environment(),
    }
    return {**found, "commands": {name: finish(process) for name, process in commands.items()}}


def start(argv: list[str], extra: dict[str, str]) -> "subprocess.Popen[str] | str":
    env = {**os.environ, **extra}
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            encoding="utf-8",
        )
    except OSError as error:
        return f"cannot run {argv[0]}: {error.strerror}"


def finish(process: "subprocess.Popen[str] | str") -> tuple[int, str]:
    """Exit code and output."""
    if isinstance(process, str):
        return 127, process
    try:
        output = process.communicate(timeout=SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return 124, f"did not end within {SECONDS} s"
    return process.returncode, output


def broken_scripts(name: str) -> list[str]:
    """Console scripts of a distribution that are not there or whose code cannot be loaded."""
    distribution = metadata.distribution(name)
    entries = [entry for entry in distribution.entry_points if entry.group in SCRIPTS]
    beside = Path(sys.executable).parent
    found = [
        f"{entry.name} is no program" for entry in entries if not shutil.which(entry.name, path=str(beside))
    ]
    found += [
        f"{entry.name}: {why}" for entry in entries if (why := why_not(entry) and alone(loading(entry)))
    ]
    known = {entry.name for entry in entries}
    for file in distribution.files or []:
        path = Path(str(file.locate()))
        if (
            path.resolve().parent == beside.resolve()
            and path.name not in known
            and (why := why_no_script(path))
        ):
            found.append(f"{path.name}: {why}")
    return found


def why_not(entry: metadata.EntryPoint) -> str:
    """Why an entry point cannot be loaded; "" when it can."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            entry.load()
    except BaseException as error:  # noqa: BLE001 - a module may even exit
        return message_of(error)
    return ""


def loading(entry: metadata.EntryPoint) -> str:
    return (
        f"import importlib; getattr(importlib.import_module({entry.module!r}),"
        f" {entry.attr.partition('.')[0]!r})"
    )


def alone(code: str) -> str:
    """Why code fails in a process of its own: programs of one project need not get along in one; "" when it
    does not."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        encoding="utf-8",
    )
    return (
        (done.stderr.strip().splitlines() or ["exit code " + str(done.returncode)])[-1]
        if done.returncode
        else ""
    )


def why_no_script(path: Path) -> str:
    """Why a script of the old kind cannot start: what it imports.

    Those that serve WSGI would start their application when run.
    """
    if not path.exists() or not path.read_bytes().startswith(b"#!"):
        return "" if path.exists() else "is not there"
    if b"python" not in path.open("rb").readline():
        return ""
    imports = [
        ast.unparse(node)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return alone("\n".join(imports))


def broken_driver(group: str, name: str) -> list[str]:
    """A driver that the configuration names, by its entry point; of the group "" by its class."""
    try:
        if not group:
            module, _, attribute = name.rpartition(".")
            getattr(importlib.import_module(module), attribute)
            return []
        if group == "dogpile.cache":  # it registers its own backends without entry points
            region = importlib.import_module("dogpile.cache").make_region()
            region.configure(name, arguments={"url": ["127.0.0.1"]})
            return []
        found = [
            entry
            for entry in metadata.entry_points(name=name)
            if entry.group == group or entry.group.startswith(f"{group}.")
        ]
        for entry in found:
            entry.load()
    except BaseException as error:  # noqa: BLE001
        return [f"{name} ({group or 'class'}): {message_of(error)}"]
    return [] if found else [f"{name}: no entry point of {group} is called so"]


def missing_module(name: str) -> list[str]:
    try:
        return [] if importlib.util.find_spec(name) else [f"{name}: there is no such module"]
    except Exception as error:  # noqa: BLE001 - the package that it is in is run
        return [f"{name}: {message_of(error)}"]


def validate(configuration: str, namespaces: list[str]) -> str:
    """What oslo.config's validator says of a configuration."""
    import logging  # noqa: PLC0415 - after the services' own modules, which may replace what it is made of

    from oslo_config import validator  # noqa: PLC0415 - the image has it

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    logging.getLogger().addHandler(handler)
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
        file.write(configuration)
        file.flush()
        sys.argv = [
            "oslo-config-validator",
            "--input-file",
            file.name,
            *(word for name in namespaces for word in ("--namespace", name)),
        ]
        try:
            validator.main()
        except SystemExit:
            pass
        except Exception as error:  # noqa: BLE001
            return f"ERROR:root:the validator failed: {message_of(error)}"
    return stream.getvalue()


def described(item: metadata.Distribution) -> dict[str, Any]:
    return {"name": item.name, "version": item.version, "requires": list(item.requires or [])}


def environment() -> dict[str, str]:
    """What the markers of requirements ask for."""
    return {
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "implementation_version": platform.python_version(),
        "platform_release": platform.release(),
        "platform_machine": platform.machine(),
        "platform_version": platform.version(),
    }


def message_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


if __name__ == "__main__":
    print("\n" + json.dumps(main(TASK)))
