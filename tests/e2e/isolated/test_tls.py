"""The APIs speak TLS, and clients verify; a certificate is renewed while they are at work."""

import http.client
import json
import re
import ssl
import threading
import time
import uuid
from collections import Counter

import pytest

from osbox.cloud import entrance, sessions
from osbox.cloud.services import APIS as SERVICES
from osbox.site.load import load_site
from tests.e2e import crash
from tests.e2e.asking import ask, client, link
from tests.e2e.conftest import Tool
from tests.home import APIS, HOME, LOOPBACK, SITE, TRUSTED

pytestmark = pytest.mark.e2e

LINKS = {"glance-api": "/", "nova-api": "/", "neutron-server": "/", "keystone": "/", "ironic-api": "/"}
PAUSE_SECONDS = 0.02


def test_who_speaks_http_is_told(ready: Tool) -> None:
    for api in SERVICES:
        connection = http.client.HTTPConnection(LOOPBACK, api.port, timeout=30)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 400
        assert "write https:// in place of http://" in json.loads(answer.read())["error"]["message"]
        connection.close()


def test_who_knows_the_authority_only_connects(ready: Tool) -> None:
    stranger = http.client.HTTPSConnection(LOOPBACK, 5000, timeout=30, context=ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate in certificate chain"):
        stranger.connect()
    old = ssl.create_default_context(cafile=str(TRUSTED))
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")  # or our own side would refuse
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.protocol.version"):
        http.client.HTTPSConnection(LOOPBACK, 5000, timeout=30, context=old).connect()


def test_no_document_leads_back_to_http(ready: Tool) -> None:
    """A client's password or token would follow it."""
    for api in SERVICES:
        if api.service in LINKS:
            _, body = ask(api.port, LINKS[api.service])
            found = set(re.findall(r"(https?)://[^/\"]*?(?:127\.0\.29|10\.29)\.", body.decode()))
            assert found == {"https"}, api.service
    table = json.loads(client("catalog", "list", "-f", "json"))
    public = [one["url"] for row in table for one in row["Endpoints"] if one["interface"] == "public"]
    assert len(public) == len(SERVICES)
    assert {url.partition(":")[0] for url in public} == {"https"}


def test_swift_leads_to_no_http(ready: Tool) -> None:
    """It does not ask by which scheme a request came, and answers with where to go, the whole address."""
    session = sessions.session(crash.PATHS, load_site(HOME))
    place = f"/v1/AUTH_{session.get_project_id()}/web-{uuid.uuid4().hex[:8]}"
    session.put(
        f"{APIS}:8080{place}",
        headers={"X-Container-Read": ".r:*,.rlistings", "X-Container-Meta-Web-Index": "i"},
    )
    connection = link(8080, 60)
    try:
        connection.request("GET", place)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Location")) == (301, f"{APIS}:8080{place}/")
    finally:
        connection.close()
        session.delete(f"{APIS}:8080{place}")


def test_what_a_client_says_of_its_way_is_not_believed(ready: Tool) -> None:
    _, body = ask(5000, "/v3", {"X-Forwarded-Proto": "ftp", "X-Forwarded-Host": "evil.example"})
    assert b"evil" not in body
    assert f"{APIS}:5000/v3" in body.decode()


def test_a_renewal_loses_no_connection(ready: Tool) -> None:
    stop, seen = threading.Event(), Counter[str]()
    kept = link(5000, 60)
    kept.connect()
    begun = kept.sock

    def work() -> None:
        while not stop.wait(PAUSE_SECONDS):
            try:
                seen[str(ask(8080, "/healthcheck")[0])] += 1
            except OSError as error:
                seen[repr(error)] += 1
            kept.request("GET", "/v3")
            seen[f"kept {kept.getresponse().read() != b''}"] += 1

    before = entrance.shown(load_site(HOME))
    asking = threading.Thread(target=work)
    asking.start()
    try:
        time.sleep(0.5)
        ready("tls", "renew")
        time.sleep(0.5)
    finally:
        stop.set()
        asking.join(60)
    print(dict(seen))
    assert set(seen) == {"200", "kept True"}
    assert kept.sock is begun, "one connection from the first to the last"
    assert entrance.shown(load_site(HOME)) != before
    ready("tls", "show")  # nothing is wrong with it
    assert "Nothing to change" in ready("up")


@pytest.mark.full
def test_a_site_without_tls(ready: Tool) -> None:
    (HOME / "site.toml").write_text(f"{SITE}tls = false\n")
    try:
        text = ready("up")
        assert "front" in text
        connection = http.client.HTTPConnection(LOOPBACK, 5000, timeout=60)
        connection.request("GET", "/v3")
        assert f"http://{LOOPBACK}:5000/v3" in connection.getresponse().read().decode()
        assert "RegionOne" in client("region", "list")
    finally:
        (HOME / "site.toml").write_text(SITE)
        ready("up")
    assert "RegionOne" in client("region", "list")
    assert ask(5000, "/v3")[0] == 200
