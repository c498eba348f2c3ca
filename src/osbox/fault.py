"""What a failed build's output means: weather that passes, or something to put right. Pure."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """transient: worth trying again as it is.

    message: what happened, in words of the person at the keyboard.
    """

    message: str
    hint: str
    transient: bool


# What steps print and what BuildKit says; not the recipe, which it quotes: that may well say "timeout".
TOLD = re.compile(r"^(?:#\d+ [\d.]+ .*|(?:#\d+ )?ERROR: (?!.*process \").*)$", re.MULTILINE)
ENGINE = re.compile(
    r"Cannot connect to the Docker daemon|error reading from server|closing transport|rpc error: code ="
    r" Unavailable"
    r"|is the docker daemon running"
)
DISK = re.compile(
    r"[Nn]o space left on device|You don't have enough free space|disk quota exceeded", re.IGNORECASE
)
# uv's words; pip's, which names the package in the line after.
ALTERED = re.compile(
    r"Hash mismatch for `([^`]+)`|DO NOT MATCH THE HASHES(?:.|\n)*?#\d+ [\d.]+ +(\S+==\S+) from "
)
# uv unpacks while it fetches, before it can compare hashes.
DAMAGED = re.compile(r"Failed to download `([^`]+)`\n#\d+ [\d.]+ +cause: Failed to extract archive")
DEBIAN = re.compile(r"^#\d+ [\d.]+ (?:E: |Err:|W: Failed to fetch)", re.MULTILINE)
PYPI = re.compile(
    r"/simple/|\.whl\b|pip\._vendor|Failed to (?:fetch|download|get)|Could not fetch URL|Could not find a"
    r" version"
)
REGISTRY = re.compile(r"failed to resolve source metadata|failed to do request: Head")
# Where: an address in a line that tells of a failure, or pip's pair of host and port. Of an address, not the
# user and the path.
PLACE = re.compile(
    r"(?:Failed to fetch:?|Err:\d+|error sending request for url|Could not fetch URL|repository|failed to do"
    r" request: Head)"
    r"[ `('\"]+(https?://)(?:[^@/\s]*@)?([^/\s'\"`)]+)"
)
PIP_PLACE = re.compile(r"HTTPS?Connection\w*\(host='([^']+)', port=(\d+)")

NETWORK_HINT = "check the network, proxy and mirror settings of this machine, then run the same command again"
# How it failed, in order of what tells most; whether another try may help; and what to do, where that is
# something else.
WAYS: tuple[tuple[re.Pattern[str], str, bool, str], ...] = tuple(
    (re.compile(pattern), how, transient, hint)
    for pattern, how, transient, hint in (
        (
            r"Proxy Authentication Required|\b407\b",
            "the proxy wants a user and a password",
            False,
            "http_proxy=http://USER:PASSWORD@HOST:PORT and https_proxy, then run the same command again",
        ),
        (
            r"certificate verif\w+ failed|CERTIFICATE_VERIFY_FAILED|invalid peer"
            r" certificate|UnknownIssuer|unknown authority"
            r"|No system certificates available|[Cc]ertificate is NOT trusted",
            "its certificate is not trusted here",
            False,
            (
                "name the CA bundle of your network: SSL_CERT_FILE=/path/to/bundle.pem, then run the same"
                " command again"
            ),
        ),
        (
            r"Hash Sum mismatch|File has unexpected size",
            "what it has is not what its list says",
            True,
            (
                "the mirror is being updated, or alters packages: wait, or name another:"
                " OSBOX_MIRROR=http://…/debian"
            ),
        ),
        (
            (
                r"resolving|Could not resolve|failed to lookup address|no such host|dns error|Name or service"
                r" not known"
            ),
            "its name could not be resolved",
            True,
            "",
        ),
        # apt says "Connection failed" of a server that took the connection and was silent.
        (
            r"[Tt]imed out|i/o timeout|Timeout was reached|TLS handshake timeout|Connection failed",
            "it did not answer",
            True,
            "",
        ),
        (r"[Cc]onnection refused|Unable to connect", "it refused the connection", True, ""),
        (
            r"[Cc]onnection (?:reset|failed)|TLS handshake|unexpected EOF|error sending request|Network is"
            r" unreachable|\b50[0234]\b[ :]"
            r"|NewConnectionError|request or response body error",
            "",
            True,
            "",
        ),
    )
)


def explain(output: str) -> Fault | None:
    """The fault behind the end of a build's output; None if it is the recipe's own."""
    return of_messages("\n".join(TOLD.findall(output)))


def of_messages(output: str) -> Fault | None:
    """The same, of what a program itself said."""
    if ENGINE.search(output):
        return Fault(
            "the engine stopped while it was building", "run the same command again; it goes on", False
        )
    if DISK.search(output):
        hint = "osbox clean --all frees the build cache; or set OSBOX_HOME to a larger disk"
        return Fault("the disk is full", hint, False)
    altered = ALTERED.search(output)
    if altered:
        hint = (
            "the index, or something on the way, alters packages: compare with another index (pip config);"
            " osbox lock, if the lock is wrong"
        )
        return Fault(
            f"{altered[1] or altered[2]} is not what the lock says: its hash is another", hint, False
        )
    damaged = DAMAGED.search(output)
    if damaged:
        return Fault(f"{damaged[1]} came damaged", NETWORK_HINT, True)
    for pattern, how, transient, hint in WAYS:
        if pattern.search(output):
            place = _place(output)
            message = (
                f"{_kind(output)} could not be fetched"
                + (f" from {place}" if place else "")
                + (f": {how}" if how else "")
            )
            return Fault(message, hint or NETWORK_HINT, transient)
    return None


def _place(output: str) -> str:
    """The server that the failing step spoke to last, as scheme and host; "" if none is named."""
    named = [match[1] + match[2] for match in PLACE.finditer(output)]
    if not named:
        named = [f"{match[1]}:{match[2]}" for match in PIP_PLACE.finditer(output)]
    return named[-1] if named else ""


def _kind(output: str) -> str:
    """Which kind of package the failing step wanted."""
    if REGISTRY.search(output):
        return "the base image from the container registry"
    if DEBIAN.search(output):
        return "Debian packages"
    return "Python packages" if PYPI.search(output) else "something from the network"
