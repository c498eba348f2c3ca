"""Swift as its users know it: by its own API and by S3's, with the client that everybody has (boto3)."""

import datetime
import hashlib
import json
import os
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from osbox import run, waiting
from osbox.cloud import sessions
from osbox.site.load import load_site
from tests.e2e import changes, crash
from tests.e2e.asking import client as openstack
from tests.e2e.asking import engine, opener, started
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import APIS, HOME, NAME, TRUSTED

pytestmark = pytest.mark.e2e

MIB = 1 << 20
SECONDS = 120  # the name of a container that was stopped is asked for in vain, again and again
BUCKET = "osbox-check"


@pytest.fixture(scope="module")
def access(ready: Tool) -> dict[str, str]:
    cloud = ready
    found = cloud.json("s3", "credentials")
    assert cloud.json("s3", "credentials") == found, "made once"
    said = cloud("s3", "credentials")
    assert f"export AWS_ACCESS_KEY_ID={found['access']}" in said  # type: ignore[index]
    assert f"export AWS_ENDPOINT_URL_S3={APIS}:8080" in said
    return found  # type: ignore[return-value]


def client(told: dict[str, str], **more: Any) -> Any:
    own = told | more
    settings = Config(
        signature_version=own.get("signature", "s3v4"),
        s3={"addressing_style": "path"},
        retries={"max_attempts": 1},
        proxies={},
    )
    return boto3.client(
        "s3",
        endpoint_url=own["endpoint"],
        verify=str(TRUSTED),
        region_name=own["region"],
        aws_access_key_id=own["access"],
        aws_secret_access_key=own["secret"],
        config=settings,
    )


@pytest.fixture(scope="module")
def s3(access: dict[str, str]) -> Iterator[Any]:
    found = client(access)
    found.create_bucket(Bucket=BUCKET)
    yield found
    for kind in ("Versions", "DeleteMarkers"):
        for one in found.list_object_versions(Bucket=BUCKET).get(kind, []):
            found.delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])
    found.delete_bucket(Bucket=BUCKET)


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Status and code of the answer to a request that Swift refuses."""
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_objects_of_an_s3_client(s3: Any) -> None:
    s3.put_object(
        Bucket=BUCKET, Key="a/b c.txt", Body=b"hello", Metadata={"x": "y"}, ChecksumAlgorithm="SHA256"
    )
    assert s3.get_object(Bucket=BUCKET, Key="a/b c.txt")["Body"].read() == b"hello"
    assert s3.head_object(Bucket=BUCKET, Key="a/b c.txt")["Metadata"] == {"x": "y"}
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/a/b c.txt")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["a/b c.txt", "copy"]
    assert BUCKET in [one["Name"] for one in s3.list_buckets()["Buckets"]]


def test_an_object_in_parts(s3: Any, tmp_path: Any) -> None:
    whole = os.urandom(12 * MIB)
    (tmp_path / "whole").write_bytes(whole)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_file(str(tmp_path / "whole"), BUCKET, "parts", Config=parts)
    got = s3.get_object(Bucket=BUCKET, Key="parts")
    assert got["ETag"].strip('"').endswith("-3")
    assert hashlib.sha256(got["Body"].read()).digest() == hashlib.sha256(whole).digest()


def test_addresses_that_are_signed_beforehand(s3: Any) -> None:
    open_ = opener().open
    put = s3.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "signed"}, 60)
    assert open_(urllib.request.Request(put, b"x", method="PUT", headers={"Content-Type": ""})).status == 200
    get = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "signed"}, 60)
    assert open_(get).read() == b"x"


def test_versions_of_an_object(s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=BUCKET, Key="versions", Body=body)
    found = s3.list_object_versions(Bucket=BUCKET, Prefix="versions")["Versions"]
    assert [one["IsLatest"] for one in found] == [True, False]
    old = s3.get_object(Bucket=BUCKET, Key="versions", VersionId=found[1]["VersionId"])
    assert old["Body"].read() == b"1"


def test_what_s3_refuses(access: dict[str, str], s3: Any) -> None:
    """With the codes that clients know what to say of."""
    wrong = refused(client(access, secret="0" * 32).list_buckets)
    unknown = refused(client(access, access="f" * 32).list_buckets)
    assert wrong == unknown == (403, "SignatureDoesNotMatch")
    elsewhere = refused(client(access, region="eu-central-1").list_buckets)
    assert elsewhere == (400, "AuthorizationHeaderMalformed")
    assert refused(lambda: s3.list_objects_v2(Bucket="nobody-has-this")) == (404, "NoSuchBucket")
    assert refused(lambda: s3.create_bucket(Bucket=BUCKET)) == (409, "BucketAlreadyOwnedByYou")
    assert refused(lambda: s3.create_bucket(Bucket="Osbox_UP")) == (400, "InvalidBucketName")


@pytest.mark.parametrize(("minutes", "answer"), [(10, None), (20, (403, "RequestTimeTooSkewed"))])
def test_a_clock_that_is_off(access: dict[str, str], minutes: int, answer: tuple[int, str] | None) -> None:
    def now(remove_tzinfo: bool = True) -> datetime.datetime:
        then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
        return then.replace(tzinfo=None) if remove_tzinfo else then

    with mock.patch("botocore.auth.get_current_datetime", now):
        if answer:
            assert refused(client(access).list_buckets) == answer
        else:
            client(access).list_buckets()


def test_buckets_of_another_project(cloud: Tool, access: dict[str, str], s3: Any) -> None:
    """The same name may be had by each project: a bucket is a container of the credentials' own."""
    assert "there is no project nobodys" in cloud("s3", "credentials", "--project", "nobodys", code=2)
    openstack("project", "create", "box")
    try:
        said = " ".join(cloud("s3", "credentials", "--project", "box", code=2).split())
        assert "admin has no role in the project box" in said
        openstack("role", "add", "--user", "admin", "--project", "box", "member")
        other = client(cloud.json("s3", "credentials", "--project", "box"))  # type: ignore[arg-type]
        other.create_bucket(Bucket=BUCKET)
        assert other.list_objects_v2(Bucket=BUCKET).get("KeyCount", 0) == 0
        other.delete_bucket(Bucket=BUCKET)
    finally:
        openstack("project", "delete", "box")


