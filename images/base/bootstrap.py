#!/usr/bin/env python3
"""What runs first in every container: make ready what /etc/osbox/bootstrap.toml asks for, then become the service.

    bootstrap COMMAND…      wait, write secrets' fragments, prepare, migrate, exec COMMAND
    bootstrap health        ask the service for something that needs its database or its bus; exit 0 when it answers

bootstrap.toml, all parts optional (docs/images.md):
    directories = ["/path"]            made when absent, on a volume
    wait = ["mysql:3306"]              addresses that must accept a connection; http://… ones must answer below 500
    wait_files = ["/path"]             files that another container writes
    [[file]]    path, text             written to tmpfs; {name} stands for the secret /run/secrets/name, ${NAME} for the environment
    [prepare]   directory, marker, commands        fill an empty volume once; a half-filled one is emptied and filled again
    [identity]  user, service          wait until Keystone lets the user in and its catalogue has the service
    [migrate]   project, commands, environment     under a database lock, once for each version of the software
    [schema]    project                wait until another container has migrated it to this very version
    [health]    url | command | tcp, user, expect

Standard library only (pymysql of the OpenStack images is imported where a lock is asked for). Failing, it prints one line and exits 1.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import string
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

CONFIG = Path(os.environ.get("OSBOX_BOOTSTRAP", "/etc/osbox/bootstrap.toml"))
SECRETS = Path(os.environ.get("OSBOX_SECRETS", "/run/secrets"))
RUN = Path(os.environ.get("OSBOX_RUN", "/run/osbox"))
LOCK_FILE = Path("/opt/openstack/requirements.lock")
# Passwords end up in URLs and INI files: characters that need quoting in either are refused, not half-quoted.
SAFE = re.compile(r"^[A-Za-z0-9_.~-]+$")
POLL_SECONDS = 0.25


class Failure(Exception):
    """One line for the log: what happened; what to do."""


def say(text: str) -> None:
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    try:
        config = tomllib.loads(CONFIG.read_text()) if CONFIG.exists() else {}
        if argv == ["health"]:
            return health(config.get("health", {}))
        if not argv:
            raise Failure("no command to run; the image's CMD names one")
        make_ready(config)
    except Failure as error:
        say(str(error))
        return 1
    except tomllib.TOMLDecodeError as error:
        say(f"{CONFIG}: {error}")
        return 1
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - this is what bootstrap is for
    except OSError as error:
        say(f"cannot run {argv[0]}: {error.strerror}; it is not in this image's PATH")
        return 127


def make_ready(config: dict) -> None:
    deadline = time.monotonic() + float(os.environ.get("OSBOX_WAIT_SECONDS", "180"))
    for file in config.get("file", []):
        write_file(Path(file["path"]), expand(file["text"]))
    if "prepare" in config:
        prepare(config["prepare"])
    for path in config.get("directories", []):
        Path(path).mkdir(parents=True, exist_ok=True)
    for path in config.get("wait_files", []):
        wait_for(f"the file {path}", lambda path=path: Path(path).exists() or "it is not there", deadline)
    for address in config.get("wait", []):
        wait_for(address, lambda address=address: connects(address), deadline)
    if "identity" in config:
        wait_for(f"Keystone's user {config['identity']['user']}", lambda: can_log_in(config["identity"]), deadline)
    if "migrate" in config:
        migrate(config["migrate"], deadline)
    if "schema" in config:
        project = config["schema"]["project"]
        wait_for(f"the database schema of {project}", lambda: migrated(project) or "it is not migrated yet", deadline)


# --- secrets ---------------------------------------------------------------------------------------------------------

def secret(name: str) -> str:
    try:
        value = (SECRETS / name).read_text().strip()
    except FileNotFoundError:
        raise Failure(f"the secret {name} is missing; mount a file with it as {SECRETS / name}") from None
    except PermissionError:
        raise Failure(f"the secret {name} cannot be read by uid {os.getuid()}; chown {os.getuid()} it on the host") from None
    if not SAFE.match(value):
        raise Failure(f"the secret {name} is empty or has characters other than letters, digits and _.~-")
    return value


def expand(text: str) -> str:
    """{name} is a secret, ${NAME} a variable of the environment."""
    try:
        text = string.Template(text).substitute(os.environ)
    except KeyError as error:
        raise Failure(f"the variable {error.args[0]} is not set; the Compose file sets it") from None
    return re.sub(r"\{([a-z][a-z0-9-]*)\}", lambda match: secret(match[1]), text)


def write_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text.lstrip("\n"))


# --- waiting ---------------------------------------------------------------------------------------------------------

def wait_for(what: str, ready, deadline: float) -> None:
    """Poll until ready() is True; any other answer is the reason that is told when the deadline passes."""
    begin = time.monotonic()
    told = begin
    while (answer := ready()) is not True:
        now = time.monotonic()
        if now >= deadline:
            raise Failure(f"{what} was not ready within {now - begin:.0f} s: {answer}; look at its own log")
        if now - told >= 10:  # noqa: PLR2004 - seconds between two lines in the log
            say(f"waiting for {what}: {answer}")
            told = now
        time.sleep(POLL_SECONDS)


def connects(address: str):
    """True when the address accepts a connection. A gunicorn does so before its application is loaded: ask that over HTTP."""
    if address.startswith("http://"):
        try:
            urllib.request.urlopen(address, timeout=30).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            return error.code < 500 or str(error)  # noqa: PLR2004 - server errors
        except OSError as error:
            return str(error)
        return True
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except OSError as error:
        return error.strerror or str(error)


def can_log_in(config: dict):
    try:
        authenticate(config)
    except (OSError, Failure) as error:
        return str(error)
    return True


# --- volumes and schemas ---------------------------------------------------------------------------------------------

def prepare(config: dict) -> None:
    """Fill a volume once. The marker is written last, so what a kill left half-done is begun anew."""
    directory, marker = Path(config["directory"]), Path(config["directory"]) / config["marker"]
    if marker.exists():
        return
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for command in config["commands"]:
        run(command)
    marker.touch()


def run(command: list[str], environment: dict[str, str] | None = None, accepted: tuple[int, ...] = (0,)) -> None:
    begin = time.monotonic()
    env = {**os.environ, **{name: expand(text) for name, text in (environment or {}).items()}}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in accepted:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        sys.stderr.write("".join(f"{line}\n" for line in lines[-40:]))
        raise Failure(f"{' '.join(command[:3])} failed with exit code {done.returncode}; its last lines stand above")
    say(f"{' '.join(command[:3])} took {time.monotonic() - begin:.1f} s")


def versions() -> str:
    """The locked versions in this image, as a short hash."""
    return hashlib.sha256(LOCK_FILE.read_bytes() if LOCK_FILE.exists() else b"").hexdigest()[:16]


def fingerprint(config: dict) -> str:
    """What a schema is current for: the locked versions and the commands that migrate it."""
    return versions() + hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def database():
    import pymysql  # noqa: PLC0415 - only the OpenStack images have it

    return pymysql.connect(host="mysql", user="osbox", password=secret("db-osbox"), database="osbox", autocommit=True, connect_timeout=5)


def migrate(config: dict, deadline: float) -> None:
    """Run the migration commands under a database lock unless this version has already run them."""
    project, wanted = config["project"], fingerprint(config)
    with connected(deadline) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, %s)", (f"osbox-{project}", max(1, int(deadline - time.monotonic()))))
        if cursor.fetchone()[0] != 1:
            raise Failure(f"another container has held the migration lock of {project} for too long; look at its log")
        cursor.execute("SELECT fingerprint FROM migrated WHERE project = %s", (project,))
        if cursor.fetchone() == (wanted,):
            return
        for entry in config["commands"]:
            run(entry["run"], entry.get("environment"), tuple(entry.get("accept", [0])))
        cursor.execute("REPLACE INTO migrated VALUES (%s, %s)", (project, wanted))


def connected(deadline: float):
    state: dict = {}

    def attempt():
        try:
            state["connection"] = database()
        except Exception as error:  # noqa: BLE001 - any answer of the driver is the reason to tell
            return str(error)
        return True

    wait_for("the database", attempt, deadline)
    return state["connection"]


def migrated(project: str):
    """True once the project's schema is current for the versions in this image."""
    try:
        with database() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT fingerprint FROM migrated WHERE project = %s", (project,))
            row = cursor.fetchone()
            return row is not None and row[0].startswith(versions())
    except Exception as error:  # noqa: BLE001
        return str(error)


