"""What the doctor says of the entrance's certificate."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from osbox import doctor
from osbox.cloud import entrance
from osbox.doctor import certificate
from osbox.doctor.finding import Facts, Finding
from osbox.engine.info import ContainerInfo, State
from osbox.site.site import Paths, Site
from osbox.tls import store

SITE = Site(tls=True)
NOW = datetime.now(UTC)


pytestmark = pytest.mark.usefixtures("own_user")


def found(paths: Paths, site: Site = SITE, *, runs: bool = True) -> list[Finding]:
    front = ContainerInfo("1", "front.os-in-a-box", "os-front:1", "sha256:1", State("running"))
    facts = Facts(paths, site, paths, containers={"front": front} if runs else {})
    return doctor.examine(facts, {"certificate": certificate.check_certificate})


def made(paths: Paths, monkeypatch: pytest.MonkeyPatch, since: datetime = NOW) -> None:
    """There is one of that time, and it is shown."""
    store.ensure(paths, SITE, store.names_here(SITE), since)
    file = paths.tls / "front" / "front.pem"
    own = file.read_text().partition("-----END CERTIFICATE-----")
    monkeypatch.setattr(entrance, "shown", lambda _: ssl.PEM_cert_to_DER_cert(own[0] + own[1]))


def test_a_good_one(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    made(paths, monkeypatch)
    [one] = found(paths)
    assert (one.level, one.what) == ("ok", "the entrance's certificate is good for 824 days")


@pytest.mark.parametrize(("days", "level"), [(800, "warning"), (826, "error")])
def test_one_that_ends(paths: Paths, monkeypatch: pytest.MonkeyPatch, days: int, level: str) -> None:
    made(paths, monkeypatch, NOW - timedelta(days=days))
    [one] = found(paths)
    assert (one.level, one.next) == (level, "osbox tls renew")


def test_one_that_is_not_shown(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    made(paths, monkeypatch)
    store.ensure(paths, SITE, store.names_here(SITE), NOW, anew=True)
    [one] = found(paths)
    assert (one.level, one.next) == ("error", "osbox up")
    assert "shows another certificate" in one.what
    assert [one.level for one in found(paths, runs=False)] == ["ok"]
    monkeypatch.setattr(entrance, "shown", lambda _: b"")
    [one] = found(paths)
    assert (one.level, "shows no certificate" in one.what) == ("error", True)


def test_without_any(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "shown", lambda _: b"")
    assert [one.level for one in found(paths)] == ["error"]
    assert found(paths, runs=False) == [], "there is no cloud yet"


def test_without_tls(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "shown", lambda _: b"")
    [one] = found(paths, Site(tls=False))
    assert (one.level, "can be read" in one.what) == ("warning", True)
    assert found(paths, Site(tls=False), runs=False) == []
