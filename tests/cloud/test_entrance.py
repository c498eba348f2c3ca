"""The entrance: its files say what the rest of the project says of the APIs; how services behind it end."""

import os
import re
import runpy
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from osbox import run, waiting
from osbox.cloud import entrance, stack
from osbox.cloud.changes import Change, Live
from osbox.cloud.plan import Plan
from osbox.cloud.services import APIS, FRONT, PORTS
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Paths, Site
from osbox.tls import store
from tests import background
from tests.home import PROJECT

STACK = yaml.safe_load((PROJECT / "compose" / "stack.yaml").read_text())["services"]


def test_every_api_has_a_part_of_its_own() -> None:
    text = (PROJECT / "images" / "front" / "apis.cfg").read_text()
    found = re.findall(
        r"frontend (\S+) from clients\n  bind :(\d+)\n"
        r'.if streq\("\$\{FRONT_TLS\}",""\)\n  bind :(\d+)\n.endif\n'
        r"  default_backend \1\nbackend \1 from services\n  server \1 \1:\2\n",
        text,
    )
    assert found == [(api.service, str(api.port), str(api.port + 10_000)) for api in APIS]
    doors = re.findall(r"^  bind :(\d+)$", text.partition("frontend gate ")[2], re.MULTILINE)
    assert doors == [outside for *_, outside in found]
    ways = re.findall(
        r"^  use_backend (\S+)-door if \{ req.ssl_hello_type 1 \} \{ dst_port (\d+) \}$", text, re.MULTILINE
    )
    assert ways == [(service, outside) for service, _, outside in found]
    behind = re.findall(
        r"^backend (\S+)-door from doors\n  server \1 abns@\1 send-proxy-v2 maxconn 400\n"
        r'frontend \1-tls from clients\n  bind abns@\1 accept-proxy ssl crt "\$\{FRONT_TLS\}" alpn http/1.1\n'
        r"(?:  http-re\S+ .*\n)+  default_backend \1$",
        text,
        re.MULTILINE,
    )
    assert behind == [service for service, *_ in found]


def test_what_is_published_is_what_may_speak_tls() -> None:
    for file in ("stack.yaml", "listen.yaml"):
        front = yaml.safe_load((PROJECT / "compose" / file).read_text())["services"][FRONT]
        pairs = [port.split(":")[-2:] for port in front["ports"]]
        assert {int(inside) for _, inside in pairs} == {api.port + 10_000 for api in APIS}
        assert all(int(inside) in (int(outside) + 10_000, 15_000) for outside, inside in pairs)


def test_nobody_else_publishes_an_api() -> None:
    numbers = {
        service: {int(port.split(":")[-2]) for port in config.get("ports", []) if not port.endswith("udp")}
        for service, config in STACK.items()
    }
    assert {service: found for service, found in numbers.items() if found} == {
        service: set(found) for service, found in PORTS.items()
    }


def test_listen_is_for_all_of_them() -> None:
    overlay = yaml.safe_load((PROJECT / "compose" / "listen.yaml").read_text())["services"]
    assert list(overlay) == [FRONT]
    assert {int(port.split(":")[-2]) for port in overlay[FRONT]["ports"]} == set(PORTS[FRONT])


def test_who_calls_an_api_calls_the_entrance() -> None:
    """All but those that call none; who shares another's network, or has none, calls none either."""
    none = {"mysql", "rabbitmq", "memcached", "keystone-cache", "autodns", FRONT, "ipxe-httpd", "pxe-tftp"}
    none |= {"swift-account", "swift-container", "swift-object", "swift-daemons", "neutron-network"}
    hosts = {
        service: set(config["extra_hosts"]) for service, config in STACK.items() if "extra_hosts" in config
    }
    assert all(found == {api.service for api in APIS} for found in hosts.values())
    shared = {service for service, config in STACK.items() if "network_mode" in config}
    assert set(hosts) == set(STACK) - none - shared


# --- one after the other


def live(service: str, state: str = "running") -> Live:
    return Live(service, "c", state, "", "", "", 0)


def test_only_apis_that_run_are_replaced_one_after_the_other() -> None:
    kinds = {
        "ironic-api": "recreate",
        "keystone": "recreate",
        "nova-compute": "recreate",
        "placement": "create",
        "glance-api": "recreate",
    }
    changes = tuple(Change("container", name, action) for name, action in kinds.items())  # type: ignore[arg-type]
    here = {name: live(name) for name in kinds if name != "placement"} | {
        "glance-api": live("glance-api", "exited"),
        FRONT: live(FRONT),
    }
    assert stack.one_after_the_other(Plan(changes, {}, {}, here, rack=False)) == ["keystone", "ironic-api"]
    before = {name: item for name, item in here.items() if name != FRONT}
    assert stack.one_after_the_other(Plan(changes, {}, {}, before, rack=False)) == [], "nothing would be held"