# --- health ----------------------------------------------------------------------------------------------------------

def health(config: dict) -> int:
    """0 when the service gave the expected answer; prints what it saw, which `docker inspect` keeps."""
    try:
        if "command" in config:
            done = subprocess.run(config["command"], capture_output=True, text=True, timeout=15, check=False)  # noqa: S603
            answer = done.stdout + done.stderr if done.returncode == 0 else ""
            detail = (done.stdout + done.stderr).strip()
        elif "tcp" in config:
            answer = detail = ask(config["tcp"], config["send"])
        else:
            answer = detail = fetch(config)
    except (OSError, urllib.error.URLError, ValueError, KeyError, subprocess.TimeoutExpired, Failure) as error:
        print(f"unhealthy: {error}")
        return 1
    good = config.get("expect", "") in answer if answer or "command" not in config else False
    print("healthy" if good else f"unhealthy: {detail[-300:]}")
    return 0 if good else 1


def ask(address: str, text: str) -> str:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(text.encode())
        return connection.recv(4096).decode(errors="replace")


def fetch(config: dict) -> str:
    """GET the url, with a token of the service's own user when one is named; the token is kept until it is refused."""
    url, status = string.Template(config["url"]).substitute(os.environ), config.get("status", 200)
    if "user" not in config:
        return get(url, "", status)
    kept = RUN / "health-token"
    if kept.exists():
        try:
            token, _, base = kept.read_text().partition(" ")
            return get(base + url, token, status)
        except urllib.error.HTTPError as error:
            if error.code != 401:  # noqa: PLR2004 - Unauthorized: the token has expired
                raise
    token, base = authenticate(config)
    write_file(kept, f"{token} {base}")
    return get(base + url, token, status)


def get(url: str, token: str, status: int) -> str:
    headers = {"X-Auth-Token": token, "X-OpenStack-Ironic-API-Version": "1.80"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the image's own configuration names it
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.read(100_000).decode(errors="replace")
    except urllib.error.HTTPError as error:
        if error.code != status:
            raise
        return str(error)


def authenticate(config: dict) -> tuple[str, str]:
    """A token, and the address of the service that the url is relative to ("" when the url is whole)."""
    password = secret(config.get("secret", f"service-{config['user']}"))
    scope = {"system": {"all": True}} if config.get("system") else {"project": {"name": "service", "domain": {"id": "default"}}}
    user = {"name": config["user"], "domain": {"id": "default"}, "password": password}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    url = os.environ.get("OSBOX_KEYSTONE", "http://keystone:5000") + "/v3/auth/tokens"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        token, catalog = answer.headers["X-Subject-Token"], json.load(answer)["token"].get("catalog", [])
    if "service" not in config:
        return token, ""
    found = [end["url"] for entry in catalog if entry["type"] == config["service"]
             for end in entry["endpoints"] if end["interface"] == "internal"]  # fmt: skip
    if not found:
        raise Failure(f"the catalogue has no {config['service']} service yet")
    return token, found[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
