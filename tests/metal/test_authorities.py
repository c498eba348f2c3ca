"""The authority of a BMC's certificate, from a person's file to where ironic-conductor reads it."""

import os
from pathlib import Path

import pytest
import yaml

from osbox import files
from osbox.errors import UserError
from osbox.metal import authorities, difference
from osbox.metal.difference import NodeRecord, Settings
from osbox.metal.nodesfile import load
from osbox.site.site import Paths
from tests.conftest import PROJECT

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBkjCCATegAwIBAgIURuoM/8wC3KrL2Fn/GYx5x33MBPQwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSQk1DIHRlc3QgYXV0aG9yaXR5MCAXDTI2MTEyODE1NTUxOFoY
DzIxMjYxMTA0MTU1NTE4WjAdMRswGQYDVQQDDBJCTUMgdGVzdCBhdXRob3JpdHkw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT3H5q/9Uemkz1pdzuSsgoIy4h5IXin
G8EEtLibMQuH8o5z3Ymegej0ClecN+PdTdhuLNXrFvGthW6zmgGLS6cOo1MwUTAd
BgNVHQ4EFgQU2UJnf5F9vQukeO88fXXuvzMFCUQwHwYDVR0jBBgwFoAU2UJnf5F9
vQukeO88fXXuvzMFCUQwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBG
AiEAsfReaHgScAZ2QgxATVog1LruF3DRvRCPvQ8kfl7cx4UCIQCxjTeef48EPPI+
UeRWzU2J3WXy8HZZnEM3WOhmnNmYBA==
-----END CERTIFICATE-----
"""
KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n"
SETTINGS = Settings("project", {}, b"key")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two nodes with one authority, and one without."""
    (tmp_path / "ca.pem").write_text(f"issuer: ours\n{KEY}{AUTHORITY}")
    told: tuple[dict[str, object], ...] = (
        {"verify_ca": "ca.pem"},
        {"verify_ca": str(tmp_path / "ca.pem")},
        {"verify_ca": False},
    )
    nodes = [
        {
            "name": f"n{number}",
            "bmc": {"address": f"10.0.0.{number}", "username": "root", "password": "x", **more},
            "ports": [f"52:54:00:00:00:0{number}"],
        }
        for number, more in enumerate(told, 1)
    ]
    (tmp_path / "nodes.yaml").write_text(yaml.safe_dump({"nodes": nodes}))
    return tmp_path / "nodes.yaml"


def test_the_conductor_gets_the_certificates_and_no_key(file: Path, paths: Paths) -> None:
    old = os.umask(0o077)
    try:
        kept = authorities.keep(paths, load(file))
    finally:
        os.umask(old)
    told = [node.driver_info()["redfish_verify_ca"] for node in kept.nodes]
    (there,) = paths.bmc_ca.iterdir()
    assert told == [f"/etc/osbox/bmc-ca/{there.name}"] * 2 + [False]
    assert there.read_text() == AUTHORITY
    assert (files.mode_of(there), files.mode_of(paths.bmc_ca)) == (0o644, 0o755)
    mounts = yaml.safe_load((PROJECT / "compose/stack.yaml").read_text())["services"]["ironic-conductor"][
        "volumes"
    ]
    (mount,) = (item for item in mounts if isinstance(item, dict) and "bmc-ca" in item["source"])
    assert (mount["target"], mount["source"]) == (
        str(authorities.INSIDE),
        f"${{OSBOX_HOME:-/var/lib/osbox}}/{paths.bmc_ca.name}",
    )


def test_a_plan_writes_nothing_and_says_the_same(file: Path, paths: Paths) -> None:
    seen = authorities.seen(load(file))
    assert not paths.bmc_ca.exists()
    assert seen == authorities.keep(paths, load(file))


def test_a_file_that_changed_is_a_difference(file: Path, paths: Paths) -> None:
    first = authorities.keep(paths, load(file)).nodes[0]
    told = {**difference.whole(first, SETTINGS), "driver_info": first.driver_info()}
    record = NodeRecord("id", first.name, "active", told)
    (file.parent / "ca.pem").write_text(AUTHORITY * 2)
    second = authorities.keep(paths, load(file)).nodes[0]
    change = difference.differences([second], [record], SETTINGS)[second.name]
    assert [one["path"] for one in change.patch] == ["/driver_info/redfish_verify_ca"]
    assert len(list(paths.bmc_ca.iterdir())) == 2, "a node may name the one of before"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no certificate in it"),
        (KEY, "has no certificate in it"),
        (AUTHORITY.replace("MIIB", "AAAA"), "is damaged"),
        (AUTHORITY.replace("MIIB", "MIÜB"), "is damaged"),
    ],
)
def test_what_is_no_authority_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(UserError, match=says):
        authorities.certificates(tmp_path / "x")


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_stands_around_the_certificates_is_of_any_encoding(
    tmp_path: Path, encoding: str, end: str
) -> None:
    """`openssl x509 -text` and bundles of an enterprise have the issuer's name above each."""
    text = f"# Prüfstelle Köln\n{AUTHORITY}".replace("\n", end)
    (tmp_path / "x").write_bytes(text.encode(encoding))
    assert authorities.certificates(tmp_path / "x") == AUTHORITY


@pytest.mark.parametrize(
    ("given", "says"), [("~nobodyknown/ca.pem", "knows no home of ~nobodyknown"), (".", "a directory")]
)
@pytest.mark.parametrize("key", ["verify_ca", "password_file"])
def test_a_path_that_leads_nowhere_is_told_with_its_line(file: Path, key: str, given: str, says: str) -> None:
    data = yaml.safe_load(file.read_text())
    data["nodes"][0]["bmc"] |= {key: given}
    if key == "password_file":
        del data["nodes"][0]["bmc"]["password"]
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(UserError, match=r"nodes\.yaml has a problem") as refused:
        load(file)
    assert f"nodes[0].bmc.{key}: " in refused.value.evidence
    assert says in refused.value.evidence
