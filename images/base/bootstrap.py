#!/usr/bin/env python3
"""What runs first in every container: make ready what /etc/osbox/bootstrap.toml asks for, then become the
service.

    bootstrap COMMAND…      wait, write secrets' fragments, prepare, migrate, exec COMMAND
    bootstrap health        ask the service for something that needs its database or its bus; exit 0 when it
    answers

bootstrap.toml, all parts optional (docs/images.md):
    directories = ["/path"]            made when absent, on a volume
    wait = ["mysql:3306"]              addresses that must accept a connection; http://… ones must answer
                                       below 500
    wait_files = ["/path"]             files that another container writes
    [[file]]    path, text             written to tmpfs; {name} stands for the secret /run/secrets/name,
                                       ${NAME} for the environment
    [prepare]   directory, marker, commands
                                       fill an empty volume once; one that was left half-filled is emptied
                                       and filled again, any other that is not empty is refused
    [identity]  user, service          wait until Keystone lets the user in and its catalogue has the service
    [migrate]   project, databases, commands, then
                                       under a database lock, once for each version of the software
                                       (schema.py)
    [schema]    project                wait until another container has migrated it to this very version
    [health]    url | command | tcp, send
                                       user, secret, system, service, status, expect; mark: a file made
                                       at a good answer
Failing, it prints one line and exits 1. Standard library only; pymysql, of the OpenStack images, where a
database is asked for.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

CONFIG = Path(os.environ.get("OSBOX_BOOTSTRAP", "/etc/osbox/bootstrap.toml"))
SECRETS = Path(os.environ.get("OSBOX_SECRETS", "/run/secrets"))
RUN = Path(os.environ.get("OSBOX_RUN", "/run/osbox"))
LOCKS, ONLY_SCHEMA = Path("/opt/openstack/locks"), os.environ.get("OSBOX_SCHEMA") == "only"
BEGUN = ".osbox-begun"  # in a volume that is being filled for the first time
# Passwords end up in URLs and INI files: characters that need quoting in either are refused, not half-quoted.
SAFE = re.compile(r"[A-Za-z0-9_.~-]+")
# Between two tries, how long so often; between two lines in the log.
POLL_SECONDS, EAGER_SECONDS, TELL_SECONDS = 0.25, 5, 10


class Error(Exception):
    """One line for the log: what happened; what to do."""


class NotYetError(Error):
    """What is waited for is not ready; told when the deadline passes."""


def main(argv: list[str]) -> int:
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # a container's first process is sent only the signals that it handles
    try:
        config = tomllib.loads(CONFIG.read_text(encoding="utf-8")) if CONFIG.exists() else {}
        if argv == ["health"]:
            return health(config.get("health", {}))
        make_ready(config)
        if not argv:
            return say("no command to run; the image's CMD names one")
    except tomllib.TOMLDecodeError as error:
        return say(f"{CONFIG}: {error}")
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - one line is what a log can use
        text = str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
        return say(" ".join(text.split()))
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - this is what it is for
    except OSError as error:
        return say(f"cannot run {argv[0]}: {error.strerror}; it is not in this image's PATH", 127)


def say(text: str, code: int = 1) -> int:
    """A line for the log; returns the exit code of who ends with it."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)
    return code


def make_ready(config: dict[str, Any]) -> None:
    deadline = time.monotonic() + float(os.environ.get("OSBOX_WAIT_SECONDS", "180"))
    for file in config.get("file", []):
        write_file(Path(file["path"]), expand(file["text"]))
    if "prepare" in config:
        prepare(**config["prepare"])
    for path in config.get("directories", []):
        Path(path).mkdir(parents=True, exist_ok=True)
    for path in config.get("wait_files", []):
        wait_for(f"the file {path}", Path(path).stat, deadline)
    if "migrate" in config:  # first: it needs the database only, and others wait for it
        migrate(config["migrate"], deadline)
    if ONLY_SCHEMA:
        return
    for address in config.get("wait", []):
        wait_for(address, partial(connect, address), deadline)
    if "identity" in config:
        wait_for(
            f"Keystone's user {config['identity']['user']}",
            partial(authenticate, config["identity"]),
            deadline,
        )
    if "schema" in config:
        wait_for("the database schema", partial(require_migrated, config["schema"]["project"]), deadline)


