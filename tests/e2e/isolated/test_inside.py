"""What lies inside the services of a cloud that runs: Keystone's password and keys, Nova's cells."""

import base64
import hashlib
import json
import os
import re
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from osbox import run, waiting
from tests.e2e.asking import client, engine, opener
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import APIS, NAME

pytestmark = pytest.mark.e2e

WRITERS = 10
"""Of one row at once, each once: Neutron tries ten times to write what somebody else wrote meanwhile."""
NULL_KEY = base64.urlsafe_b64encode(bytes(32))
"""What Keystone encrypts with when it has no keys (keystone/common/fernet_utils.py, NULL_KEY)."""
HASHES = """
import pymysql
password = open("/run/secrets/db-keystone").read().strip()
cursor = pymysql.connect(host="mysql", user="keystone", password=password, database="keystone").cursor()
cursor.execute("SELECT key_hash FROM credential")
print(*[row[0] for row in cursor.fetchall()])
"""
CELL = (
    "nova-manage cell_v2 create_cell --name cell1"
    " --database_connection {scheme}://{username}:{password}@{hostname}/{path}"
    " --transport-url {scheme}://{username}:{password}@{hostname}:{port}/"
)


def test_a_password_that_keystone_refuses_is_told_at_once_with_a_way_back(cloud: Tool) -> None:
    cloud("up")
    client("user", "set", "--password", "changed-by-hand", "admin")
    for words in (("node", "list"), ("probe",), ("up",)):
        begin = time.monotonic()
        text = cloud(*words, code=1)
        assert "Keystone refuses the password of its user admin" in text
        assert "secrets/admin-password" in text
        assert time.monotonic() - begin < 60, "nothing was waited for"
    [command] = re.findall(r"osbox engine shell -- (docker exec .*)", " ".join(text.split()))
    run.run(["sh", "-c", f"{cloud.program} engine shell -- {command}"], env=ENVIRONMENT, timeout=120)
    assert "Nothing to change" in cloud("up")


def test_secrets_of_users_are_encrypted_with_keys_of_the_cloud(cloud: Tool) -> None:
    client("ec2", "credentials", "create")
    assert hashes()
    assert hashlib.sha1(NULL_KEY).hexdigest() not in hashes()
    listed = engine("docker", "exec", f"keystone.{NAME}", "ls", "/var/lib/keystone/credential-keys").split()
    assert listed == ["0", "1"]


def test_rotated_keys_refuse_nothing(cloud: Tool) -> None:
    """A second rotation of the tokens' keys would, so it is held back; users' secrets outlive many."""
    token = client("token", "issue", "-f", "value", "-c", "id").strip()
    cloud("secrets", "rotate", "fernet")
    assert is_taken(token)
    said = " ".join(cloud("secrets", "rotate", "fernet", code=2).split())
    assert "another rotation would refuse valid tokens" in said
    assert is_taken(token)
    before = hashes()
    for _ in range(3):  # more often than keys are kept
        cloud("secrets", "rotate", "credential")
    assert not set(hashes()) & set(before), "all are encrypted anew"
    secret = json.loads(client("ec2", "credentials", "list", "-f", "json"))[0]["Secret"]
    assert re.fullmatch("[0-9a-f]{32}", secret)
    assert "there are no keys nobody" in cloud("secrets", "rotate", "nobody", code=2)


def is_taken(token: str) -> bool:
    """Keystone itself is asked, without the client's cache."""
    words = {"X-Auth-Token": token, "X-Subject-Token": token}
    request = urllib.request.Request(f"{APIS}:5000/v3/auth/tokens", headers=words)
    return bool(opener().open(request).status == 200)


def hashes() -> list[str]:
    return engine("docker", "exec", f"keystone.{NAME}", "python", "-c", HASHES).split()


def test_a_second_cell1_is_removed(cloud: Tool) -> None:
    """As a migration to another release makes it."""
    inside = ("docker", "exec", f"nova-api.{NAME}")
    engine(*inside, *CELL.split())
    assert cells() == ["cell0", "cell1", "cell1"]
    assert "removed" in engine(*inside, "osbox-cells")
    assert cells() == ["cell0", "cell1"]
    assert engine(*inside, "osbox-cells") == ""
    assert client("hypervisor", "list", "-f", "value").splitlines() == []


def cells() -> list[str]:
    table = engine("docker", "exec", f"nova-api.{NAME}", "nova-manage", "cell_v2", "list_cells")
    return sorted(re.findall(r"^\| *(cell\d) ", table, re.MULTILINE))


def test_an_image_that_is_imported_lies_on_a_volume_meanwhile(cloud: Tool, tmp_path: Path) -> None:
    """And not in memory: of an image of 4 GB, 4 GB were taken."""
    file = tmp_path / "disk.raw"
    file.write_bytes(os.urandom(8 << 20))
    inside = ("docker", "exec", f"glance-api.{NAME}")
    mounts = [line.split() for line in engine(*inside, "cat", "/proc/mounts").splitlines()]
    assert [kind for _, place, kind, *_ in mounts if place == "/var/lib/glance"] not in ([], ["tmpfs"])
    words = ("--import", "--disk-format", "raw", "--container-format", "bare", "-f", "value", "-c", "id")
    number = client("image", "create", "--file", str(file), *words, "imported").strip()
    try:
        waiting.wait(
            "the import",
            lambda: client("image", "show", number, "-f", "value", "-c", "status").strip() == "active",
            60,
        )
        assert engine(*inside, "ls", "/var/lib/glance/staging").split() == [], "nothing is left there"
    finally:
        client("image", "delete", number)


def test_writers_of_one_row_are_all_answered(cloud: Tool) -> None:
    """With MariaDB's own snapshot isolation those that came second got HTTP 500: error 1020, "Record has
    changed since last read" (case E2; of logins it is tests/e2e/test_cloud.py)."""
    column = ("-f", "value", "-c", "id")
    token, new, network = (
        client(*words, *column).strip() for words in (("token", "issue"), NEW_PROJECT, NEW_NETWORK)
    )
    try:
        for method, kind, url in (
            ("PATCH", "project", f"{APIS}:5000/v3/projects/{new}"),
            ("PUT", "network", f"{APIS}:9696/v2.0/networks/{network}"),
        ):

            def write(number: int, method: str = method, kind: str = kind, url: str = url) -> int:
                return answered(method, url, {kind: {"description": f"by {number}"}}, token)

            with ThreadPoolExecutor(WRITERS) as pool:
                codes = list(pool.map(write, range(WRITERS)))
            assert max(codes) < 500, kind
            assert 200 in codes, kind
    finally:
        client("network", "delete", network)
        client("project", "delete", new)


NEW_PROJECT = ("project", "create", "of-writers")
NEW_NETWORK = (
    *("network", "create", "--provider-network-type", "flat"),
    *("--provider-physical-network", "of-writers", "of-writers"),
)


def answered(method: str, url: str, body: object, token: str) -> int:
    words = {"X-Auth-Token": token, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), words, method=method)
    try:
        direct = opener()
        return int(direct.open(request, timeout=60).status)
    except urllib.error.HTTPError as error:
        return error.code
