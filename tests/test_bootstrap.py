"""bootstrap, the first process of every container, run for real: its own directories, sockets on 127.0.0.1, a
made-up database."""

import http.server
import json
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from osbox import run
from tests.conftest import PROJECT

PROGRAM = PROJECT / "images" / "base" / "bootstrap.py"

# A database as the driver shows it: what it holds stands in a file; every query is written down.
PYMYSQL = """
import json, os, pathlib
STATE = pathlib.Path(os.environ["DATABASE"])
class MySQLError(Exception): pass
class Connection:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def cursor(self): return self
    def execute(self, query, values):
        state = json.loads(STATE.read_text())
        state["queries"].append(query.split()[0])
        if state.get("error"): raise MySQLError(1146, state["error"])
        if "GET_LOCK" in query: self.row = (state.get("lock", 1),)
        elif query.startswith("SELECT"): self.row = state["migrated"].get(values[0]) and (state["migrated"][values[0]],)
        else: state["migrated"][values[0]] = values[1]
        STATE.write_text(json.dumps(state))
    def fetchone(self): return self.row
def connect(**options):
    if not STATE.exists(): raise MySQLError(2003, "Can't connect to the server")
    assert options["password"] == "pw-of-db"
    return Connection()
"""  # noqa: E501


class Box:
    """Where one bootstrap runs: its configuration, secrets and files."""

    def __init__(self, top: Path) -> None:
        self.top, self.secrets, self.run_dir, self.state = (
            top,
            top / "secrets",
            top / "run",
            top / "database.json",
        )
        for path in (self.secrets, self.run_dir, top / "modules"):
            path.mkdir()
        (top / "modules" / "pymysql.py").write_text(PYMYSQL)
        self.secret("db-osbox", "pw-of-db")
        self.env = {
            "OSBOX_BOOTSTRAP": str(top / "bootstrap.toml"),
            "OSBOX_SECRETS": str(self.secrets),
            "OSBOX_RUN": str(self.run_dir),
            "OSBOX_WAIT_SECONDS": "0.6",
            "PYTHONPATH": str(top / "modules"),
            "DATABASE": str(self.state),
        }

    def secret(self, name: str, text: str) -> None:
        (self.secrets / name).write_text(text)

    def database(self, **state: object) -> None:
        self.state.write_text(json.dumps({"queries": [], "migrated": {}, **state}))

    def __call__(self, config: str, *command: str, **env: str) -> run.Result:
        (self.top / "bootstrap.toml").write_text(config.replace("TOP", str(self.top)))
        return run.run(
            [sys.executable, str(PROGRAM), *(command or ["echo", "started"])],
            check=False,
            env={**self.env, **env},
            timeout=30,
        )

    def health(self, config: str) -> tuple[int, str]:
        result = self(f"[health]\n{config}", "health")
        assert result.err == ""
        return result.code, result.out.strip()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def says(result: run.Result, code: int, text: str) -> None:
    """It ended with that code and exactly one line, which holds the text."""
    assert result.code == code
    assert "started" not in result.out
    [line] = result.err.splitlines()
    assert line.startswith("bootstrap: ")
    assert text in line


def file(text: str) -> str:
    return f'[[file]]\npath = "TOP/made/secrets.conf"\ntext = """\n{text}\n"""\n'


