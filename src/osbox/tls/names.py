"""The names and addresses that the entrance's certificate is for. Pure."""

import re

from osbox.site.site import Site

APIS = (
    "keystone",
    "glance-api",
    "swift-proxy",
    "placement",
    "nova-api",
    "neutron-server",
    "ironic-api",
    "front",
)
"""Containers that are spoken to by their names: behind the entrance, and the entrance itself."""
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*")
"""What a name in a certificate can be; of a machine whose host name is none (`(none)`) it is left out."""


def wanted(site: Site, host: str) -> tuple[str, ...]:
    """All that clients may come by: addresses, this machine's host name, and the containers' names.

    The order is always the same, so that two lists are compared as they are. Containers are known by their
    short names and by those with the deployment's behind.
    """
    containers = [name for api in APIS for name in (api, f"{api}.{site.name}")]
    objects = (f"*.{kind}.{site.name}" for kind in ("s3", "swift"))  # BUCKET.s3.NAME, ACCOUNT.swift.NAME
    own = [host.lower()] if NAME.fullmatch(host) else []
    names = ("localhost", *published(site), *containers, *objects, *own)
    return tuple(dict.fromkeys(names))


def published(site: Site) -> tuple[str, ...]:
    """The addresses that the APIs are published on: osbox itself comes by the first, nodes by the second."""
    addresses = (site.loopback, site.address, *([site.listen] if site.listen else []))
    return tuple(dict.fromkeys(map(str, addresses)))