class Account:
    """Swift's own API with the administrator's token."""

    def __init__(self) -> None:
        self.session = sessions.session(crash.PATHS, load_site(HOME))
        self.url = f"{APIS}:8080/v1/AUTH_{self.session.get_project_id()}"

    def __call__(self, method: str, path: str, status: int, body: bytes = b"", **headers: str) -> Any:
        words = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.session.request(
            self.url + path,
            method,
            data=body,
            headers=words,
            raise_exc=False,
            redirect=False,
            timeout=SECONDS,
        )
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer

    def status(self, path: str) -> int:
        return int(self.session.get(self.url + path, raise_exc=False).status_code)


@pytest.fixture
def swift(ready: Tool) -> Iterator[Account]:
    account = Account()
    account("PUT", "/check", 201)
    yield account
    listed = account.session.get(f"{account.url}/check").text  # 204 when it is empty
    for line in listed.split():
        account.session.delete(f"{account.url}/check/{line}", raise_exc=False)
    account("DELETE", "/check", 204)


def test_what_swift_says_that_it_can(swift: Account) -> None:
    told = swift.session.get(f"{APIS}:8080/info").json()
    assert set(told) >= {
        "account_quotas",
        "bulk_delete",
        "bulk_upload",
        "container_quotas",
        "etag_quoter",
        "formpost",
        "ratelimit",
        "s3api",
        "slo",
        "staticweb",
        "symlink",
        "tempurl",
        "versioned_writes",
    }


def test_quotas_links_and_pages_of_swift(swift: Account) -> None:
    swift("POST", "/check", 204, X_Container_Meta_Quota_Bytes="10")
    swift("PUT", "/check/large", 413, b"x" * 11)
    swift("POST", "/check", 204, X_Remove_Container_Meta_Quota_Bytes="1")
    swift("PUT", "/check/real", 201, b"real")
    swift("PUT", "/check/link", 201, X_Symlink_Target="check/real", Content_Type="application/symlink")
    assert swift("GET", "/check/link", 200).content == b"real"
    swift("PUT", "/check/index.html", 201, b"a page", Content_Type="text/html")
    swift("POST", "/check", 204, X_Container_Meta_Web_Index="index.html", X_Container_Read=".r:*,.rlistings")
    open_ = opener().open
    assert open_(f"{swift.url}/check/").read() == b"a page"