class Server(http.server.ThreadingHTTPServer):
    """Answers from a table of path → (status, body); Keystone's tokens are counted, only the newest is
    good."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, str]] = {}
        self.tokens = 0
        self.calls: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.calls.append(self.path)
        status, body = self.server.answers.get(self.path, (404, "nothing here"))
        if self.path.startswith("/guarded") and self.headers["X-Auth-Token"] != f"token-{self.server.tokens}":
            status, body = 401, "who are you"
        self.answer(status, body)

    def do_POST(self) -> None:
        auth = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["auth"]
        user = auth["identity"]["password"]["user"]
        self.server.calls.append(f"{self.path} {user['name']} {sorted(auth['scope'])[0]}")
        if user["password"] != "pw-of-service":
            self.answer(401, "wrong password")
            return
        self.server.tokens += 1
        ends = [
            {"interface": "public", "url": "http://nowhere"},
            {"interface": "internal", "url": f"{self.server.url}/guarded"},
        ]
        self.answer(
            201,
            json.dumps({"token": {"catalog": [{"type": "placement", "endpoints": ends}]}}),
            f"token-{self.server.tokens}",
        )

    def answer(self, status: int, body: str, token: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def web() -> Iterator[Server]:
    with serving(Server()) as server:
        yield server


# --- becoming the service
# --------------------------------------------------------------------------------


def test_it_becomes_the_command(box: Box) -> None:
    result = box("", "sh", "-c", "echo started $0 $$", "with-arguments")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("started with-arguments")
    assert box("", "sh", "-c", "exit 7").code == 7


def test_a_missing_program_is_127(box: Box) -> None:
    says(
        box("", "no-such-program"),
        127,
        "cannot run no-such-program: No such file or directory; it is not in this image's PATH",
    )


def test_no_command(box: Box) -> None:
    (box.top / "bootstrap.toml").write_text("")
    says(run.run([sys.executable, str(PROGRAM)], check=False, env=box.env), 1, "no command to run")


DEFECTS = {
    "no TOML": ("wait = [", "bootstrap.toml: "),
    "a part that is missing": ('[[file]]\npath = "TOP/x"\n', "KeyError: 'text'"),
    "no port": ('wait = ["mysql"]', "ValueError: "),
    "a directory that cannot be": ('directories = ["/dev/null/x"]', "NotADirectoryError: "),
    "a program that is missing": (
        '[prepare]\ndirectory = "TOP/run"\nmarker = "m"\ncommands = [["no-such-program"]]',
        "No such file",
    ),
}


@pytest.mark.parametrize(("config", "text"), DEFECTS.values(), ids=DEFECTS.keys())
def test_whatever_fails_is_one_line(box: Box, config: str, text: str) -> None:
    says(box(config), 1, text)


def test_directories_are_made_once(box: Box) -> None:
    for _ in range(2):
        assert box('directories = ["TOP/a/b", "TOP/c"]').code == 0
    assert (box.top / "a" / "b").is_dir()


# --- secrets
# --------------------------------------------------------------------------------


def test_a_fragment_holds_the_secret_and_only_its_user_reads_it(box: Box) -> None:
    box.secret("db-nova", "s3cret.~_-\n")
    fragment = box.top / "made" / "secrets.conf"
    fragment.parent.mkdir()
    fragment.write_text("readable by all, of an earlier start")
    fragment.chmod(0o644)
    result = box(
        file("[database]\nconnection = mysql://nova:{db-nova}@${HOST}/nova {Not} $${X}"), HOST="mysql"
    )
    assert (result.code, result.err) == (0, "")
    assert fragment.read_text() == "[database]\nconnection = mysql://nova:s3cret.~_-@mysql/nova {Not} ${X}\n"
    assert stat.S_IMODE(fragment.stat().st_mode) == 0o600
    assert [path.name for path in fragment.parent.iterdir()] == ["secrets.conf"]


def test_a_missing_secret(box: Box) -> None:
    says(
        box(file("{db-nova}")),
        1,
        f"the secret db-nova is missing; mount a file with it as {box.secrets}/db-nova",
    )


@pytest.mark.parametrize("value", ["", "with space", "a#b", "a/b", "two\nlines", 'a"b'])
def test_an_unsafe_secret_is_refused_and_not_shown(box: Box, value: str) -> None:
    box.secret("db-nova", value)
    result = box(file("{db-nova}"))
    says(result, 1, "the secret db-nova is empty or has characters other than")
    assert not value or value not in result.err


@pytest.mark.root
def test_an_unreadable_secret(box: Box) -> None:
    box.secret("db-nova", "x")
    (box.secrets / "db-nova").chmod(0o600)
    (box.top / "bootstrap.toml").write_text(file("{db-nova}").replace("TOP", str(box.top)))
    program = box.top / "bootstrap.py"
    program.write_bytes(PROGRAM.read_bytes())
    for path in [box.top, *box.top.parents]:
        if path.owner() == "root" and path not in map(Path, ("/", "/tmp")):
            path.chmod(0o755)
    python = Path("/usr/bin/python3")
    if not python.exists():
        pytest.skip("no Python that another user can run")
    argv = ["setpriv", "--reuid=42400", "--regid=42400", "--clear-groups", str(python), str(program), "true"]
    says(
        run.run(argv, check=False, env=box.env),
        1,
        "uid 42400 cannot read the secret db-nova; chown 42400 it on the host",
    )


def test_a_variable_that_is_not_set(box: Box) -> None:
    says(
        box(file("address=${OSBOX_NOTHING}")),
        1,
        "the variable OSBOX_NOTHING is not set; the Compose file sets it",
    )


# --- waiting
# --------------------------------------------------------------------------------


def test_a_deadline_says_what_and_why(box: Box) -> None:
    says(
        box('wait = ["127.0.0.1:1"]'),
        1,
        "127.0.0.1:1 was not ready within 1 s: Connection refused; look at its own log",
    )
    says(box('wait = ["http://127.0.0.1:1/"]'), 1, "Connection refused")
    says(box('wait_files = ["TOP/ring"]'), 1, "ring was not ready within 1 s: No such file or directory")


def test_it_waits_no_longer_than_needed(box: Box, web: Server) -> None:
    timer = threading.Timer(0.4, (box.top / "ring").touch)
    timer.start()
    begin = time.monotonic()
    address = web.url.removeprefix("http://")
    assert box(f'wait = ["{address}"]\nwait_files = ["TOP/ring"]', OSBOX_WAIT_SECONDS="20").out == "started\n"
    assert 0.4 <= time.monotonic() - begin < 10
    timer.join()


def test_it_ends_when_asked_to_while_it_waits(box: Box) -> None:
    (box.top / "bootstrap.toml").write_text(
        f'wait = ["127.0.0.1:1"]\n{file("made")}'.replace("TOP", str(box.top))
    )
    with run.spawn(
        [sys.executable, str(PROGRAM), "true"], env={**box.env, "OSBOX_WAIT_SECONDS": "60"}
    ) as process:
        deadline = time.monotonic() + 10
        while not list(box.top.rglob("*.conf")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=10) == 143


def test_over_http_a_server_error_is_not_ready(box: Box, web: Server) -> None:
    web.answers = {"/": (503, "loading")}
    says(box(f'wait = ["{web.url}/"]'), 1, "HTTP Error 503")
    web.answers = {"/": (401, "who are you")}
    assert box(f'wait = ["{web.url}/"]').out == "started\n"


def test_identity(box: Box, web: Server) -> None:
    config = '[identity]\nuser = "nova"\nservice = "{}"'
    says(box(config.format("placement"), OSBOX_KEYSTONE=web.url), 1, "the secret service-nova is missing")
    box.secret("service-nova", "wrong")
    says(
        box(config.format("placement"), OSBOX_KEYSTONE=web.url),
        1,
        "Keystone's user nova was not ready within 1 s: HTTP Error 401",
    )
    box.secret("service-nova", "pw-of-service")
    says(box(config.format("volume"), OSBOX_KEYSTONE=web.url), 1, "the catalogue has no volume service yet")
    assert box(config.format("placement"), OSBOX_KEYSTONE=web.url).out == "started\n"


# --- volumes and schemas
# --------------------------------------------------------------------------------

PREPARE = """
[prepare]
directory = "TOP/volume"
marker = ".installed"
commands = [["sh", "-c", "echo run >>TOP/runs"], ["sh", "-c", "mkdir TOP/volume/data && test ! -e TOP/broken"]]
"""  # noqa: E501


def test_an_interrupted_preparation_is_begun_anew(box: Box) -> None:
    volume, broken = box.top / "volume", box.top / "broken"
    volume.mkdir()
    broken.touch()
    failed = box(PREPARE)
    assert failed.code == 1
    assert failed.err.splitlines()[-1].endswith("failed with exit code 1; its last lines stand above")
    assert (volume / "data").is_dir()
    (volume / "link").symlink_to(box.secrets)
    broken.unlink()
    for _ in range(2):
        assert box(PREPARE).out == "started\n"
    assert sorted(path.name for path in volume.iterdir()) == [".installed", "data"]
    assert (box.top / "runs").read_text() == "run\n" * 2
    assert (box.secrets / "db-osbox").exists()


SOMEBODYS = {
    "a restore without the marker": ["data", "my.cnf"],
    "a file of its own": [".hidden"],
    "many": ["a", "b", "c", "d", "e", "f"],
}


@pytest.mark.parametrize("names", SOMEBODYS.values(), ids=SOMEBODYS)
def test_what_somebody_put_there_is_not_removed(box: Box, names: list[str]) -> None:
    volume = box.top / "volume"
    for name in names:
        (volume / name).mkdir(parents=True)
    said = box(PREPARE)
    says(said, 1, f"the volume at {volume} holds {', '.join(names[:5])}")
    assert said.err.endswith(f"a whole restore: touch {volume}/.installed\n"), "last, to copy as it stands"
    assert sorted(path.name for path in volume.iterdir()) == sorted(names)
    assert not (box.top / "runs").exists()
    (volume / ".installed").touch()
    assert box(PREPARE).out == "started\n"
    assert sorted(path.name for path in volume.iterdir()) == sorted([".installed", *names])


def test_a_disk_of_its_own_is_an_empty_volume(box: Box) -> None:
    (box.top / "volume" / "lost+found").mkdir(parents=True)
    assert box(PREPARE).out == "started\n"
    assert (box.top / "volume" / "lost+found").is_dir()


MIGRATE = """
[migrate]
project = "nova"
commands = [
    { run = ["sh", "-c", "echo migrated >>TOP/runs"] },
    { run = ["sh", "-c", "exit 2"], accept = [0, 2] },
]
"""


def test_a_schema_is_migrated_once(box: Box) -> None:
    box.database()
    for _ in range(2):
        assert box(MIGRATE).out == "started\n"
    assert (box.top / "runs").read_text() == "migrated\n"
    assert box('[schema]\nproject = "nova"').out == "started\n"


def test_a_revision_that_is_raised_runs_it_once_more(box: Box) -> None:
    """For clouds of the same version, when `then` writes something new."""
    box.database()
    assert box(MIGRATE).out == "started\n"
    for _ in range(2):
        assert box(f"{MIGRATE}revision = 2\n").out == "started\n"
    assert (box.top / "runs").read_text() == "migrated\n" * 2


@pytest.mark.parametrize(("code", "runs"), [(0, "then\n"), (3, "migrated\nthen\n")])
def test_a_schema_that_was_prepared_is_not_migrated(box: Box, code: int, runs: str) -> None:
    program = box.top / "osbox-schema"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    box.database()
    then = 'databases = ["nova"]\nthen = [{ run = ["sh", "-c", "echo then >>TOP/runs"] }]\n'
    assert box(MIGRATE + then, PATH=f"{box.top}:{os.environ['PATH']}").out == "started\n"
    assert (box.top / "runs").read_text() == runs


def test_when_only_the_schema_is_wanted_nothing_else_is_waited_for(box: Box) -> None:
    box.database()
    config = f'wait = ["127.0.0.1:1"]\n{MIGRATE}'
    assert box(config, OSBOX_SCHEMA="only").out == "started\n"
    says(box(config), 1, "127.0.0.1:1 was not ready")


def test_a_schema_of_another_version_is_waited_for(box: Box) -> None:
    box.database(migrated={"nova": "of another version"})
    says(
        box('[schema]\nproject = "nova"'),
        1,
        "the database schema was not ready within 1 s: nova has not migrated it yet",
    )
    assert box(MIGRATE).out == "started\n"


def test_a_failed_migration_is_not_written_down(box: Box) -> None:
    box.database()
    failed = box(MIGRATE.replace("[0, 2]", "[0]").replace("exit 2", "echo why; exit 2"))
    assert failed.code == 1
    assert failed.err.splitlines()[-2:] == [
        "why",
        "bootstrap: sh -c echo why; exit 2 failed with exit code 2; its last lines stand above",
    ]
    assert json.loads(box.state.read_text())["migrated"] == {}


def test_the_database_s_errors_are_one_line(box: Box) -> None:
    says(
        box(MIGRATE),
        1,
        "the database was not ready within 1 s: the database says: Can't connect to the server",
    )
    box.database(lock=0)
    says(box(MIGRATE), 1, "another container has held the migration lock of nova for too long")
    box.database(error="Table 'osbox.migrated' doesn't exist")
    says(box(MIGRATE), 1, "the database says: Table 'osbox.migrated' doesn't exist")
    says(box('[schema]\nproject = "nova"'), 1, "Table 'osbox.migrated' doesn't exist")


# --- health
# --------------------------------------------------------------------------------

COMMANDS = {
    "well": ('command = ["echo", "fine"]', 0, "healthy"),
    "as expected": ('command = ["echo", "fine"]\nexpect = "ine"', 0, "healthy"),
    "not as expected": ('command = ["echo", "bad"]\nexpect = "fine"', 1, "unhealthy: bad"),
    "failed": ('command = ["sh", "-c", "echo why >&2; exit 1"]', 1, "unhealthy: why"),
    "failed, and says what is expected": (
        'command = ["sh", "-c", "echo fine; exit 1"]\nexpect = "fine"',
        1,
        "unhealthy: fine",
    ),
    "failed without a word": ('command = ["false"]', 1, "unhealthy: exit code 1"),
    "missing": (
        'command = ["no-such-program"]',
        1,
        "unhealthy: [Errno 2] No such file or directory: 'no-such-program'",
    ),
    "no server": ('tcp = "127.0.0.1:1"\nsend = "x"', 1, "unhealthy: [Errno 111] Connection refused"),
    "no configuration": ("", 1, "unhealthy: 'url'"),
}


@pytest.mark.parametrize(("config", "code", "text"), COMMANDS.values(), ids=COMMANDS.keys())
def test_health(box: Box, config: str, code: int, text: str) -> None:
    assert box.health(config) == (code, text)


def test_health_over_tcp(box: Box, web: Server) -> None:
    ask = f'tcp = "127.0.0.1:{web.server_port}"\nsend = "GET / HTTP/1.0\\r\\n\\r\\n"\n'
    assert box.health(ask + 'expect = "404"') == (0, "healthy")
    code, text = box.health(ask + 'expect = "AMQP"')
    assert (code, text.startswith("unhealthy: ")) == (1, True)


def test_health_over_http(box: Box, web: Server) -> None:
    web.answers = {"/fine": (200, "ok"), "/bad": (503, "overloaded")}
    assert box.health(f'url = "{web.url}/fine"\nexpect = "ok"') == (0, "healthy")
    assert box.health(f'url = "{web.url}/fine"\nexpect = "no"') == (1, "unhealthy: ok")
    assert box.health(f'url = "{web.url}/bad"') == (1, "unhealthy: HTTP Error 503: Service Unavailable")
    # Swift's servers are asked for what is not there: a disk that is gone answers 507 instead.
    absent = 'status = 404\nexpect = "404"'
    assert box.health(f'url = "{web.url}/nothing"\n{absent}') == (0, "healthy")
    assert box.health(f'url = "{web.url}/fine"\n{absent}') == (1, "unhealthy: ok")


def test_a_token_is_kept_and_renewed_when_it_is_refused(box: Box, web: Server) -> None:
    box.env["OSBOX_KEYSTONE"] = web.url
    box.secret("service-nova", "pw-of-service")
    web.answers = {"/guarded/os-services": (200, '"state": "up"')}
    config = 'url = "/os-services"\nuser = "nova"\nservice = "placement"\nexpect = "up"'
    for _ in range(2):
        assert box.health(config) == (0, "healthy")
    assert web.calls == ["/v3/auth/tokens nova project", "/guarded/os-services", "/guarded/os-services"]
    kept = box.run_dir / "health-token"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    web.tokens += 1  # the token that is kept is no longer the newest
    assert box.health(config) == (0, "healthy")
    assert web.calls[-3:] == ["/guarded/os-services", "/v3/auth/tokens nova project", "/guarded/os-services"]
    web.answers = {"/guarded/os-services": (500, "the database is gone")}
    assert box.health(config) == (1, "unhealthy: HTTP Error 500: Internal Server Error")
    assert web.calls[-1] == "/guarded/os-services"


def test_health_as_an_administrator_of_the_system(box: Box, web: Server) -> None:
    box.env["OSBOX_KEYSTONE"] = web.url
    box.secret("admin-password", "pw-of-service")
    web.answers = {"/guarded/services": (200, "[]")}
    config = f'url = "{web.url}/guarded/services"\nuser = "admin"\nsecret = "admin-password"\nsystem = true'
    assert box.health(config) == (0, "healthy")
    assert web.calls[0] == "/v3/auth/tokens admin system"
