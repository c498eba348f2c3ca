"""The command line: parse, call, print, exit code.

Exit codes: 0 done; 1 something on our side or around us went wrong; 2 the user can put it right; 130
interrupted.
"""

import errno
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version as installed
from types import FrameType
from typing import Annotated

import typer

from osbox import log, utf8
from osbox.commands import context
from osbox.commands.table import Commands
from osbox.errors import Error, UserError
from osbox.site.load import find_paths

INTERRUPTED = 130
EPILOG = (
    "Exit codes: 0 done; 1 something went wrong on our side or around us; 2 a wrong word, value or right of"
    " yours, or a plan that is not empty; 130 interrupted.\n\nState lives in one directory, OSBOX_HOME"
    " (default /var/lib/osbox). NO_COLOR and pipes give plain lines. Any command may be interrupted and run"
    " again."
)

app = typer.Typer(
    name="osbox",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)


def _version(on: bool) -> None:
    if on:
        log.out.print(f"osbox {installed('osbox')}")
        raise typer.Exit


@app.callback()
def before(
    given: typer.Context,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show every command that is run, copy-pasteable.")
    ] = False,
    wanted: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="auto|private|host",
            help=(
                "The container engine: the machine's Docker (host), osbox's own (private), or what fits"
                " (auto)."
            ),
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            envvar="OSBOX_NAME",
            help="A deployment beside others: its own networks, addresses, data.",
        ),
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """[bold]OpenStack in a box[/]: builds, runs and removes a whole OpenStack that provisions bare metal.

    [bold]osbox demo[/] goes the whole way by itself: images, cloud, network, virtual nodes, a login prompt on
    one.
    """
    log.set_verbose(verbose)
    if wanted not in (None, "auto", "private", "host"):
        raise UserError(f"--engine {wanted} is not known", hint="it is auto, private or host")
    if not given.resilient_parsing:
        given.obj = context.load(wanted, name)


def main() -> None:
    """The entry point: every way a command can end is told in a line and has its exit code."""
    utf8.start()
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal that knows no emoji gets question marks, not a crash
    sys.exit(execute(sys.argv[1:]))


def execute(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        return _call(
            lambda: typer.main.get_command(app).main(list(argv), prog_name="osbox", standalone_mode=False)
        )
    except KeyboardInterrupt:
        log.err.print("Interrupted; run the same command again to go on")
        return INTERRUPTED
    except Error as error:
        return _tell(error)
    except OSError as error:  # what requests raises is one, and so is an API's refusal in the SDK
        return _tell(_of_the_cloud(error) or _of_the_machine(error))
    except Exception as error:  # noqa: BLE001 - the last resort: one line, and the trace in a file
        return _tell(_of_the_cloud(error) or _unexpected(error))


def _tell(error: Error) -> int:
    """Tell an error; its exit code, also where nobody can be told."""
    try:
        log.failure(error)
    except OSError:
        # What is left unwritten would fail once more at the end of this process, with another code.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno() if sys.__stderr__ else 2)
    return error.code


def _call(command: Callable[[], object]) -> int:
    """Run Typer's command; its own errors become ours."""
    try:
        result = command()
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except typer.TyperException as error:
        message, place = error.format_message(), getattr(error, "ctx", None)
        if not message:  # a group without a command: its help was printed
            return 0
        message = message.replace(": Value error, ", ": ")  # pydantic's, of a word that is none of a few
        raise UserError(message, hint=f"{place.command_path if place else 'osbox'} --help") from error
    if result == INTERRUPTED:  # Typer swallows the exception
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _of_the_machine(error: OSError) -> Error:
    """What the machine refuses is no defect of ours where the cause is known."""
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        return UserError(f"no permission for {error.filename or 'this'}", hint="the same with sudo")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "that of OSBOX_HOME, or where the output goes"
        return Error(f"the disk is full: {where}", hint="free some space; run it again")
    if (code := error.errno or 0) in REFUSALS:
        message, hint = REFUSALS[code]
        return Error(f"{message}: {error.filename}" if error.filename else message, hint=hint)
    return _unexpected(error)


REFUSALS: Mapping[int, tuple[str, str]] = {
    errno.EACCES: ("no permission, though this is root", "look at its mount options (findmnt -T FILE)"),
    errno.EPERM: (
        "no permission, though this is root",
        "look at its attributes (lsattr FILE), and whether this is a container that may not do it",
    ),
    errno.EROFS: (
        "the file system cannot be written to",
        "mount it writable, or set OSBOX_HOME to a directory on another disk",
    ),
    errno.EIO: ("the disk does not read or write", "look at what the kernel says of it: dmesg | tail"),
    errno.ESTALE: (
        "the file system of another machine has gone",
        "mount it anew, or set OSBOX_HOME elsewhere",
    ),
    errno.EFBIG: (
        "a file gets larger than it may",
        "raise the limit (ulimit -f), then the same command again",
    ),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n), then the same command again"),
    errno.ENFILE: ("too many files are open on this machine", "raise the limit (sysctl fs.file-max)"),
    errno.ENOMEM: ("the machine has no memory left", "end other programs, or raise the limit (ulimit -v)"),
}
"""What a machine refuses, and the way out, by the kernel's number."""


def _of_the_cloud(error: Exception) -> Error | None:
    """An API's refusal or silence, which the client libraries raise in their own words; None when it is
    something else."""
    if type(error).__module__.split(".")[0] not in ("keystoneauth1", "openstack", "requests"):
        return None
    return Error(
        "the cloud refused a request or did not answer",
        evidence=str(error)[:600],
        hint="osbox status, then the same command again",
    )


def _unexpected(error: Exception) -> Error:
    """A defect of ours, told in a line; the trace goes to a file, and to the screen with -v."""
    trace = "".join(traceback.format_exception(error))
    if log.is_verbose():
        log.err.print(trace, markup=False)
    message = f"osbox has a defect: {type(error).__name__}: {error}"
    try:
        file = find_paths().logs / f"defect-{time.strftime('%Y%m%d-%H%M%S')}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"$ osbox {' '.join(sys.argv[1:])}\n{trace}")
    except (OSError, Error):
        return Error(message, evidence=trace)
    return Error(message, hint=f"please report it with {file}")


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