def test_many_at_once(swift: Account) -> None:
    for name in ("one", "two"):
        swift("PUT", f"/check/{name}", 201, name.encode())
    manifest = b'[{"path": "/check/one"}, {"path": "/check/two"}]'
    swift("PUT", "/check/whole?multipart-manifest=put", 201, manifest)
    assert swift("GET", "/check/whole", 200).content == b"onetwo"
    names = b"/check/one\n/check/two\n/check/whole\n"
    answer = swift("POST", "?bulk-delete=1", 200, names, Content_Type="text/plain", Accept="application/json")
    assert answer.json()["Number Deleted"] == 3
    assert swift("GET", "/check", 204).text == ""


# --- storage policies
# --------------------------------------------------------------------------------


def test_a_second_storage_policy(ready: Tool, swift: Account) -> None:
    """It stays for what comes after: no policy is taken away."""
    site = HOME / "site.toml"
    before = site.read_text()
    site.write_text('swift_policies = ["Policy-0", "silver"]\n' + before)
    done, why, _ = changes.up_does_what_is_planned(ready)
    names = ("proxy", "account", "container", "object", "daemons")
    assert done == dict.fromkeys((f"swift-{name}" for name in names), "recreate")
    assert "OSBOX_SWIFT_POLICIES" in why["swift-object"][0]
    told = swift.session.get(f"{APIS}:8080/info").json()["swift"]["policies"]
    assert {one["name"]: one.get("default", False) for one in told} == {"Policy-0": True, "silver": False}

    swift("PUT", "/silver", 201, X_Storage_Policy="silver")
    try:
        others = stored()
        swift("PUT", "/silver/spoon", 201, b"shiny")
        assert swift("GET", "/silver/spoon", 200).content == b"shiny"
        assert (len(stored("objects-1")), stored()) == (1, others)
        passed("object-replicator", "object-updater")  # they look at all policies' rings
    finally:
        swift.session.delete(f"{swift.url}/silver/spoon", raise_exc=False)
        swift("DELETE", "/silver", 204)

    found: Any = ready.json("swift", "rings")
    assert [(one["name"], one["policy"]) for one in found][2:] == [
        ("object", "Policy-0"),
        ("object-1", "silver"),
    ]
    assert [one["partitions"] for one in found[3]["devices"]] == [64]
    assert "object-1 (silver): nothing to move" in ready("swift", "rings", "--rebalance")

    site.write_text(before)
    try:
        assert "silver cannot be removed" in " ".join(ready("plan", code=2).split())
    finally:
        site.write_text('swift_policies = ["Policy-0", "silver"]\n' + before)


# --- the daemons
# --------------------------------------------------------------------------------


def passed(*names: str) -> None:
    """Run these passes now; none of them fails."""
    engine("docker", "exec", f"swift-daemons.{NAME}", "swift-daemons", "--once", *names)


def failed(name: str) -> dict[str, int]:
    """Run a pass that logs errors; what is told of it."""
    argv = [Tool.program, "engine", "shell", "--", "docker", "exec", f"swift-daemons.{NAME}"]
    result = run.run([*argv, "swift-daemons", "--once", name], env=ENVIRONMENT, check=False, timeout=300)
    assert result.code == 1, result.out + result.err
    found: dict[str, int] = json.loads(result.out.partition(" ")[2])
    return found


def made() -> dict[str, dict[str, Any]]:
    """The passes that ended once, as they are written down."""
    words = ("docker", "exec", f"swift-daemons.{NAME}", "swift-daemons", "passes")
    return {name: one for name, one in json.loads(engine(*words)).items() if "code" in one}