def secret(name: str) -> str:
    try:
        value = (SECRETS / name).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise Error(f"the secret {name} is missing; mount a file with it as {SECRETS / name}") from None
    except PermissionError:
        raise Error(
            f"uid {os.getuid()} cannot read the secret {name}; chown {os.getuid()} it on the host"
        ) from None
    if not SAFE.fullmatch(value):
        raise Error(f"the secret {name} is empty or has characters other than letters, digits and _.~-")
    return value


def expand(text: str) -> str:
    """{name} is a secret, ${NAME} a variable of the environment."""
    try:
        text = string.Template(text).substitute(os.environ)
    except KeyError as error:
        raise Error(f"the variable {error.args[0]} is not set; the Compose file sets it") from None
    return re.sub(r"\{([a-z][a-z0-9-]*)\}", lambda match: secret(match[1]), text)


def write_file(path: Path, text: str) -> None:
    """Whole or not at all, for its user alone, whatever was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)  # of a process of the same number, killed in an earlier start
    new.touch(mode=0o600)
    new.write_text(text.lstrip("\n"), encoding="utf-8")
    new.rename(path)


def wait_for(what: str, attempt: Callable[[], Any], deadline: float) -> Any:
    """Try until it succeeds and return what it returns; the last reason why not is told when the deadline
    passes."""
    begin = told = time.monotonic()
    while True:
        try:
            return attempt()
        except (OSError, NotYetError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        if (now := time.monotonic()) >= deadline:
            raise Error(f"{what} was not ready within {now - begin:.0f} s: {reason}; look at its own log")
        if now - told >= TELL_SECONDS:
            say(f"waiting for {what}: {reason}")
            told = now
        # Long waits ask seldom: two dozen containers start at once, and every try to log in costs Keystone a
        # password hash.
        time.sleep(POLL_SECONDS if now - begin < EAGER_SECONDS else 1)


def connect(address: str) -> None:
    """An address accepts a connection.

    A gunicorn does so before its application is loaded: ask that over HTTP.
    """
    if not address.startswith("http://"):
        return opened(address).close()
    try:
        urllib.request.urlopen(address, timeout=30).close()  # noqa: S310 - the scheme is known
    except urllib.error.HTTPError as error:
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise


def prepare(directory: str, marker: str, commands: list[list[str]]) -> None:
    """Fill a volume once.

    The marker is written last. What a kill left half-done is begun anew, and known by a mark that is written
    first; anything else that lies there without the marker is somebody's data, of a restore perhaps.
    """
    top = Path(directory)
    done, begun = top / marker, top / BEGUN
    if done.exists():
        return
    found = [entry for entry in sorted(top.iterdir()) if entry.name not in (BEGUN, "lost+found")]
    if found and not begun.exists():
        names = ", ".join(entry.name for entry in found[:5]) + ", …" * (len(found) > 5)  # noqa: PLR2004 - enough
        raise Error(
            f"the volume at {directory} holds {names}, but no {marker}, which would say that it is whole; it"
            " is not emptied. Empty it, or remove the volume; only if what it holds is a whole restore: touch"
            f" {done}"
        )
    begun.touch()
    sync(top)
    for entry in found:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for command in commands:
        run(command)
    done.touch()
    begun.unlink()


def sync(directory: Path) -> None:
    """Have the names in a directory on the disk before those that come after."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run(command: list[str], accept: list[int] | None = None) -> int:
    begin, name = time.monotonic(), " ".join(command[:3])
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    if done.returncode not in (accept or [0]):
        print(
            *[line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-40:],
            sep="\n",
            file=sys.stderr,
        )
        raise Error(f"{name} failed with exit code {done.returncode}; its last lines stand above")
    say(f"{name} took {time.monotonic() - begin:.1f} s")
    return done.returncode


def versions() -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(LOCKS.glob("*.lock")))).hexdigest()[
        :16
    ]