def test_what_the_apis_stand_on_comes_before_them() -> None:
    kinds = {"keystone": "recreate", "mysql": "start", "rabbitmq": "recreate", "nova-compute": "recreate"}
    changes = tuple(Change("container", name, action) for name, action in kinds.items())  # type: ignore[arg-type]
    todo = Plan((*changes, Change("volume", "mysql-data", "create")), {}, {}, {}, rack=False)
    assert stack.beneath(todo) == ["mysql", "rabbitmq"]


# --- Swift's end


def names() -> str:
    """A server's name that no other process has, of the 15 letters that the kernel keeps: the tests run side
    by side, and what a server's worker is called tells that it is one."""
    return f"sw{uuid.uuid4().hex[:13]}"


SERVER = """#!/bin/sh
# As Swift: a parent, and a worker that finishes after its parent has left.
trap 'touch TOP/asked; exit 0' HUP
( trap '' HUP; exec TOP/NAME-worker ) &
touch TOP/up
while :; do sleep 0.05; done
"""


def test_swifts_end_waits_for_the_last_worker(tmp_path: Path) -> None:
    server = tmp_path / names()
    server.write_text(SERVER.replace("TOP", str(tmp_path)).replace("NAME", server.name))
    # The kernel keeps 15 letters of a name: the worker is called as its parent is.
    worker = tmp_path / f"{server.name}-worker"
    worker.write_text(f"#!/bin/sh\nsleep 1.2\ntouch {tmp_path}/finished\n")
    for file in (server, worker):
        file.chmod(0o755)
    program = PROJECT / "images" / "swift" / "graceful"
    with subprocess.Popen([program, server]) as process:
        assert waiting.happens((tmp_path / "up").exists, 10, poll=0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert (tmp_path / "asked").exists(), "SIGTERM was passed on as SIGHUP"
    assert (tmp_path / "finished").exists(), "the worker had time to finish"


HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
CONNECTION = (
    "   0: 0100007F:1F90 0100007F:C350 {state} {queue}:00000000 00:00000000 00000000     0        0 1 1\n"
)
TABLES = {
    "none": ("", False),
    "all is sent": (CONNECTION.format(state="01", queue="00000000"), False),
    "a part is not": (CONNECTION.format(state="01", queue="00025A00"), True),
    "closed, a part is not": (CONNECTION.format(state="04", queue="00025A00"), True),
    "closed, only its end is not acknowledged": (CONNECTION.format(state="04", queue="00000001"), False),
    "of a client of another's": (
        CONNECTION.format(state="01", queue="00025A00").replace(":1F90", ":A1F9"),
        False,
    ),
    "waits for connections": (CONNECTION.format(state="0A", queue="00000010"), False),
    "was ended by the peer": (CONNECTION.format(state="06", queue="00000001"), False),
}


@pytest.mark.parametrize(("lines", "waits"), TABLES.values(), ids=TABLES.keys())
def test_an_end_waits_for_what_the_kernel_has_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, waits: bool
) -> None:
    """The last 400 KB of a download were lost with the container's network."""
    monkeypatch.setenv("OSBOX_WSGI", "x:y")
    monkeypatch.setenv("OSBOX_PORT", "1")
    gunicorn = runpy.run_path(str(PROJECT / "images" / "base" / "gunicorn.conf.py"))
    assert bool(gunicorn["unsent"](HEADING + lines, 8080)) == waits
    table, server = tmp_path / "tcp", tmp_path / names()
    table.write_text(HEADING + lines)
    server.write_text("#!/bin/sh\ntrap 'exit 0' HUP\ntouch up\nwhile :; do sleep 0.05; done\n")
    server.chmod(0o755)
    program = PROJECT / "images" / "swift" / "graceful"
    with subprocess.Popen([program, server], env={**os.environ, "TCP": str(table)}, cwd=tmp_path) as process:
        assert waiting.happens((tmp_path / "up").exists, 10, poll=0.02)
        process.send_signal(signal.SIGTERM)
        if waits:
            time.sleep(0.6)
            assert process.poll() is None
            table.write_text(HEADING)
        assert process.wait(15) == 0


@pytest.mark.parametrize(
    ("application", "booted", "ends"),
    [
        ("neutron.wsgi.api:application", True, [0]),
        ("neutron.wsgi.api:application", False, []),
        ("x:y", True, []),
    ],
)
def test_neutrons_worker_ends_without_the_database(
    monkeypatch: pytest.MonkeyPatch, application: str, booted: bool, ends: list[int]
) -> None:
    """At its end it tried for two minutes to write to one that had ended beside it. One that did not come up
    keeps its own code, by which the master knows."""
    monkeypatch.setenv("OSBOX_WSGI", application)
    monkeypatch.setenv("OSBOX_PORT", "1")
    gunicorn = runpy.run_path(str(PROJECT / "images" / "base" / "gunicorn.conf.py"))
    ended = list[int]()
    monkeypatch.setattr(os, "_exit", ended.append)
    gunicorn["worker_exit"](None, SimpleNamespace(booted=booted))
    assert ended == ends


def test_told_to_end_before_it_knows_its_server(tmp_path: Path) -> None:
    """The signal of a container that is stopped at once came before the number of the child was kept."""
    server = tmp_path / names()
    server.write_text("#!/bin/sh\ntrap 'exit 0' HUP\nkill -TERM $PPID\nwhile :; do sleep 0.05; done\n")
    server.chmod(0o755)
    program = PROJECT / "images" / "swift" / "graceful"
    for _ in range(10):
        assert subprocess.run([program, server], check=False, timeout=10).returncode == 0


@pytest.mark.parametrize("code", [0, 3])
def test_a_server_that_ends_by_itself_is_the_end(tmp_path: Path, code: int) -> None:
    server = tmp_path / names()
    server.write_text(f"#!/bin/sh\nexit {code}\n")
    server.chmod(0o755)
    done = subprocess.run(
        [PROJECT / "images" / "swift" / "graceful", server], check=False, timeout=10, env={**os.environ}
    )
    assert done.returncode == code


# --- the certificate that is shown

SITE = Site.model_validate({"loopback": "127.0.29.178", "tls": True})


class Shown:
    """Who speaks TLS at Keystone's address, with the certificate that it was told of last."""

    def __init__(self, file: Path) -> None:
        self.file, self.asked = file, list[tuple[str, ...]]()
        self.takes = True
        self.load()

    def load(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        self.context = context

    def ask(self, _: object, *words: str, check: bool) -> run.Result:
        assert not check
        self.asked.append(words)
        if self.takes:
            self.load()
        return run.Result(0 if self.takes else 1, "", "unable to load certificate")

    @contextmanager
    def serving(self) -> Iterator[None]:
        with socket.create_server((str(SITE.loopback), 0)) as listening:
            entrance.PORT = listening.getsockname()[1]
            listening.settimeout(0.05)

            def serve() -> None:
                with suppress(OSError):
                    link, _ = listening.accept()
                    with link, self.context.wrap_socket(link, server_side=True) as spoken:
                        spoken.recv(1)

            with background.busy(serve):
                yield


@pytest.fixture
def front(own_user: None, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Shown:
    store.ensure(paths, SITE, store.names_here(SITE), datetime.now(UTC))
    made = Shown(paths.tls / "front" / "front.pem")
    monkeypatch.setattr(docker, "ask", made.ask)
    monkeypatch.setattr(entrance, "PORT", 1)  # where nobody listens
    return made


def test_the_entrance_follows_its_file(paths: Paths, front: Shown) -> None:
    at = Engine("private", "26")
    with front.serving():
        assert not entrance.follow(paths, SITE, at)
        store.ensure(paths, SITE, store.names_here(SITE), datetime.now(UTC), anew=True)
        assert entrance.follow(paths, SITE, at)
        assert front.asked == [("exec", f"front.{SITE.name}", "front-renew")]
        assert not entrance.follow(paths, SITE, at)


def test_an_entrance_that_takes_no_certificate_is_told(paths: Paths, front: Shown) -> None:
    front.takes = False
    with front.serving():
        store.ensure(paths, SITE, store.names_here(SITE), datetime.now(UTC), anew=True)
        with pytest.raises(Error, match="does not show the certificate") as caught:
            entrance.follow(paths, SITE, Engine("private", "26"))
    assert "unable to load" in caught.value.evidence


def test_an_entrance_that_is_away_is_no_matter_of_certificates(paths: Paths, front: Shown) -> None:
    assert not entrance.spoken(SITE).tls
    assert not entrance.follow(paths, SITE, Engine("private", "26"), within=0)
    assert not entrance.follow(paths, Site(tls=False), Engine("private", "26")), "tls = false"


@pytest.mark.parametrize("answer", ["Success!", "Can't replace"])
def test_haproxy_is_told_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    """By the words of its management guide (set ssl cert, commit ssl cert); an empty line would end the
    file."""
    renew = runpy.run_path(str(PROJECT / "images" / "front" / "renew.py"))
    file, said = tmp_path / "front.pem", list[str]()
    file.write_text("one\n\ntwo\n")
    monkeypatch.setenv("FRONT_TLS", str(file))
    renew["main"].__globals__["SOCKET"] = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()

        def serve() -> None:
            for _ in range(2 if answer == "Success!" else 3):
                link, _ = listening.accept()
                with link, link.makefile("rb") as words:
                    said.append(words.read().decode())
                    link.sendall(answer.encode() + b"\n\n")

        thread = threading.Thread(target=serve)
        thread.start()
        assert renew["main"]() == (0 if answer == "Success!" else 1)
        thread.join()
    assert said[:2] == [f"set ssl cert {file} <<\none\ntwo\n\n", f"commit ssl cert {file}\n"]
    assert (answer in capsys.readouterr().err) == (answer != "Success!")
