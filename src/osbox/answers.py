"""What an API of the cloud answered, as data; a refusal is told as one.

The SDK's own calls raise for a refusal; its plain get and post do not, and `answer.json()["…"]` of one would
be a KeyError. So nothing else reads an answer's body (a test holds it).
"""

from typing import TYPE_CHECKING, Any

from osbox.errors import Error

if TYPE_CHECKING:
    from requests import Response

LONGEST = 300  # characters of what a service says
REFUSED, BROKEN = 400, 500
AGAIN = "osbox status, then the same command again"


class SilentError(Error):
    """A service does not answer as it should now: it is being restarted, or it is broken."""


def read(answer: "Response", asked: str, hint: str = AGAIN) -> dict[str, Any]:
    """The object that a service answered.

    asked: what it did not do if it refuses, "Glance did not take disk". Raises SilentError when the service
    cannot answer now, Error when it refuses to.
    """
    data = _data(answer, asked, hint)
    if not isinstance(data, dict):
        raise _strange(answer, asked, "object", hint)
    return data


def rows(answer: "Response", asked: str, hint: str = AGAIN) -> list[dict[str, Any]]:
    """The same of an API that answers a list of objects: Swift's."""
    data = _data(answer, asked, hint)
    if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
        raise _strange(answer, asked, "list of objects", hint)
    return data


def _data(answer: "Response", asked: str, hint: str) -> object:
    """What it answered, None when that is no JSON."""
    if answer.status_code >= REFUSED:
        kind = SilentError if answer.status_code >= BROKEN else Error
        raise kind(f"{asked}: HTTP {answer.status_code}", evidence=_said(answer), hint=hint)
    try:
        return answer.json()
    except ValueError:
        return None


def _strange(answer: "Response", asked: str, wanted: str, hint: str) -> SilentError:
    message = f"{asked}: HTTP {answer.status_code}, and no JSON {wanted}"
    return SilentError(message, evidence=_said(answer), hint=hint)


def _said(answer: "Response") -> str:
    return " ".join(answer.text.split())[:LONGEST]