@contextlib.contextmanager
def database() -> Iterator[Any]:
    """A cursor in the database osbox."""
    import pymysql  # type: ignore[import-untyped] # noqa: PLC0415 - only the OpenStack images have it

    login = {"host": "mysql", "user": "osbox", "password": secret("db-osbox"), "database": "osbox"}
    try:
        with (
            pymysql.connect(**login, autocommit=True, connect_timeout=5) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor
    except pymysql.MySQLError as error:
        raise NotYetError(f"the database says: {error.args[-1] if error.args else error}") from None


def migrate(config: dict[str, Any], deadline: float) -> None:
    """Run the migration commands under a database lock unless this version has already run them."""
    project = config["project"]
    wanted = versions() + hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
    with contextlib.ExitStack() as stack:
        cursor = wait_for("the database", lambda: stack.enter_context(database()), deadline)
        cursor.execute(
            "SELECT GET_LOCK(%s, %s)", (f"osbox-{project}", max(1, int(deadline - time.monotonic())))
        )
        if cursor.fetchone()[0] != 1:
            raise Error(
                f"another container has held the migration lock of {project} for too long; look at its log"
            )
        cursor.execute("SELECT fingerprint FROM migrated WHERE project = %s", (project,))
        if cursor.fetchone() == (wanted,):
            return
        prepared = "databases" in config and run(["osbox-schema", "prepare"], [0, 3]) == 0
        for entry in ([] if prepared else config["commands"]) + (
            [] if ONLY_SCHEMA else config.get("then", [])
        ):
            run(entry["run"], entry.get("accept"))
        cursor.execute("REPLACE INTO migrated VALUES (%s, %s)", (project, wanted))


def require_migrated(project: str) -> None:
    """The project's schema is current for the versions in this image."""
    with database() as cursor:
        cursor.execute("SELECT fingerprint FROM migrated WHERE project = %s", (project,))
        row = cursor.fetchone()
    if row is None or not row[0].startswith(versions()):
        raise NotYetError(f"{project} has not migrated it yet")


def health(config: dict[str, Any]) -> int:
    """0 when the service gave the expected answer; prints what it saw, which `docker inspect` keeps."""
    try:
        way = next((name for name in ("command", "tcp") if name in config), "url")
        answer = {"command": output, "tcp": ask, "url": fetch}[way](config)
        well = config.get("expect", "") in answer
    except Exception as error:  # noqa: BLE001 - whatever it is, the service is not well
        answer, well = str(error), False
    if well and "mark" in config:
        Path(config["mark"]).touch()
    print("healthy" if well else f"unhealthy: {answer.strip()[-300:]}")
    return 0 if well else 1


def output(config: dict[str, Any]) -> str:
    done = subprocess.run(
        config["command"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=15,
        check=False,
        encoding="utf-8",
    )
    if done.returncode != 0:
        raise Error(done.stdout.strip() or f"exit code {done.returncode}")
    return done.stdout


def ask(config: dict[str, Any]) -> str:
    with opened(expand(config["tcp"])) as connection:
        connection.sendall(config["send"].encode())
        return connection.recv(4096).decode(errors="replace")


def opened(address: str) -> socket.socket:
    """A connection to HOST:PORT, or to the socket unix:PATH."""
    host, _, port = address.rpartition(":")
    if host != "unix":
        return socket.create_connection((host, int(port)), timeout=5)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(port)
    return connection


def fetch(config: dict[str, Any]) -> str:
    """GET the url, with a token of the service's own user when one is named; the token is kept until it is
    refused."""
    url, status = expand(config["url"]), config.get("status", 200)
    if "user" not in config:
        return get(url, "", status)
    kept = RUN / "health-token"
    if kept.exists():
        token, _, base = kept.read_text(encoding="utf-8").partition(" ")
        try:
            return get(base + url, token, status)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.UNAUTHORIZED:
                raise
    token, base = authenticate(config)
    write_file(kept, f"{token} {base}")
    return get(base + url, token, status)


def get(url: str, token: str, status: int) -> str:
    headers = {"X-Auth-Token": token, "X-OpenStack-Ironic-API-Version": "1.80"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=6) as answer:  # noqa: S310 - the image names it
            return str(answer.read(100_000).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        if error.code != status:
            raise
        return str(error)


def authenticate(config: dict[str, Any]) -> tuple[str, str]:
    """A token, and the address of the service that the url is relative to ("" when the url is whole)."""
    password = secret(config.get("secret", f"service-{config['user']}"))
    scope = (
        {"system": {"all": True}}
        if config.get("system")
        else {"project": {"name": "service", "domain": {"id": "default"}}}
    )
    user = {"name": config["user"], "domain": {"id": "default"}, "password": password}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    url = os.environ.get("OSBOX_KEYSTONE", "http://keystone:5000") + "/v3/auth/tokens"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=6) as answer:  # noqa: S310 - with the request: a health check has 15 s
        token, catalog = answer.headers["X-Subject-Token"], json.load(answer)["token"].get("catalog", [])
    ends = [
        end
        for entry in catalog
        if entry["type"] == config.get("service")
        for end in entry["endpoints"]
        if end["interface"] == "internal"
    ]
    if "service" in config and not ends:
        raise NotYetError(f"the catalogue has no {config['service']} service yet")
    return token, ends[0]["url"] if ends else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
