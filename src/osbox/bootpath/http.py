"""HTTP as boot loaders speak it: one GET, no proxy, no redirect; of large files only the beginning."""

import http.client
import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

SECONDS = 4.0
LARGEST = 4 << 20  # bytes of a file that is read whole: scripts


@dataclass(frozen=True)
class Answer:
    """size is that of the whole file, content perhaps its beginning only; date is the server's clock as it
    said it."""

    status: int
    content: bytes
    size: int
    date: str


def _link(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port or 80, timeout=SECONDS)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port or 443, timeout=SECONDS, context=context)


def get(url: str, *, first: int = 0) -> Answer:
    """first: ask for so many bytes from the beginning only. Raises OSError when no HTTP answer comes.

    Of https nothing is verified: it is asked for the date, by which a certificate would be judged.
    """
    parts = urlsplit(url)
    link = _link(parts.scheme, parts.hostname or "", parts.port)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        link.request("GET", path, headers={"Range": f"bytes=0-{first - 1}"} if first else {})
        answer = link.getresponse()
        content = answer.read(first or LARGEST)
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {type(error).__name__} {error}".strip()) from error
    finally:
        link.close()
    whole = re.search(r"/(\d+)$", answer.getheader("Content-Range", ""))
    size = int(whole[1]) if whole else int(answer.getheader("Content-Length") or len(content))
    return Answer(answer.status, content, size, answer.getheader("Date", ""))
