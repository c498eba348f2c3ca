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
    if answer.status_code >= REFUSED:
        kind = SilentError if answer.status_code >= BROKEN else Error
        raise kind(f"{asked}: HTTP {answer.status_code}", evidence=_said(answer), hint=hint)
    try:
        data = answer.json()
    except ValueError:
        data = None
    if not isinstance(data, dict):
        message = f"{asked}: HTTP {answer.status_code}, and no JSON object"
        raise SilentError(message, evidence=_said(answer), hint=hint)
    return data


def _said(answer: "Response") -> str:
    return " ".join(answer.text.split())[:LONGEST]
