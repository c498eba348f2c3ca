"""Swift's functional tests, S3's among them, of the version that the cloud has."""

from pathlib import Path
from typing import Any

from osbox import files
from osbox.contents import s3
from osbox.judges import people, suite
from osbox.judges.people import Clouds, Login, Person
from osbox.judges.suite import Run
from osbox.site.site import Site

OTHER = "judge-domain"
# The names are the suite's own: its tests of ACLs have them literally (its
# test_access_control.py). The third user has a role that is neither an operator's nor a reader's.
PEOPLE = (
    Person("tester", "test", ("member",)),
    Person("tester2", "test2", ("member",)),
    Person("tester3", "test", ("judge-nobody",)),
    Person("tester4", "test4", ("member",), OTHER),
    Person("tester5", "test5", ("service",)),
    Person("tester6", "test", ("ResellerAdmin",)),
)
PACKAGES = ("test/functional", "test/functional/tests.py", "test/s3api")
"""tests.py is not called as pytest looks for tests."""
FILE = "test.conf"


def prepare(clouds: Clouds, site: Site, place: Path, logins: dict[str, Login], source: Path) -> Run:
    """Write test.conf into place, for nobody else to read; returns how the suite is run."""
    files.write(place / FILE, suite.ini(_settings(clouds, site, logins)), mode=files.PRIVATE)
    environment = {
        "SWIFT_TEST_CONFIG_FILE": str(place / FILE),
        "SWIFT_TEST_IN_PROCESS": "false",
        "PYTHONPATH": str(source),
    }
    return Run(PACKAGES, environment, source)


def _settings(clouds: Clouds, site: Site, logins: dict[str, Login]) -> dict[str, dict[str, str]]:
    """Two owners and a stranger of one project, for S3; and for each user its name, password, project."""
    first, second, third = (logins[name] for name in ("tester", "tester2", "tester3"))
    cloud = clouds.project
    identity: Any = cloud.identity
    identity.assign_project_role_to_user(first.project_id, second.user_id, identity.find_role("member"))
    keys = [people.ec2(cloud, first), people.ec2(cloud, second, first.project_id), people.ec2(cloud, third)]
    storage = site.api(8080)
    named = dict[str, str]()
    for number, login in enumerate(logins.values(), 1):
        suffix = "" if number == 1 else str(number)
        one = login.person
        named |= {
            f"account{suffix}": one.project,
            f"username{suffix}": one.user,
            f"password{suffix}": login.password,
            f"domain{suffix}": one.domain,
        }
    tested, functional = dict[str, str](), dict[str, str]()
    for number, (access, secret) in enumerate(keys, 1):
        suffix = "" if number == 1 else str(number)
        tested |= {f"access_key{number}": access, f"secret_key{number}": secret}
        functional |= {f"s3_access_key{suffix}": access, f"s3_secret_key{suffix}": secret}
    return {
        "s3api_test": {"endpoint": storage, "region": s3.LOCATION, "s3_acl_tests_enabled": "false", **tested},
        "func_test": {
            "auth_version": "3",
            "auth_uri": f"{site.api(5000)}/v3/",
            "s3_storage_url": f"{storage}/",
            "s3_region": s3.LOCATION,
            "service_prefix": "SERVICE",
            "storage_domain": f"swift.{site.name}",
            "collate": "C",
            **named,
            **functional,
        },
    }
