"""What a failed build's output means: weather that passes, or something to put right."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """transient: worth trying again as it is. message: what happened, in words of the person at the keyboard."""

    message: str
    hint: str
    transient: bool


NETWORK = re.compile(
    r"Temporary failure resolving|Could not resolve|failed to lookup address|no such host"
    r"|[Cc]onnection (?:reset|refused|timed out|failed)|timed? ?out|TLS handshake|Hash Sum mismatch"
    r"|File has unexpected size|unexpected EOF|error sending request"
    r"|Network is unreachable|\b50[0234]\b[ :]|Unable to connect|NewConnectionError"
    r"|request or response body error",
)
ENGINE = re.compile(
    r"Cannot connect to the Docker daemon|error reading from server|closing transport|rpc error: code = Unavailable"
    r"|is the docker daemon running"
)
DISK = re.compile(r"[Nn]o space left on device|You don't have enough free space")
DEBIAN = re.compile(r"^#\d+ [\d.]+ (?:E: |Err:|W: Failed to fetch)|apt-install", re.MULTILINE)
PYPI = re.compile(r"uv-run|/simple/|pip(?:\._vendor| install)|Failed to (?:fetch|download)|Could not fetch URL")
REGISTRY = re.compile(r"failed to resolve source metadata|failed to do request: Head")


def explain(output: str) -> Fault | None:
    """The fault behind the end of a build's output; None if it is the recipe's own."""
    if ENGINE.search(output):
        return Fault("the engine stopped while it was building", "run the same command again; it goes on", False)
    if DISK.search(output):
        hint = "osbox clean --all frees the build cache; or set OSBOX_HOME to a larger disk"
        return Fault("the disk is full", hint, False)
    if not NETWORK.search(output):
        return None
    hint = "check the network, proxy and mirror settings of this machine, then run the same command again"
    return Fault(f"{_kind(output)} could not be fetched", hint, True)


def _kind(output: str) -> str:
    """Which kind of package the failing step wanted."""
    if REGISTRY.search(output):
        return "the base image from the container registry"
    if PYPI.search(output) and not re.search(r"^#\d+ [\d.]+ (?:E: |Err:)", output, re.MULTILINE):
        return "Python packages (PyPI)"
    return "Debian packages" if DEBIAN.search(output) else "something from the network"
