"""A change waits for what it would break."""

import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from osbox import run, waiting
from osbox.cloud import sessions
from osbox.site.load import load_site
from tests.e2e import crash
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import APIS, HOME

pytestmark = pytest.mark.e2e

OPTION = "glance.DEFAULT.rate_limit_burst"
MIB = 1 << 20
PARTS = 60


class Upload:
    """An image that comes in until it is let go."""

    def __init__(self) -> None:
        self.session = sessions.session(crash.PATHS, load_site(HOME))
        self.name, self.go = f"underway-{uuid.uuid4().hex[:8]}", threading.Event()
        words = {"name": self.name, "disk_format": "raw", "container_format": "bare"}
        made = self.session.post(f"{APIS}:9292/v2/images", json=words).json()
        self.place = f"{APIS}:9292/v2/images/{made['id']}"
        self.thread = threading.Thread(target=self._send)
        self.thread.start()

    def _send(self) -> None:
        words = {"Content-Type": "application/octet-stream"}
        self.session.put(f"{self.place}/file", data=self._content(), headers=words, raise_exc=False)

    def _content(self) -> Iterator[bytes]:
        for _ in range(PARTS):
            yield bytes(MIB)
            self.go.wait(2)

    def status(self) -> str:
        return str(self.session.get(self.place).json()["status"])

    def end(self) -> None:
        self.go.set()
        self.thread.join(60)


@pytest.fixture
def upload(cloud: Tool) -> Iterator[Upload]:
    cloud("up")
    made = Upload()
    try:
        waiting.wait("the image coming in", lambda: made.status() == "saving", 30)
        yield made
    finally:
        made.end()
        made.session.delete(made.place, raise_exc=False)
        cloud("unset", OPTION)
        cloud("up")


def test_a_change_waits_for_an_image_that_comes_in(cloud: Tool, upload: Upload) -> None:
    cloud("set", f"{OPTION}=1")
    said = f"image {upload.name} (saving)"
    assert f"under way: {said}, which needs glance-api" in cloud("plan", code=2)
    text = cloud("up", "--wait", "3s", code=1)
    assert f"would be broken: {said}" in text
    assert upload.status() == "saving"
    argv = [Tool.program, "up"]
    with run.spawn(argv, stdout=-1, stderr=-2, env=ENVIRONMENT) as process:
        time.sleep(6)
        assert process.poll() is None, "it waits"
        upload.end()
        assert process.stdout is not None
        told = process.stdout.read()
        assert process.wait(120) == 0
    assert said in told
    assert upload.status() == "active"
    assert "Nothing to change" in cloud("up")
