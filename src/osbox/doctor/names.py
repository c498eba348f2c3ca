"""DNS: the host's resolver, the cloud's names inside its containers, and the server that nodes ask."""

import os
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from urllib.parse import urlsplit

from osbox.cloud.services import APIS
from osbox.doctor.finding import Facts, Finding, error, ok, warning
from osbox.engine import docker
from osbox.site import sources

SECONDS = 4.0
ASKING = ("nova-api", "ironic-api", "ironic-conductor")
"""Services to ask from, the first that runs: those that are in the networks of all INSIDE."""
INSIDE = ("mysql", "rabbitmq", *(api.service for api in APIS))


def check_host(facts: Facts) -> Iterator[Finding]:  # noqa: ARG001 - all checks are called alike
    """Can this machine resolve the names that a build needs? Behind a proxy, the proxy does."""
    places = [
        *sources.apt_mirrors(),
        *filter(None, (sources.pip_settings().get(key) for key in ("index-url",))),
    ]
    names = sorted({name for place in places if (name := urlsplit(place).hostname)})
    if sources.proxy_args().get("http_proxy") or sources.proxy_args().get("https_proxy"):
        yield ok("DNS: packages come by way of a proxy, which resolves names itself")
        return
    if not names:
        yield ok("DNS: no mirror or index is set here whose name could be asked for")
        return
    for name in names:
        reason = _resolved(name)
        if reason:
            yield warning(
                f"DNS: the name {name}, which builds fetch from, is not resolved",
                reason,
                "cat /etc/resolv.conf; getent hosts " + name,
            )
        else:
            yield ok(f"DNS: {name} is resolved")


def _resolved(name: str) -> str:
    """ "" or why not. The C library may wait longer than we do: it is left to it."""
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(socket.getaddrinfo, name, 80).result(timeout=SECONDS)
    except TooLate:
        return f"no answer within {SECONDS:.0f} s"
    except OSError as wrong:
        return wrong.strerror or str(wrong)
    finally:
        pool.shutdown(wait=False)
    return ""


def check_inside(facts: Facts) -> Iterator[Finding]:
    """The names of our services, as a service sees them."""
    service = next((name for name in ASKING if name in facts.running), None)
    if service is None or facts.engine is None:
        return
    wanted = [name for name in INSIDE if name in facts.running]
    words = ["exec", f"{service}.{facts.site.name}", "getent", "ahostsv4", *wanted]
    lines = docker.docker(facts.engine, *words, check=False, timeout=SECONDS).out.splitlines()
    found = {words[2] for line in lines if len(words := line.split()) > 2}  # noqa: PLR2004 - address, kind, name
    lacking = [name for name in wanted if name not in found]
    if lacking:
        yield error(
            f"DNS: {service} does not find {', '.join(lacking)}",
            "\n".join(lines),
            f"osbox logs {service}; osbox up",
        )
    else:
        yield ok(f"DNS: {service} finds the {len(wanted)} services that run")


def check_nodes(facts: Facts) -> Iterator[Finding]:
    """The server that nodes are told to ask."""
    if "autodns" not in facts.running:
        return
    name, server = f"keystone.{facts.site.name}", str(facts.site.address)
    try:
        answer = ask(server, name)
    except OSError as wrong:
        yield error(f"DNS: {server} does not answer nodes", str(wrong), "osbox logs autodns")
        return
    if answer == server:
        yield ok(f"DNS: {server} says that {name} is {answer}")
    else:
        yield error(
            f"DNS: {server} says that {name} is {answer or 'unknown'}, not {server}", "", "osbox logs autodns"
        )


def ask(server: str, name: str) -> str:
    """The address of a name as a server says it, "" if it knows none (RFC 1035).

    Raises OSError when it does not answer.
    """
    number = int.from_bytes(os.urandom(2))
    question = (
        b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
        + b"\0"
        + struct.pack(">HH", 1, 1)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.sendto(struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0) + question, (server, 53))
        answer = client.recv(600)
    same, _, _, answers = struct.unpack_from(">HHHH", answer)
    # One question, one answer: its data are the last four bytes, unless more records follow it.
    return socket.inet_ntoa(answer[-4:]) if same == number and answers == 1 else ""
