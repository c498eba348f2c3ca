"""The one door to processes: list arguments only, standard input closed, every failure shows the line to
copy.

`subprocess` is imported nowhere else (tests/test_layers.py holds it).
"""

import errno
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from osbox import log
from osbox.errors import Error

EVIDENCE_LINES = 15
# Before a command that is to end with the thread of ours that started it, also when we are killed
# (PR_SET_PDEATHSIG of prctl(2)).
ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")

REFUSED: Mapping[int, str] = {
    errno.EACCES: "look at its permissions, and at those of the directories in PATH",
    errno.ENOENT: "look at the first line of that file: the program which it names is not there",
    errno.ENOEXEC: "it is no program for this machine: install it anew",
    errno.EMFILE: "raise the limit of open files (ulimit -n), then the same command again",
    errno.EAGAIN: "end other programs, or raise the limit of processes (ulimit -u)",
    errno.ENOMEM: "end other programs, or raise the limit of memory (ulimit -v)",
}
"""What to do when the machine starts no process, by its reason."""


class LateError(Error):
    """A process did not end within the time that it was given."""


@dataclass(frozen=True)
class Result:
    """How a process ended. A negative code is the signal that ended it."""

    code: int
    out: str
    err: str


def line(argv: Sequence[str]) -> str:
    """argv as a line that a person can paste into a shell."""
    return shlex.join([str(word) for word in argv])


def tail(text: str, lines: int = EVIDENCE_LINES) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])


def run(
    argv: Sequence[str],
    *,
    input: str | None = None,  # noqa: A002 - subprocess's own word
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    check: bool = True,
    hint: str = "",
) -> Result:
    """Run a process to its end and return what it wrote.

    env is added to ours; timeout is in seconds. Raises LateError when that is over, Error on a program that
    is missing or that the machine does not start and, with check, on any non-zero code, death by a signal
    included.
    """
    log.command(line(argv))
    try:
        done = subprocess.run(
            argv,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            env=_env(env),
            cwd=cwd,
            timeout=timeout,
            check=False,
            errors="replace",
            encoding="utf-8",
        )
    except OSError as error:
        raise _not_started(argv, error, env, cwd, hint) from error
    except subprocess.TimeoutExpired as error:
        raise LateError(
            f"{argv[0]} did not end within {timeout:.0f} s", evidence=line(argv), hint=hint
        ) from error
    result = Result(done.returncode, done.stdout, done.stderr)
    if check and result.code != 0:
        raise failed(argv, result.code, result.err or result.out, hint)
    return result


def failed(argv: Sequence[str], code: int, output: str, hint: str = "") -> Error:
    """The error for a process that ended badly."""
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return Error(f"{argv[0]} {how}", evidence=f"$ {line(argv)}\n{tail(output)}", hint=hint)


def stream(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Run a process and hand on each line that it writes (both streams) as it comes; returns its exit code.

    The process is ended when on_line or a Ctrl-C interrupts us.
    """
    log.command(line(argv))
    with spawn(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=cwd) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker: we asked for a pipe
        for text in process.stdout:
            on_line(text.rstrip("\n"))
        return process.wait()


@contextmanager
def spawn(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator["subprocess.Popen[str]"]:
    """A child that lives no longer than the block."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            errors="replace",
            env=_env(env),
            cwd=cwd,
            encoding="utf-8",
        )
    except OSError as error:
        raise _not_started(argv, error, env, cwd) from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def reading(argv: Sequence[str]) -> Iterator[IO[bytes]]:
    """What a process writes, as bytes to read in the block; read it to its end.

    Raises Error if the process failed.

    An error of the block that comes of a process that ended early is told as that process's own.
    """
    log.command(line(argv))
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        spawn(argv, stdout=subprocess.PIPE, stderr=said.fileno()) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - for the type checker: we asked for a pipe
        try:
            yield process.stdout.buffer  # type: ignore[attr-defined]  # spawn's pipes are of text, over one of bytes
        except (OSError, EOFError, ValueError, tarfile.TarError):
            if process.wait() == 0:
                raise
        if process.wait() != 0:
            said.seek(0)
            raise failed(argv, process.returncode, said.read())


@contextmanager
def feeding(argv: Sequence[str]) -> Iterator[IO[bytes]]:
    """What a process reads, as a stream of bytes to write in the block.

    Raises Error if the process failed.
    """
    log.command(line(argv))
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        spawn(argv, stdin=subprocess.PIPE, stdout=said.fileno(), stderr=said.fileno()) as process,
    ):
        assert process.stdin is not None  # noqa: S101 - for the type checker: we asked for a pipe
        pipe = process.stdin.buffer  # type: ignore[attr-defined]  # spawn's pipes are of text, over one of bytes
        try:
            yield pipe
            pipe.close()
        except BrokenPipeError:
            with suppress(BrokenPipeError):
                pipe.close()
        if process.wait() != 0:
            said.seek(0)
            raise failed(argv, process.returncode, said.read())


def daemon(argv: Sequence[str], logfile: Path, *, env: Mapping[str, str] | None = None) -> int:
    """Start a process that outlives us, in a session of its own, writing to logfile; returns its pid."""
    log.command(f"{line(argv)} >>{logfile} 2>&1 &")
    with logfile.open("a", encoding="utf-8") as target:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                env=_env(env),
                start_new_session=True,
            )
        except OSError as error:
            raise _not_started(argv, error, env) from error
    return process.pid


def attach(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run a process on our own terminal and return its exit code (shells, consoles, `logs -f`)."""
    log.command(line(argv))
    try:
        return subprocess.run(argv, env=_env(env), check=False).returncode
    except OSError as error:
        raise _not_started(argv, error, env) from error


def _not_started(
    argv: Sequence[str],
    error: OSError,
    env: Mapping[str, str] | None,
    cwd: Path | None = None,
    hint: str = "",
) -> Error:
    """The error for a process that there never was."""
    program, code = str(argv[0]), error.errno or 0
    if cwd and not cwd.is_dir():
        return Error(f"there is no directory {cwd} to run {program} in", hint=hint)
    if code == errno.ENOENT and not shutil.which(program, path=(env or {}).get("PATH")):
        return Error(
            f"{program} is not installed", hint=hint or f"install {program} and run the command again"
        )
    known = REFUSED.get(code, "")
    return Error(
        f"{program} cannot be started: {error.strerror}", evidence=f"$ {line(argv)[:300]}", hint=known or hint
    )


def _env(extra: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if extra is None else {**os.environ, **extra}
