"""The certificate that the entrance shows: that of its file, though it has run since one before."""

import ssl
from contextlib import suppress

from cryptography.hazmat.primitives.serialization import Encoding

from osbox import waiting
from osbox.cloud.services import BY_TYPE, FRONT
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Paths, Site
from osbox.tls import store

SECONDS = 30
"""A first answer of HAProxy took 0.6 s at load 16."""
ASK_SECONDS = 5
PORT = BY_TYPE["identity"].port


def spoken(site: Site) -> Site:
    """The site as its entrance speaks now: it may be about to change."""
    return site.model_copy(update={"tls": bool(shown(site))})


def follow(paths: Paths, site: Site, engine: Engine, *, within: float = SECONDS) -> bool:
    """Have the entrance show what is in its file; True when it showed another one until now.

    Nothing is lost meanwhile. within: how long it may take to answer, in seconds; one that does not is told
    of by the proof. Raises Error when it does not take it.
    """
    leaf = store.leaf(paths) if site.tls else None
    if leaf is None:
        return False
    wanted = leaf.public_bytes(Encoding.DER)
    seen = waiting.happens(lambda: shown(site), within, poll=0.5)
    if not seen or seen == wanted:
        return False
    told = docker.ask(engine, "exec", f"{FRONT}.{site.name}", "front-renew", check=False)
    if told.code or shown(site) != wanted:
        raise Error(
            "the entrance does not show the certificate that is there now",
            evidence=told.err.strip() or "it shows the one before",
            hint=f"osbox engine shell -- docker restart {FRONT}.{site.name}; osbox tls show",
        )
    return True


def shown(site: Site) -> bytes:
    """The certificate (DER) that is shown to who connects, whoever issued it; b"" when nobody answers."""
    with suppress(OSError):
        address = (str(site.loopback), PORT)
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(address, timeout=ASK_SECONDS))
    return b""
