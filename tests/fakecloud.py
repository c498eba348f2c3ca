"""OpenStack's APIs as far as a test needs them: real HTTP on loopback, under the real client libraries."""

import io
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import requests
from openstack.connection import Connection

APIS = {"image": "/v2", "baremetal": "/v1", "compute": "/v2.1"}
IMAGE_PATCH = "application/openstack-images-v2.1-json-patch"
PAUSE_SECONDS = 0.01
LOST = 0
"""Instead of a status: the connection ends."""
DOWN = (503, "<html><h1>503 Service Unavailable</h1></html>")
"""What a proxy says of an API that is being restarted."""


def response(status: int, text: str) -> requests.Response:
    """An answer as the client libraries hand it on."""
    made = requests.Response()
    made.status_code, made.raw = status, io.BytesIO(text.encode())
    return made


@dataclass
class Cloud:
    """images: what Glance has, by id; contents: of which bytes each is.

    answers: status and body by method and path, before anything else; asked: all that came.
    """

    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def add(self, name: str, stamp: str = "", **more: Any) -> str:
        """An image that is there; returns its id."""
        key = str(uuid.UUID(int=max((uuid.UUID(one).int for one in self.images), default=0) + 1))
        image = {"id": key, "name": name, "status": "active", **more}
        self.images[key] = image | ({"osbox_inputs": stamp} if stamp else {})
        return key

    def names(self) -> list[tuple[str, str]]:
        """Name and stamp of each image."""
        return sorted((one["name"], one.get("osbox_inputs", "")) for one in self.images.values())

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, str]:
        if given := self.answers.get(f"{method} {path}"):
            return given
        if path.rstrip("/") in APIS.values():
            return 200, self._version(path.strip("/"))
        found = re.fullmatch(r"/v2/images(?:/([0-9a-f-]+)(/file)?)?", path)
        if not found:
            return 404, "{}"
        if found[1]:
            return self._of_an_image(method, found[1], body)
        if method == "POST":
            return 201, json.dumps(self.images[self.add(**{"status": "queued", **json.loads(body)})])
        wanted = query.get("name", [""])[0]
        return 200, json.dumps({"images": [one for one in self.images.values() if one["name"] == wanted]})

    def _of_an_image(self, method: str, key: str, body: bytes) -> tuple[int, str]:
        if key not in self.images:
            return 404, "{}"
        if method == "DELETE":
            del self.images[key]
            return 204, ""
        if method == "PUT":
            self.contents[key] = body
            self.images[key]["status"] = "active"
            return 204, ""
        image = dict(self.images[key])
        for operation in json.loads(body) if method == "PATCH" else ():
            name = operation["path"].strip("/")
            if operation["op"] != "add" and name not in image:
                return 409, json.dumps({"message": f"there is no {name} to {operation['op']}"})
            if operation["op"] == "remove":
                del image[name]
            else:
                image[name] = operation["value"]
        self.images[key] = image
        return 200, json.dumps(image)

    def _version(self, name: str) -> str:
        """What clients ask first."""
        links = [{"rel": "self", "href": f"{self.url}/{name}/"}]
        return json.dumps(
            {
                "version": {
                    "id": name,
                    "status": "CURRENT",
                    "links": links,
                    "min_version": "1.1",
                    "version": "9",
                }
            }
        )


class _Handler(BaseHTTPRequestHandler):
    cloud: Cloud
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body that follows its headers waits 40 ms for their receipt

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.cloud.asked.append(f"{self.command} {self.path}")
        status, text = 415, "{}"
        if not self._is_strange():
            status, text = self.cloud.answer(self.command, parts.path, parse_qs(parts.query), body)
        if status == LOST:
            self.close_connection = True
            return
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _is_strange(self) -> bool:
        """Whether Glance knows no patch of that media type."""
        of_an_image = self.command == "PATCH" and self.path.startswith("/v2/images/")
        return of_an_image and self.headers["Content-Type"] != IMAGE_PATCH

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def serving(cloud: Cloud, apis: Mapping[str, str] = APIS) -> Iterator[Connection]:
    """A connection to that cloud. apis: where each is below its address."""
    from keystoneauth1.noauth import NoAuth  # noqa: PLC0415 - slow to import
    from keystoneauth1.session import Session  # noqa: PLC0415

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cloud": cloud}))
    thread = Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    session = Session(auth=NoAuth(endpoint=cloud.url), timeout=10)
    session.session.trust_env = False
    # A 409 of Ironic is asked again after up to eight seconds, five times.
    quick = mock.patch("keystoneauth1.session.time", SimpleNamespace(sleep=lambda _: sleep(PAUSE_SECONDS)))
    more: dict[str, Any] = {f"{kind}_endpoint_override": f"{cloud.url}{path}" for kind, path in apis.items()}
    connection = Connection(session=session, baremetal_api_version="1.96", compute_api_version="2.96", **more)
    try:
        with quick:
            yield connection
    finally:
        connection.close()
        server.shutdown()
        server.server_close()
        thread.join()
