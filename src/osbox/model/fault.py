"""What a failed build's output means: weather that passes, or something to put right."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """transient: worth trying again as it is. message: what happened, in words of the person at the keyboard."""

    message: str
    hint: str
    transient: bool


# What steps print and what BuildKit says; not the recipe, which it quotes: that may well say "timeout".
TOLD = re.compile(r"^(?:#\d+ [\d.]+ .*|(?:#\d+ )?ERROR: (?!.*process \").*)$", re.MULTILINE)
NETWORK = re.compile(
    r"Temporary failure resolving|Could not resolve|failed to lookup address|no such host|[Tt]imed out|i/o timeout"
    r"|[Cc]onnection (?:reset|refused|failed)|Timeout was reached|TLS handshake|Hash Sum mismatch"
    r"|File has unexpected size|unexpected EOF|error sending request|Network is unreachable|\b50[0234]\b[ :]"
    r"|Unable to connect|NewConnectionError|request or response body error"
)
ENGINE = re.compile(
    r"Cannot connect to the Docker daemon|error reading from server|closing transport|rpc error: code = Unavailable"
    r"|is the docker daemon running"
)
DISK = re.compile(r"[Nn]o space left on device|You don't have enough free space")
DEBIAN = re.compile(r"^#\d+ [\d.]+ (?:E: |Err:|W: Failed to fetch)", re.MULTILINE)
PYPI = re.compile(r"/simple/|pip\._vendor|Failed to (?:fetch|download|get)|Could not fetch URL|Could not find a version")
REGISTRY = re.compile(r"failed to resolve source metadata|failed to do request: Head")


def explain(output: str) -> Fault | None:
    """The fault behind the end of a build's output; None if it is the recipe's own."""
    output = "\n".join(TOLD.findall(output))
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
    if DEBIAN.search(output):
        return "Debian packages"
    return "Python packages (PyPI)" if PYPI.search(output) else "something from the network"
