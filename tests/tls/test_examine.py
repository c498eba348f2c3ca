"""A certificate that somebody brings: what is wrong with it, and whether a real client says so, too."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from osbox.tls import examine, reading
from osbox.tls.reading import File, Wrong
from tests.tls.made import DAY, NOW, Made, key_pem, made, pem, refused, request, rsa_key

NEEDED = ("127.0.0.1", "10.29.29.1", "api.cloud.example")


@dataclass(frozen=True)
class Given:
    """What is named on the command line: CERT, KEY, CA."""

    certificate: bytes
    key: bytes
    authority: bytes


@cache
def root() -> Made:
    return made("Example root", ca=True)


@cache
def middle() -> Made:
    return made("Example issuing", root(), ca=True)


@cache
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def given(
    certificate: x509.Certificate, *more: x509.Certificate, by: bytes = b"", private: bytes = b""
) -> Given:
    return Given(pem(certificate, *more), private or key_pem(key()), by or pem(root()[0]))


def of_root(**how: object) -> x509.Certificate:
    wanted: dict[str, object] = {"names": NEEDED, "key": key(), **how}
    return made("cloud", root(), **wanted)[0]  # type: ignore[arg-type]


def of_middle() -> x509.Certificate:
    return made("cloud", middle(), names=NEEDED, key=key())[0]


def rsa() -> Given:
    private = rsa_key()
    return given(of_root(key=private), private=key_pem(private, form=serialization.PrivateFormat.PKCS8))


def rsa_old_form() -> Given:
    private = rsa_key()
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return given(of_root(key=private), private=key_pem(private, form=form))


GOOD: dict[str, Callable[[], Given]] = {
    "of a root": lambda: given(of_root()),
    "with one in between": lambda: given(of_middle(), middle()[0]),
    "in between in the authority's file": lambda: given(of_middle(), by=pem(middle()[0], root()[0])),
    "with its root in the file": lambda: given(of_middle(), middle()[0], root()[0]),
    "in a wrong order": lambda: given(middle()[0], of_middle()),
    "beside its key": lambda: Given(
        pem(of_root()) + key_pem(key()), pem(root()[0]) + key_pem(key()), pem(root()[0])
    ),
    "words around it": lambda: given(of_root(), by=b"issuer: gr\xfcn\r\n" + pem(root()[0])),
    "lines as Windows ends them": lambda: given(of_root(), by=pem(root()[0]).replace(b"\n", b"\r\n")),
    "of RSA": rsa,
    "a key as OpenSSL once wrote them": rsa_old_form,
    "several authorities": lambda: given(of_root(), by=pem(made("Other", ca=True)[0], root()[0])),
    "a name with an underscore": lambda: given(of_root(names=("my_host", *NEEDED))),
    "a star": lambda: given(of_root(names=("*.cloud.example", "127.0.0.1", "10.29.29.1"))),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_good_is_taken_by_clients(case: str, tmp_path: Path) -> None:
    found = look(GOOD[case]())
    assert found.problems == ()
    assert found.key
    assert found.root == root()[0]
    for host in NEEDED:
        assert refused_really(found, tmp_path, host) == ""


def look(given: Given, needed: tuple[str, ...] = NEEDED) -> examine.Examined:
    authorities, problems = reading.certificates(File("ca.pem", given.authority))
    if problems:
        return examine.Examined(problems=tuple(problems))
    certificate, key = File("cert.pem", given.certificate), File("cert.key", given.key)
    return examine.examine(certificate, key, authorities, now=NOW, needed=needed)


def refused_really(found: examine.Examined, place: Path, host: str) -> str:
    assert found.key
    assert found.root
    (place / "front.pem").write_bytes(pem(*found.chain) + key_pem(found.key))
    (place / "ca.pem").write_bytes(pem(found.root))
    return refused(place / "front.pem", place / "ca.pem", host)


# Seen by clients, too: all else of these is good.
REFUSED: dict[str, tuple[Callable[[], Given], Wrong]] = {
    "expired": (lambda: given(of_root(end=NOW - DAY / 2)), Wrong.EXPIRED),
    "not yet valid": (lambda: given(of_root(begin=NOW + DAY)), Wrong.NOT_YET),
    "other names": (lambda: given(of_root(names=("api.cloud.example", "127.0.0.1"))), Wrong.OTHER_NAMES),
    "a star for two labels": (lambda: given(of_root(names=("*.0.0.1", "*.example", "*"))), Wrong.OTHER_NAMES),
    "strict": (lambda: given(of_root(strict=False)), Wrong.STRICT),
    "no server's": (lambda: given(of_root(use=ExtendedKeyUsageOID.CLIENT_AUTH)), Wrong.NOT_FOR_SERVERS),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_clients_refuse_is_told(case: str, tmp_path: Path) -> None:
    make, kind = REFUSED[case]
    found = look(make())
    assert kind in {one.kind for one in found.problems}
    assert {one.kind for one in found.problems} <= {kind, Wrong.UNKNOWN_CA, Wrong.STRICT}
    if found.root:
        assert [host for host in NEEDED if refused_really(found, tmp_path, host)]


SELF = made("self", names=NEEDED, key=key())[0]
OTHER_ROOT = pem(made("Other", ca=True)[0])
SAME_NAME = pem(made("Example root", ca=True)[0])
NO_FILE: dict[str, tuple[Callable[[], Given], set[Wrong]]] = {
    "an unknown authority": (lambda: given(of_root(), by=OTHER_ROOT), {Wrong.UNKNOWN_CA}),
    "another authority of the same name": (lambda: given(of_root(), by=SAME_NAME), {Wrong.UNKNOWN_CA}),
    "without what is in between": (lambda: given(of_middle()), {Wrong.UNKNOWN_CA}),
    "one in between that has expired": (
        lambda: given(
            made(
                "cloud",
                (
                    made("Example issuing", root(), ca=True, key=middle()[1], end=NOW - DAY / 2)[0],
                    middle()[1],
                ),
                names=NEEDED,
                key=key(),
            )[0],
            made("Example issuing", root(), ca=True, key=middle()[1], end=NOW - DAY / 2)[0],
        ),
        {Wrong.UNKNOWN_CA},
    ),
    "no root": (lambda: given(of_middle(), by=pem(middle()[0])), {Wrong.NO_ROOT}),
    "signed by one that may not": (
        lambda: given(made("x", (SELF, key()), names=NEEDED, key=key())[0], SELF, by=pem(SELF)),
        {Wrong.UNKNOWN_CA},
    ),
    "the key of another one": (
        lambda: given(of_root(), private=key_pem(ec.generate_private_key(ec.SECP256R1()))),
        {Wrong.OTHER_KEY},
    ),
    "an encrypted key": (lambda: given(of_root(), private=key_pem(key(), b"secret")), {Wrong.ENCRYPTED}),
    "a key encrypted as OpenSSL once did": (
        lambda: given(
            of_root(), private=key_pem(key(), b"secret", serialization.PrivateFormat.TraditionalOpenSSL)
        ),
        {Wrong.ENCRYPTED},
    ),
    "certificate for key": (lambda: given(of_root(), private=pem(of_root())), {Wrong.NO_KEY}),
    "a request for a certificate": (
        lambda: Given(request(key()), key_pem(key()), pem(root()[0])),
        {Wrong.REQUEST},
    ),
    "a key for a certificate": (
        lambda: Given(key_pem(key()), key_pem(key()), pem(root()[0])),
        {Wrong.NO_CERTIFICATE},
    ),
    "a request for an authority": (lambda: given(of_root(), by=request(key())), {Wrong.REQUEST}),
    "a public key": (
        lambda: given(
            of_root(),
            private=key()
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        ),
        {Wrong.NO_KEY},
    ),
    "both are bad": (
        lambda: Given(b"<html>\n", key_pem(key(), b"secret"), pem(root()[0])),
        {Wrong.NO_PEM, Wrong.ENCRYPTED},
    ),
    "a web page": (lambda: Given(b"<html>\n", key_pem(key()), pem(root()[0])), {Wrong.NO_PEM}),
    "nothing": (lambda: Given(b"", b" \n", pem(root()[0])), {Wrong.EMPTY}),
    "DER": (
        lambda: Given(of_root().public_bytes(serialization.Encoding.DER), key_pem(key()), pem(root()[0])),
        {Wrong.NO_PEM},
    ),
    "zeros": (lambda: Given(bytes(4096), key_pem(key()), pem(root()[0])), {Wrong.NO_PEM}),
    "damaged": (lambda: Given(damaged(pem(of_root())), key_pem(key()), pem(root()[0])), {Wrong.DAMAGED}),
    "cut off": (lambda: Given(pem(of_root())[:-30], key_pem(key()), pem(root()[0])), {Wrong.DAMAGED}),
    "a key cut off": (lambda: given(of_root(), private=key_pem(key())[:-30]), {Wrong.DAMAGED}),
    "cut off in the second": (
        lambda: Given(pem(of_middle(), middle()[0])[:-300], key_pem(key()), pem(root()[0])),
        {Wrong.DAMAGED},
    ),
    "no names": (lambda: given(of_root(names=())), {Wrong.NO_NAMES}),
    "no name of a server": (lambda: given(of_root(names=("a b",))), {Wrong.OTHER_NAMES, Wrong.NO_NAMES}),
    "expired, and of an unknown authority": (
        lambda: given(of_root(end=NOW - DAY / 2), by=OTHER_ROOT),
        {Wrong.EXPIRED, Wrong.UNKNOWN_CA},
    ),
}


def damaged(text: bytes) -> bytes:
    lines = text.split(b"\n")
    lines[3] = lines[3][::-1]
    return b"\n".join(lines)


@pytest.mark.parametrize("case", NO_FILE)
def test_what_cannot_be_used_is_told_in_a_sentence(case: str) -> None:
    make, kinds = NO_FILE[case]
    found = look(make())
    assert {one.kind for one in found.problems} == kinds
    assert all(one.said and "\n" not in one.said and len(one.said) < 400 for one in found.problems)
    assert found.root is None


def test_no_authority_at_all_is_trusted() -> None:
    found = examine.examine(File("c", pem(of_root())), File("k", key_pem(key())), [], now=NOW, needed=NEEDED)
    assert [one.kind for one in found.problems] == [Wrong.UNKNOWN_CA]


def test_a_star_is_for_no_whole_domain(tmp_path: Path) -> None:
    certificate = of_root(names=("*.example",))
    assert examine.lacking(certificate, ["cloud.example"]) == ["cloud.example"]
    found = look(given(certificate), ("cloud.example",))
    assert "is not valid for" in refused_really(found, tmp_path, "cloud.example")


def test_the_place_of_what_is_damaged_is_told() -> None:
    text = pem(root()[0]) + damaged(pem(root()[0]))
    _, (problem,) = reading.certificates(File("ca.pem", text))
    line = pem(root()[0]).count(b"\n") + 1
    assert f"line {line} of ca.pem" in problem.said


def test_the_chain_is_shown_in_its_order() -> None:
    leaf = of_middle()
    found = look(given(root()[0], middle()[0], leaf))
    assert found.chain == (leaf, middle()[0])


def test_what_a_certificate_says_does_nothing_to_a_terminal() -> None:
    bad = "\x1b[2Jx"
    found = look(given(made(bad, made(bad, ca=True), names=(bad,), key=key())[0]))
    assert found.problems
    assert "\x1b" not in "".join(one.said for one in found.problems)
    other = ec.generate_private_key(ec.SECP256R1())
    found = look(given(made(bad, root(), names=NEEDED, key=key())[0], private=key_pem(other)))
    assert "\x1b" not in found.problems[0].said


def test_no_key_is_told_of() -> None:
    """Neither in what is wrong, nor in what a test or a log would print."""
    secret = key_pem(key()).split(b"\n")[1].decode()
    for make, _ in NO_FILE.values():
        assert secret not in repr(look(make()))
    assert secret not in repr(look(GOOD["of a root"]()))
