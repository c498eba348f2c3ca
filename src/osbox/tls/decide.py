"""Whether a certificate of our own is good for a while, and what it says to people. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from osbox.tls.examine import TIME, names, signed_by, subject

BEFORE = timedelta(days=30)
"""A certificate is renewed that long before it ends."""
AUTHORITY_BEFORE = timedelta(days=180)
"""An authority that long: all who trust it have to be told of the next one."""


NONE = "there is none"


class Do(StrEnum):
    FRESH = "fresh"
    """Nothing: it is good."""
    RENEW = "renew"
    """Make another one like it: it ends soon, or has ended."""
    ANEW = "anew"
    """Make another one: this one is of no use, or there is none."""


@dataclass(frozen=True)
class Decision:
    do: Do
    why: str


@dataclass(frozen=True)
class Told:
    """A certificate, for people and programs."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    begin: datetime
    end: datetime
    days_left: int
    serial: str
    fingerprint: str
    """SHA-256, as openssl x509 -fingerprint -sha256 writes it."""


def decide(
    leaf: x509.Certificate | None, signer: x509.Certificate, wanted: Sequence[str], now: datetime
) -> Decision:
    """What to do about a certificate of our own."""
    if leaf is None:
        return Decision(Do.ANEW, NONE)
    if not signed_by(leaf, signer):
        return Decision(Do.ANEW, "it is another authority's")
    if now < leaf.not_valid_before_utc:
        return Decision(Do.ANEW, f"it begins at {leaf.not_valid_before_utc:{TIME}}: a clock was ahead")
    own = names(leaf)
    new = [name for name in wanted if name not in own]
    old = [name for name in own if name not in wanted]
    if new or old:
        parts = (f"not yet for {', '.join(new)}" if new else "", f"still for {', '.join(old)}" if old else "")
        return Decision(Do.ANEW, "it is " + " and ".join(filter(None, parts)))
    return ending(leaf, now, BEFORE)


def decide_authority(certificate: x509.Certificate | None, now: datetime) -> Decision:
    """What to do about our own authority. A new one has to be told to all who trust it."""
    if certificate is None:
        return Decision(Do.ANEW, NONE)
    if now < certificate.not_valid_before_utc:
        return Decision(Do.ANEW, f"it begins at {certificate.not_valid_before_utc:{TIME}}: a clock was ahead")
    return ending(certificate, now, AUTHORITY_BEFORE)


def ending(certificate: x509.Certificate, now: datetime, before: timedelta) -> Decision:
    end = certificate.not_valid_after_utc
    if now >= end:
        return Decision(Do.RENEW, f"it ended at {end:{TIME}}")
    if end - now <= before:
        return Decision(Do.RENEW, f"it ends at {end:{TIME}}")
    return Decision(Do.FRESH, f"it is good until {end:{TIME}}")


def tell(certificate: x509.Certificate, now: datetime) -> Told:
    return Told(
        subject(certificate),
        certificate.issuer.rfc4514_string(),
        names(certificate),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        (certificate.not_valid_after_utc - now).days,
        f"{certificate.serial_number:x}",
        certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )
