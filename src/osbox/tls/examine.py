"""What is wrong with a certificate, its key and its authority at a given time. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    ServerVerifier,
    Store,
    VerificationError,
)

from osbox import plain
from osbox.tls.reading import File, Problem, Wrong, certificates, private_key

PEM = serialization.Encoding.PEM
ANY = ExtensionPolicy.permit_all()
LOOSE = ANY.require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
LOOSE_CA = ANY.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
NOTHING_SEEN = "no interior errors"
"""What the library says when none of the authorities is the issuer: that is told without it."""
TIME = "%Y-%m-%d %H:%M UTC"


@dataclass(frozen=True)
class Examined:
    """What was given, in the order in which a server shows it, and what is wrong with it.

    chain: the certificate and those between it and the root; root: what a client has to trust. Both are
    there when nothing is wrong but the names, or a time.
    """

    chain: tuple[x509.Certificate, ...] = ()
    root: x509.Certificate | None = None
    key: PrivateKeyTypes | None = None
    problems: tuple[Problem, ...] = ()


def examine(
    certificate: File,
    key: File,
    authorities: Sequence[x509.Certificate],
    *,
    now: datetime,
    needed: Sequence[str],
) -> Examined:
    """Hold a server's certificate, with those between it and its authority in the same file, against its key,
    the authorities that are trusted, the time, and the names and addresses that it is needed for."""
    found, problems = certificates(certificate)
    private, more = private_key(key)
    if problems or more or private is None:
        return Examined(problems=(*problems, *more))
    own = public(private)
    leaf = next((one for one in found if _public(one) == own), None)
    if leaf is None:
        said = f"the key in {key.name} is another one's: it is not that of {subject(found[0])}"
        problem = Problem(Wrong.OTHER_KEY, said, "name the key that the certificate was asked for with")
        return Examined(problems=(problem,))
    told = [*when(leaf, certificate.name, now), *_purpose(leaf, certificate.name, needed)]
    between = [one for one in (*found, *authorities) if one != leaf]
    chain, root, refused = _way(leaf, between, authorities, now, certificate.name)
    return Examined(chain, root, private, (*told, *refused))


def when(certificate: x509.Certificate, name: str, now: datetime) -> Iterator[Problem]:
    """What is wrong with the time in which it is valid."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        said = f"{name} is not yet valid: it begins at {begin:{TIME}}, and it is {now:{TIME}}"
        yield Problem(Wrong.NOT_YET, said, "is the clock right? timedatectl")
    if now >= end:
        yield Problem(Wrong.EXPIRED, f"{name} has expired: it ended at {end:{TIME}}, and it is {now:{TIME}}")


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names and addresses that it is for; the one in its subject counts no more."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(one.value) for one in found if isinstance(one, x509.DNSName | x509.IPAddress))


def lacking(certificate: x509.Certificate, needed: Iterable[str]) -> list[str]:
    """Those by which a client would refuse it."""
    own = names(certificate)
    return [name for name in needed if not any(_covers(pattern, name) for pattern in own)]


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def subject(certificate: x509.Certificate) -> str:
    """Whose it is, as its issuer wrote it; else the names in it."""
    own = certificate.subject.rfc4514_string() or ", ".join(names(certificate))
    return plain.text(own) or "a certificate"


def public(key: PrivateKeyTypes) -> bytes:
    """The public half, to be compared."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def key_text(key: PrivateKeyTypes) -> str:
    """The key as our files have it: PKCS#8, whatever it was written as."""
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(PEM, form, none).decode()


def _public(certificate: x509.Certificate) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(serialization.Encoding.DER, form)


def _covers(pattern: str, name: str) -> bool:
    """A star stands for one whole label, the first; for no address, and in no domain of one label: OpenSSL
    takes *.example for none."""
    pattern, name = pattern.lower(), name.lower()
    star, _, rest = pattern.partition(".")
    if star != "*" or _address(name):
        return pattern == name
    first, _, domain = name.partition(".")
    return bool(first) and domain == rest and "." in rest


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _purpose(leaf: x509.Certificate, name: str, needed: Sequence[str]) -> Iterator[Problem]:
    """Whom it is for: servers, and these names."""
    own = names(leaf)
    if not own:
        said = f"{name} names no server but in its subject, where no client looks any more"
        yield Problem(Wrong.NO_NAMES, said, "have it issued with subjectAltName: " + ", ".join(needed))
    elif missing := lacking(leaf, needed):
        has = plain.text(", ".join(own))
        said = f"{name} is for other names: it has {has}, and not {', '.join(missing)}"
        yield Problem(Wrong.OTHER_NAMES, said, "have it issued with subjectAltName: " + ", ".join(needed))
    try:
        uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(uses):
        yield Problem(Wrong.NOT_FOR_SERVERS, f"{name} is for no server: serverAuth is not among its uses")


def _way(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
    now: datetime,
    name: str,
) -> tuple[tuple[x509.Certificate, ...], x509.Certificate | None, list[Problem]]:
    """The chain, the root that it ends at, and what is wrong with them.

    A certificate out of its time is told once, by `when`: the way is looked for as of its own time. What an
    authority was careless about, and most clients do not mind, is told from what none takes.
    """
    roots = [one for one in authorities if one.subject == one.issuer]
    if authorities and not roots:
        said = f"none of the authority's certificates is a root: {subject(authorities[0])} was itself signed"
        return (), None, [Problem(Wrong.NO_ROOT, said, "add the root's certificate to the file")]
    moment = max(leaf.not_valid_before_utc, min(now, leaf.not_valid_after_utc))
    unknown = f"{name} leads to no authority that is trusted: it was issued by {_issuer(leaf)}"
    hint = "name the file with the authority's certificates"
    if not roots:
        return (), None, [Problem(Wrong.UNKNOWN_CA, unknown, hint)]
    strict = PolicyBuilder().store(Store(roots)).time(moment)
    careless = _verifier(strict.extension_policies(ca_policy=LOOSE_CA, ee_policy=LOOSE), leaf)
    careful = _verifier(strict, leaf)
    if not careless or not careful:
        said = f"{name} has no name or address in it that a client could look for"
        return (), None, [Problem(Wrong.NO_NAMES, said)] if names(leaf) else []  # else told by `_purpose`
    try:
        way = careless.verify(leaf, list(between))
    except VerificationError as error:
        seen = "" if NOTHING_SEEN in str(error) else f" ({_reason(error)})"
        return (), None, [Problem(Wrong.UNKNOWN_CA, unknown + seen, hint)]
    try:
        careful.verify(leaf, list(between))
    except VerificationError as error:
        said = f"Python 3.13 and other strict clients refuse {name}: {_reason(error)}"
        return tuple(way[:-1]), way[-1], [Problem(Wrong.STRICT, said)]
    return tuple(way[:-1]), way[-1], []


def _verifier(builder: PolicyBuilder, leaf: x509.Certificate) -> ServerVerifier | None:
    """For a name that it is for, as a client looks for it; None when it has none that one could look for."""
    for name in names(leaf):
        address = _address(name)
        with suppress(ValueError):  # what is no name of a server, though a certificate may have it
            return builder.build_server_verifier(
                x509.IPAddress(address) if address else x509.DNSName(name.replace("*", "any", 1))
            )
    return None


def _issuer(certificate: x509.Certificate) -> str:
    return plain.text(certificate.issuer.rfc4514_string()) or "nobody that it names"


def _reason(error: Exception) -> str:
    """The library's words, without what it saw last."""
    return str(error).partition("\n")[0].removeprefix("validation failed: ")[:200]
