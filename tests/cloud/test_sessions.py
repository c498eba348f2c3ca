"""Logins, to a Keystone that is a few lines of HTTP."""

import json
import os
import shlex
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from osbox import run
from osbox.cloud import checks, sessions, stack
from osbox.errors import Error
from osbox.site.site import Paths, Site
from osbox.tls import store

ADDRESS = "127.0.29.177"
SITE = Site.model_validate({"loopback": ADDRESS, "name": "logins", "tls": False})


class Keystone(BaseHTTPRequestHandler):
    """It knows one password, and says of all others what the real one says."""

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        link = [{"rel": "self", "href": f"http://{ADDRESS}:5000/v3/"}]
        self.say(200, {"version": {"id": "v3.14", "status": "stable", "links": link}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["auth"]["identity"]["password"]["user"]["password"] == "right":
            self.say(201, {"token": {"expires_at": "2999-01-01T00:00:00.000000Z", "catalog": []}})
        else:
            message = "The request you have made requires authentication."
            self.say(401, {"error": {"code": 401, "message": message, "title": "Unauthorized"}})

    def say(self, code: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Subject-Token", "token")
        self.end_headers()
        self.wfile.write(text)


@pytest.mark.usefixtures("own_user")
@pytest.mark.parametrize("ours", [True, False])
def test_keystone_is_verified(paths: Paths, ours: bool) -> None:
    """By the deployment's own authority, and nobody else's."""
    address = f"127.0.29.{179 + ours}"
    site = Site.model_validate({"loopback": address, "name": "logins"})
    now, names = datetime.now(UTC), store.names_here(site)
    store.ensure(paths, site, names, now)
    other = Paths(paths.project, paths.home / "other")
    shown = paths if ours else other
    store.ensure(other, site, names, now)
    with ThreadingHTTPServer((address, 5000), Keystone) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.tls / "front" / "front.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        said = checks.probe_identity(with_password(paths, "right"), site)
        server.shutdown()
    assert said == "" if ours else "SSL" in said


@pytest.fixture
def keystone() -> Iterator[None]:
    with ThreadingHTTPServer((ADDRESS, 5000), Keystone) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield
        server.shutdown()


def with_password(paths: Paths, password: str) -> Paths:
    paths.secrets.mkdir(parents=True)
    (paths.secrets / "admin-password").write_text(password)
    return paths


def test_a_password_that_keystone_takes(keystone: None, paths: Paths) -> None:
    assert checks.probe_identity(with_password(paths, "right"), SITE) == ""


def test_a_password_that_keystone_refuses_is_no_silence(keystone: None, paths: Paths) -> None:
    """It is told as what it is, and nothing waits for it to become better."""
    for ask in (checks.probe_identity, stack.require_up):
        paths.secrets.exists() or with_password(paths, "wrong")
        with pytest.raises(sessions.RefusedError, match="refuses the password of its user admin") as caught:
            ask(paths, SITE)
        assert "requires authentication" in caught.value.evidence
        assert "docker exec keystone.logins" in caught.value.hint


def test_the_way_back_shows_the_password_to_nobody(tmp_path: Path) -> None:
    """A command line is in the list of processes, which everybody on the machine may read."""
    shell, option, script = shlex.split(sessions.RESET)
    (tmp_path / "password").write_text("it is secret")
    (tmp_path / "keystone-manage").write_text('#!/bin/sh\necho "$@: $OS_BOOTSTRAP_PASSWORD"\n')
    (tmp_path / "keystone-manage").chmod(0o755)
    script = script.replace("/run/secrets/admin-password", str(tmp_path / "password"))
    said = run.run([shell, option, script], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert said.out == "bootstrap: it is secret\n"


def test_a_keystone_that_is_not_there_is_waited_for(paths: Paths) -> None:
    with_password(paths, "right")
    assert "5000" in checks.probe_identity(paths, SITE)
    with pytest.raises(Error, match="Keystone does not answer"):
        stack.require_up(paths, SITE)
