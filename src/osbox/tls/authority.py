"""Make the deployment's own authority and the certificates that it signs: EC P-256, PEM.

Besides its arguments it takes randomness and nothing else: the time is given.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACK = timedelta(days=1)
"""A certificate is valid that long before it is made: the clocks of nodes are not ours, and many go by a
local time, up to 12 hours behind."""
AUTHORITY_LIFE, LEAF_LIFE = timedelta(days=3650), timedelta(days=825)
"""Only `osbox up` and `osbox tls renew` make another one: a cloud that is left alone shall not end. Apple's
clients take no server's certificate for longer, whoever issued it (support.apple.com/103769)."""
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> str:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def key_pem(self) -> str:
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, form, none).decode()


def authority(deployment: str, now: datetime) -> Pair:
    """A new authority.

    Its name has a part of its serial number in it: who trusts two of one deployment can tell them apart, and
    so can a client that looks for an issuer by its name.
    """
    serial, key = x509.random_serial_number(), ec.generate_private_key(ec.SECP256R1())
    name = _name(f"osbox CA {deployment} {serial:x}"[: len(f"osbox CA {deployment} ") + 8])
    builder = (
        _builder(name, name, key, (now - BACK, now + AUTHORITY_LIFE))
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def leaf(signer: Pair, names: Sequence[str], now: datetime) -> Pair:
    """A certificate of a server by these names and addresses; it does not outlive its authority.

    AuthorityKeyIdentifier and KeyUsage are there for VERIFY_X509_STRICT, the default since Python 3.13.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, end = signer.certificate.subject, signer.certificate.not_valid_after_utc
    above = signer.key.public_key()
    builder = (
        _builder(_name("osbox entrance"), issuer, key, (now - BACK, min(now + LEAF_LIFE, end)))
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
    )
    return Pair(builder.sign(signer.key, hashes.SHA256()), key)


def general(name: str) -> x509.GeneralName:
    """A name or an address, as certificates have it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*on: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in on for name in USAGES})