def stored(kind: str = "objects", suffix: str = "data") -> set[str]:
    """The files on Swift's disk."""
    words = ("find", f"/srv/node/d1/{kind}", "-type", "f", "-name", f"*.{suffix}")
    return set(engine("docker", "exec", f"swift-object.{NAME}", *words).split())


def test_an_object_that_expires_leaves_the_disk(swift: Account) -> None:
    before = stored()
    swift("PUT", "/check/short", 201, b"y" * 999, X_Delete_After="10")  # the disk is looked at meanwhile
    [file] = stored() - before
    waiting.wait("the end of an object", lambda: swift.status("/check/short") == 404, 60, poll=0.5)
    swift("GET", "/check/short", 404, X_Open_Expired="true")
    # The queue is read by the hour that an object is due in; the daemon's own pass may have been first.
    passed("object-expirer")
    waiting.wait("the file to go", lambda: file not in stored(), 60)


def test_an_update_that_failed_reaches_the_listing(swift: Account) -> None:
    swift("PUT", "/check/first", 201, b"x")
    engine("docker", "stop", "--time", "1", f"swift-container.{NAME}")
    try:
        swift("PUT", "/check/second", 201, b"x")
        told = failed("object-updater")
        assert told["errors"] > 0, "neither recon nor the exit code of the pass says anything of it"
    finally:
        started("swift-container")
    passed("object-updater")
    assert swift("GET", "/check", 200).text.split() == ["first", "second"]


def test_a_rotten_file_is_found_before_anybody_reads_it(swift: Account) -> None:
    # The auditor's own first pass, beside this one, was the one that found it on a slow machine; the next is
    # an hour later.
    waiting.wait("the object auditor's first pass", lambda: "object-auditor" in made(), 300)
    before = stored()
    swift("PUT", "/check/rotten", 201, os.urandom(5000))
    [file] = stored() - before
    write = f"f = open({file!r}, 'r+b'); f.seek(100); f.write(b'0000')"
    engine("docker", "exec", f"swift-object.{NAME}", "python", "-c", write)
    assert failed("object-auditor")["code"] == 0, "it says that it found one"
    assert file not in stored()
    assert swift.status("/check/rotten") == 404


def test_what_an_account_had_leaves_the_disk(swift: Account) -> None:
    """An account is deleted by Swift's own client: the proxy lets nobody do it."""
    before, project = stored(), uuid.uuid4().hex
    lines = (
        "from swift.common.internal_client import InternalClient",
        "client = InternalClient('/etc/swift/daemons/internal-client.conf', 'check', 1)",
        f"client.create_container('AUTH_{project}', 'box')",
        "import io",
        f"client.upload_object(io.BytesIO(b'x' * 100), 'AUTH_{project}', 'box', 'thing')",
        f"client.delete_account('AUTH_{project}', acceptable_statuses=(2,))",
    )
    engine("docker", "exec", f"swift-daemons.{NAME}", "python", "-c", "\n".join(lines))
    assert stored() - before
    passed("account-reaper")
    assert stored() <= before
    swift("DELETE", "", 405)


def test_all_passes_are_made_and_written_down(ready: Tool) -> None:
    first = {"object-expirer", "account-reaper", "account-auditor"}
    waiting.wait("the first passes of both lanes", lambda: first <= set(made()), 180)
    found = made()
    assert {one["code"] for one in found.values()} == {0}
    assert [found[name]["lane"] for name in sorted(first)] == ["slow", "quick", "quick"]
    begun = found["object-expirer"]["clock"]
    waiting.wait("the next pass", lambda: made()["object-expirer"]["clock"] > begun, 180)
    passed("container-updater", "container-sharder", "account-auditor", "container-auditor")
    passed("account-replicator", "container-replicator", "object-replicator")


def test_status_shows_the_passes(ready: Tool) -> None:
    def shown() -> list[str]:
        services: Any = ready.json("status")
        [daemons] = [one for one in services if one["service"] == "swift-daemons"]
        return [one["name"] for one in daemons.get("passes", ())]

    # It waits 5 s for them, and shows the services without them when the machine has more to do.
    waiting.wait("the passes in the status", lambda: len(shown()) == 11, 60)
