"""Text that people write, and others' programs: UTF-8 whatever the locale, with or without a byte-order mark.

read(file)      its text, lines ended by \\n; UserError on one that is not there or not UTF-8
content(file)   its bytes; UserError on one that is not there or is no file
decode(data)    the text of bytes, lines as they are
at_home(path)   the path with a ~ at its front resolved; UserError on one of nobody's
start()         this process begins anew in Python's UTF-8 mode when the locale is of another encoding
"""

import codecs
import locale
import os
import stat
import sys
from pathlib import Path

from osbox.errors import UserError

MARK = codecs.BOM_UTF8
WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
"""What an editor may have written instead, by the file's first bytes."""
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFSOCK: "a socket",
}
"""What is no file: a pipe without a writer is waited for for ever, and a device may have no end."""


def read(file: Path, hint: str = "") -> str:
    """The text of a file that a person may have written; the error tells the line, and nothing that is in
    it."""
    return decode(content(file, hint), file).replace("\r\n", "\n").replace("\r", "\n")


def content(file: Path, hint: str = "") -> bytes:
    """The bytes of a file that a person may have named, in whatever encoding."""
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
        if kind in KINDS and not (kind == stat.S_IFIFO and _is_open(file)):
            raise UserError(f"cannot read {file}: it is {KINDS[kind]}, and no file", hint=hint)
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}", hint=hint) from error
    except ValueError as error:  # a zero byte, which no name has
        raise UserError(f"cannot read {str(file)!r}: {error}", hint=hint) from error


def _is_open(file: Path) -> bool:
    """Whether a pipe is an open one of ours: standard input, or what a shell makes of `<(sops -d FILE)`.

    It has a writer, or had one.
    """
    return os.path.realpath(file).startswith("/proc/")


def at_home(path: Path) -> Path:
    """A path that a person wrote, which may begin with ~ or ~user."""
    try:
        return path.expanduser()
    except RuntimeError as error:  # pathlib's word for a user that there is not, or without a home
        raise UserError(
            f"cannot read {path}: this machine knows no home of {path.parts[0]}",
            hint="write the whole path, which begins with /",
        ) from error


def decode(data: bytes, file: Path) -> str:
    """The text of a file's content."""
    try:
        return data.removeprefix(MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        coding = WIDE.get(data[:2], "ISO-8859-1")
        seen = "the file begins as UTF-16 does" if data[:2] in WIDE else f"the byte 0x{data[error.start]:02x}"
        raise UserError(
            f"{file} is not UTF-8",
            evidence=f"{file.name}:{line}: {seen}",
            hint=f"save it as UTF-8, with an editor or by iconv -f {coding} -t UTF-8",
        ) from None


def start() -> None:
    """Have all text of this process UTF-8: files, pipes, names, arguments, in libraries too, and in the
    Python programs that it starts.

    A process cannot change that while it runs, so one whose locale is of another encoding begins anew, once.
    Only the entry point calls this.
    """
    if sys.flags.utf8_mode or not sys.executable:
        return
    if codecs.lookup(locale.getencoding()).name == "utf-8":
        return
    environment = {**os.environ, "PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)  # noqa: S606
