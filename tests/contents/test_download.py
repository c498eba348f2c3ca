"""Images from an address: servers that end early among them; what is in the cache is right, or goes."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from osbox.contents import download, own
from osbox.errors import Error, UserError
from osbox.site.site import Paths

DISK = (bytes(510) + b"\x55\xaa").ljust(3 << 20, b"d")
SUM = hashlib.sha256(DISK).hexdigest()
Serve = Callable[[BaseHTTPRequestHandler], None]


def whole(request: BaseHTTPRequestHandler, content: bytes = DISK) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def half(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(DISK)))
    request.end_headers()
    request.wfile.write(DISK[: len(DISK) // 2])
    request.close_connection = True


def half_of_chunks(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"%x\r\n" % len(DISK) + DISK[: len(DISK) // 2])
    request.close_connection = True


def without_length(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(DISK[: len(DISK) // 2])
    request.close_connection = True


def not_found(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def no_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH\r\n")
    request.close_connection = True


def too_large(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(1 << 60))
    request.end_headers()
    request.close_connection = True


@contextmanager
def serving(serve: Serve) -> Iterator[tuple[str, list[str]]]:
    """An address, and the paths that are asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            serve(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def left(paths: Paths) -> list[Path]:
    return [file for file in paths.downloads.rglob("*") if file.is_file()]


def test_fetched_once(paths: Paths) -> None:
    with serving(whole) as (url, asked):
        for _ in range(2):
            upload = own.image(f"{url}/disk.raw", SUM, paths)
            assert (upload.name, upload.file.read_bytes()) == ("disk", DISK)
            assert upload.stamp == SUM[:32]
    assert asked == ["/disk.raw"]


def test_two_of_one_name(paths: Paths) -> None:
    """The first one's file was taken for the second, whose checksum then differed for good."""
    other = DISK + b"other"
    with serving(whole) as (one, _), serving(lambda request: whole(request, other)) as (two, _):
        own.image(f"{one}/disk.raw", SUM, paths)
        upload = own.image(f"{two}/disk.raw", hashlib.sha256(other).hexdigest(), paths)
        assert upload.file.read_bytes() == other
        newer = own.image(f"{two}/disk.raw", hashlib.sha512(other).hexdigest(), paths)
        assert newer.file.read_bytes() == other


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (half, "ended early"),
        (half_of_chunks, "could not be fetched"),
        (without_length, "the checksum of .* differs"),
        (not_found, "could not be fetched"),
        (no_http, "could not be fetched"),
        (too_large, "larger than the disk takes"),
        (lambda request: whole(request, b"<html>"), "the checksum of .* differs"),
    ],
    ids=["half", "half of chunks", "half without a length", "404", "no HTTP", "too large", "a page"],
)
def test_what_is_not_whole_or_not_right_is_not_kept(paths: Paths, serve: Serve, said: str) -> None:
    """Half a file had the whole one's name, and every later run took it."""
    serves = [serve, whole]

    def in_turn(request: BaseHTTPRequestHandler) -> None:
        serves.pop(0)(request)

    with serving(in_turn) as (url, asked):
        with pytest.raises(Error, match=said) as error:
            own.image(f"{url}/disk.raw", SUM, paths)
        assert error.value.hint
        assert left(paths) == []
        assert own.image(f"{url}/disk.raw", SUM, paths).file.read_bytes() == DISK
    assert len(asked) == 2


@pytest.mark.parametrize("content", [b"", DISK[:999], b"x" * len(DISK)], ids=["empty", "short", "other"])
def test_a_broken_entry_is_fetched_anew(paths: Paths, content: bytes) -> None:
    with serving(whole) as (url, asked):
        file = own.image(f"{url}/disk.raw", SUM, paths).file
        file.write_bytes(content)
        file.with_name("disk.raw.new").write_bytes(b"of a killed run")
        assert own.image(f"{url}/disk.raw", SUM, paths).file.read_bytes() == DISK
    assert len(asked) == 2
    assert left(paths) == [file]


@pytest.mark.parametrize("path", ["", "/", "/images/", "/images/?name=disk.raw", "/.."])
def test_an_address_that_names_no_file(paths: Paths, path: str) -> None:
    """Of such a one the whole directory of downloads was taken for the file."""
    with pytest.raises(UserError, match="names no file") as error:
        own.image(f"http://127.0.0.1:9{path}", "0" * 64, paths)
    assert "curl" in error.value.hint


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.example/a/debian.qcow2", "debian.qcow2"),
        ("https://x.example/a/debian.qcow2?token=a/b", "debian.qcow2"),
        ("https://x.example/a/debian%2B1.raw", "debian+1.raw"),
        ("https://x.example/a%2Fb.raw", "b.raw"),
    ],
)
def test_the_name_of_an_address(url: str, name: str) -> None:
    assert download.name_of(url) == name


@pytest.mark.parametrize("name", ["%00.img", "%0a.img", "%1b[31m.img", "n" * 252 + ".img"])
def test_an_address_of_a_file_that_cannot_be_had(paths: Paths, name: str) -> None:
    with pytest.raises(UserError, match="names a file that this machine cannot have") as error:
        own.image(f"http://127.0.0.1:9/{name}", "0" * 64, paths)
    assert "curl" in error.value.hint


def test_an_address_with_a_password_is_refused_without_it(paths: Paths) -> None:
    """It was taken for a part of the host's name, and printed."""
    for url in ("https://me:hidden@127.0.0.1:9/disk.raw", "http://hidden@127.0.0.1:9/disk.raw"):
        for checksum in ("", "0" * 64):
            with pytest.raises(UserError, match="holds a user's name or password") as error:
                own.image(url, checksum, paths)
            assert "hidden" not in f"{error.value.message}{error.value.evidence}{error.value.hint}"


def test_an_address_needs_a_checksum_and_http(paths: Paths) -> None:
    with pytest.raises(UserError, match="needs its checksum"):
        own.image("http://127.0.0.1:9/disk.raw", "", paths)
    for url in ("ftp://127.0.0.1/disk.raw", "file:///etc/passwd"):
        with pytest.raises(UserError, match="neither a file nor"):
            own.image(url, "0" * 64, paths)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "127.0.0.1:port", "[::1"])
def test_an_address_that_does_not_answer(host: str, paths: Paths) -> None:
    with pytest.raises(Error, match=r"could not be fetched|is no address"):
        own.image(f"http://{host}/disk.raw", "0" * 64, paths)
    assert left(paths) == []
