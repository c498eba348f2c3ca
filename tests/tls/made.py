"""Certificates as companies have them, and a real handshake."""

import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from osbox.tls.authority import general

NOW = datetime.now(UTC).replace(microsecond=0)
"""The real time: OpenSSL, which is asked, too, knows no other."""
DAY = timedelta(days=1)
PEM = serialization.Encoding.PEM
Made = tuple[x509.Certificate, Any]
"""A certificate and its key."""


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def made(
    text: str,
    signer: Made | None = None,
    *,
    names: Sequence[str] = (),
    ca: bool = False,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + 365 * DAY,
    strict: bool = True,
    use: Any = ExtendedKeyUsageOID.SERVER_AUTH,
    key: Any = None,
) -> Made:
    """One of another authority than ours. strict: with what strict clients ask for."""
    key = key or ec.generate_private_key(ec.SECP384R1())
    issuer, signing = (signer[0].subject, signer[1]) if signer else (name(text), key)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(text))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                key_cert_sign=ca,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if strict:
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
        builder = builder.add_extension(above, critical=False)
    if names:
        alternatives = x509.SubjectAlternativeName([general(one) for one in names])
        builder = builder.add_extension(alternatives, critical=False)
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    return builder.sign(signing, hashes.SHA256()), key


def rsa_key() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(PEM) for one in certificates)


def key_pem(key: Any, password: bytes = b"", form: Any = serialization.PrivateFormat.PKCS8) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    found: bytes = key.private_bytes(PEM, form, how)
    return found


def request(key: Any) -> bytes:
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name("x"))
        .sign(key, hashes.SHA256())
        .public_bytes(PEM)
    )


def refused(front: Path, trusted: Path, host: str) -> str:
    """Why a strict client refuses a server with this certificate, of that name; "" when it does not.

    The serial number that the client saw is not of interest: the server has one certificate.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(front)
    client = ssl.create_default_context(cafile=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()
    here.settimeout(10)
    there.settimeout(10)

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as stream:
                stream.sendall(stream.recv(9))
        except OSError:  # the client went away, and says why
            there.close()

    thread = Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=host) as stream:
            stream.sendall(b"well")
            return "" if stream.recv(9) == b"well" else "nothing came back"
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        here.close()
        thread.join()
