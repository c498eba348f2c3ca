"""The certificate that the entrance shows: that of its file, though it has run since one before."""

import ssl
from contextlib import suppress
from pathlib import Path

from osbox import waiting
from osbox.cloud.services import BY_TYPE, FRONT
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.site.site import Paths, Site

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
    if not site.tls:
        return False
    wanted = _own(paths.tls / "front" / "front.pem")
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


def _own(file: Path) -> bytes:
    """The first of a file: the others stand between it and the root."""
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(file.read_text().partition(end)[0] + end)
