"""Our own authority and its certificates, as clients see them: OpenSSL is asked, strictly."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from osbox import run
from osbox.site.site import Site
from osbox.tls import authority, decide, examine, names
from osbox.tls.authority import Pair
from osbox.tls.decide import Do
from osbox.tls.reading import File, Wrong
from tests.tls.made import DAY, NOW, refused

WANTED = names.wanted(Site(), "box.example")


@pytest.fixture(scope="module")
def signer() -> Pair:
    return authority.authority("os-in-a-box", NOW)


@pytest.fixture(scope="module")
def leaf(signer: Pair) -> Pair:
    return authority.leaf(signer, WANTED, NOW)


@pytest.fixture
def front(signer: Pair, leaf: Pair, tmp_path: Path) -> Path:
    """front.pem, with ca.pem beside it."""
    (tmp_path / "ca.pem").write_text(signer.pem())
    (tmp_path / "leaf.pem").write_text(leaf.pem())
    (tmp_path / "front.pem").write_text(leaf.pem() + signer.pem() + leaf.key_pem())
    return tmp_path / "front.pem"


@pytest.mark.parametrize("host", WANTED)
def test_strict_clients_take_it_by_every_name(front: Path, host: str) -> None:
    assert refused(front, front.with_name("ca.pem"), host) == ""


def test_nobody_takes_it_by_another_name_or_of_another_authority(front: Path, tmp_path: Path) -> None:
    assert "is not valid for '192.0.2.9'" in refused(front, front.with_name("ca.pem"), "192.0.2.9")
    other = tmp_path / "other.pem"
    other.write_text(authority.authority("os-in-a-box", NOW).pem())
    assert refused(front, other, "localhost")


def test_what_is_in_them(signer: Pair, leaf: Pair) -> None:
    assert isinstance(leaf.key.curve, ec.SECP256R1)
    assert isinstance(signer.key.curve, ec.SECP256R1)
    assert (leaf.certificate.not_valid_before_utc, leaf.certificate.not_valid_after_utc) == (
        NOW - DAY,
        NOW + 825 * DAY,
    )
    assert signer.certificate.not_valid_after_utc == NOW + 3650 * DAY
    assert "os-in-a-box" in examine.subject(signer.certificate)
    assert examine.names(leaf.certificate) == WANTED


def test_two_authorities_of_one_deployment_have_two_names(signer: Pair) -> None:
    assert authority.authority("os-in-a-box", NOW).certificate.subject != signer.certificate.subject


def test_the_longest_name_of_a_deployment_fits() -> None:
    authority.authority("a" * 41, NOW)


def test_a_certificate_does_not_outlive_its_authority(signer: Pair) -> None:
    end = signer.certificate.not_valid_after_utc
    assert authority.leaf(signer, WANTED, end - DAY).certificate.not_valid_after_utc == end


MOMENTS = {
    "made": (NOW, True, Do.FRESH),
    "a clock a day behind": (NOW - DAY, True, Do.FRESH),
    "a clock further behind": (NOW - DAY - timedelta(seconds=2), False, Do.ANEW),
    "back a year": (NOW - 365 * DAY, False, Do.ANEW),
    "before 30 days are left": (NOW + 794 * DAY, True, Do.FRESH),
    "30 days are left": (NOW + 795 * DAY, True, Do.RENEW),
    "its last second": (NOW + 825 * DAY - timedelta(seconds=1), True, Do.RENEW),
    "past its end": (NOW + 825 * DAY + timedelta(seconds=1), False, Do.RENEW),
    "past the authority's end": (NOW + 3651 * DAY, False, Do.RENEW),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_clocks_that_jump(front: Path, signer: Pair, leaf: Pair, moment: str) -> None:
    """What is decided, what is told, and what OpenSSL says of that time."""
    now, good, do = MOMENTS[moment]
    assert decide.decide(leaf.certificate, signer.certificate, WANTED, now).do is do
    file = File("front.pem", front.read_bytes())
    found = examine.examine(file, file, [signer.certificate], now=now, needed=WANTED)
    assert (found.problems == ()) == good
    if not good:
        assert {one.kind for one in found.problems} <= {Wrong.EXPIRED, Wrong.NOT_YET}
    assert asked_of_openssl(front, now) == good


def asked_of_openssl(front: Path, now: datetime) -> bool:
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl")
    ca, leaf = front.with_name("ca.pem"), front.with_name("leaf.pem")
    words = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", "127.0.0.1"]
    words += ["-attime", str(int(now.timestamp())), "-CAfile", str(ca), str(leaf)]
    return run.run(words, check=False).code == 0


def test_after_a_jump_ahead_and_back_another_one_is_made(signer: Pair) -> None:
    """Made while the clock was a year ahead, it is good for nobody afterwards."""
    ahead = authority.leaf(signer, WANTED, NOW + 365 * DAY)
    what = decide.decide(ahead.certificate, signer.certificate, WANTED, NOW)
    assert (what.do, "a clock was ahead" in what.why) == (Do.ANEW, True)
    future = authority.authority("os-in-a-box", NOW + 365 * DAY).certificate
    assert decide.decide_authority(future, NOW).do is Do.ANEW


def test_the_authority_is_replaced_long_before_its_end(signer: Pair) -> None:
    end = signer.certificate.not_valid_after_utc
    assert decide.decide_authority(signer.certificate, NOW).do is Do.FRESH
    assert decide.decide_authority(signer.certificate, end - 181 * DAY).do is Do.FRESH
    assert decide.decide_authority(signer.certificate, end - 180 * DAY).do is Do.RENEW
    assert decide.decide_authority(None, NOW).do is Do.ANEW


def test_other_names_make_another_one(signer: Pair, leaf: Pair) -> None:
    more, fewer = [*WANTED, "192.0.2.7"], WANTED[1:]
    assert "not yet for 192.0.2.7" in decide.decide(leaf.certificate, signer.certificate, more, NOW).why
    assert "still for localhost" in decide.decide(leaf.certificate, signer.certificate, fewer, NOW).why
    assert decide.decide(leaf.certificate, signer.certificate, WANTED[::-1], NOW).do is Do.FRESH
    other = authority.authority("os-in-a-box", NOW).certificate
    assert decide.decide(leaf.certificate, other, WANTED, NOW).do is Do.ANEW
    assert decide.decide(None, other, WANTED, NOW).do is Do.ANEW


def test_what_people_are_told(leaf: Pair) -> None:
    told = decide.tell(leaf.certificate, NOW + DAY)
    assert told.days_left == 824
    assert told.fingerprint.count(":") == 31
    assert decide.tell(leaf.certificate, NOW + 830 * DAY).days_left < 0
