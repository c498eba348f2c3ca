"""Certificates and keys as files have them, and what is wrong with such a file as data. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE")
REQUESTS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
KEYS = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
SEQUENCE = 0x30
"""What binary certificates, keys and PKCS#12 begin with."""
Loaded = TypeVar("Loaded")


class Wrong(StrEnum):
    """What can be wrong, for programs."""

    EMPTY = "empty"
    NO_PEM = "no PEM"
    DAMAGED = "damaged"
    REQUEST = "request"
    NO_CERTIFICATE = "no certificate"
    NO_KEY = "no key"
    ENCRYPTED = "encrypted key"
    OTHER_KEY = "other key"
    EXPIRED = "expired"
    NOT_YET = "not yet valid"
    NO_NAMES = "no names"
    OTHER_NAMES = "other names"
    NOT_FOR_SERVERS = "not for servers"
    NO_ROOT = "no root"
    UNKNOWN_CA = "unknown CA"
    STRICT = "refused by strict clients"
    ENDING = "ends soon"
    READABLE = "readable by others"


@dataclass(frozen=True)
class Problem:
    """said: a sentence with what was found. hint: what puts it right, or ""."""

    kind: Wrong
    said: str
    hint: str = ""


@dataclass(frozen=True)
class File:
    """What a file is called and what is in it."""

    name: str
    content: bytes


def certificates(file: File) -> tuple[list[x509.Certificate], list[Problem]]:
    """All certificates of a file, in its order."""
    labels, problems = _labels(file)
    if problems:
        return [], problems
    if not set(labels) & set(CERTIFICATES):
        return [], [_in_place_of_a_certificate(file, labels)]
    return _loaded(file, CERTIFICATES, _certificate)


def understood(file: File) -> list[x509.Certificate]:
    """Those certificates of a bundle that can be read: of a hundred others' there may be one that cannot."""
    each = (File(file.name, match[0]) for match in BLOCK.finditer(file.content))
    return [found for one in each for found in certificates(one)[0]]


def private_key(file: File) -> tuple[PrivateKeyTypes | None, list[Problem]]:
    """The first private key of a file; there may be certificates beside it."""
    labels, problems = _labels(file)
    if problems:
        return None, problems
    if not set(labels) & set(KEYS):
        what = "a certificate" if set(labels) & set(CERTIFICATES) else labels[0].lower()
        said = f"{file.name} has no private key in it, but {what}"
        return None, [Problem(Wrong.NO_KEY, said, "name the key that the certificate was asked for with")]
    blocks = [match[0] for match in BLOCK.finditer(file.content) if match[1].decode() in KEYS]
    if any(b"ENCRYPTED" in block for block in blocks[:1]):
        hint = f"openssl pkey -in {file.name} -out plain.key, and then that one"
        return None, [Problem(Wrong.ENCRYPTED, f"the key in {file.name} is encrypted with a password", hint)]
    keys, problems = _loaded(file, KEYS, _key)
    return (keys[0] if keys else None), problems


def _labels(file: File) -> tuple[list[str], list[Problem]]:
    """What its blocks say they are; without one it is no PEM."""
    if not file.content.strip():
        return [], [Problem(Wrong.EMPTY, f"{file.name} is empty")]
    labels = [label.decode() for label in BEGIN.findall(file.content)]
    if labels:
        return labels, []
    hint = "PEM is text that begins with -----BEGIN"
    if file.content[0] == SEQUENCE:
        hint = (
            f"if it is DER: openssl x509 -inform der -in {file.name}; if it is PKCS#12 (.p12, .pfx):"
            f" openssl pkcs12 -nodes -in {file.name}"
        )
    return [], [Problem(Wrong.NO_PEM, f"{file.name} is no PEM", hint)]


def _in_place_of_a_certificate(file: File, labels: Sequence[str]) -> Problem:
    if set(labels) & set(REQUESTS):
        said = f"{file.name} is a request for a certificate (CSR), and no certificate"
        return Problem(Wrong.REQUEST, said, "name what the authority gave back for it")
    what = "a private key" if set(labels) & set(KEYS) else labels[0].lower()
    return Problem(Wrong.NO_CERTIFICATE, f"{file.name} has no certificate in it, but {what}")


def _loaded(
    file: File, labels: Sequence[str], load: Callable[[bytes], Loaded]
) -> tuple[list[Loaded], list[Problem]]:
    """What is in the blocks with these labels; the first that cannot be read is told, by its place."""
    begun = sum(label.decode() in labels for label in BEGIN.findall(file.content))
    found = list[Loaded]()
    for match in BLOCK.finditer(file.content):
        if match[1].decode() in labels:
            try:
                found.append(load(match[0]))
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                place = file.content[: match.start()].count(b"\n") + 1
                reason = str(error).partition("\n")[0][:150]
                said = f"what begins in line {place} of {file.name} cannot be read: {reason}"
                return found, [Problem(Wrong.DAMAGED, said)]
    if len(found) < begun:
        return found, [Problem(Wrong.DAMAGED, f"{file.name} is cut off: a block in it has no end")]
    return found, []


def _certificate(block: bytes) -> x509.Certificate:
    found = x509.load_pem_x509_certificate(block)
    _ = found.extensions, found.public_key()  # read when they are asked for, and damaged only then
    return found


def _key(block: bytes) -> PrivateKeyTypes:
    return serialization.load_pem_private_key(block, None)
