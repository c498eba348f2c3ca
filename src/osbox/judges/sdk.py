"""openstacksdk's functional tests, of the services that are here."""

from pathlib import Path
from typing import Any

import yaml

from osbox import files
from osbox.cloud.services import REGION
from osbox.judges import disk, flavors
from osbox.judges.flavors import Size
from osbox.judges.people import MARK, Clouds, Login, Person, taken
from osbox.judges.suite import Run
from osbox.site.site import Site

# As DevStack names them, and so the suite.
PEOPLE = (
    Person("osbox-judge", "osbox-judge", ("admin", "member"), system=("admin",)),
    Person("demo", "demo", ("member", "reader")),
    Person("alt_demo", "alt_demo", ("member", "reader")),
)
PACKAGES = tuple(
    f"openstack.tests.functional.{name}"
    for name in ("baremetal", "cloud", "compute", "identity", "image", "network", "object_store", "placement")
)
IMAGE = "cirros-judge"
UPLOADED = "CONTRIBUTING.rst"
"""The tests of images upload this file of where they are run, which upstream is the SDK's source."""
# As DevStack names them.
FLAVORS = (
    Size("m1.tiny", 512, 1, 1),
    Size("m1.small", 2048, 1, 20),
    Size("m1.medium", 4096, 2, 40),
    Size("m1.large", 8192, 4, 80),
    Size("m1.xlarge", 16384, 8, 160),
)


def prepare(clouds: Clouds, site: Site, place: Path, logins: dict[str, Login]) -> Run:
    """Flavors, an image, and what is in place, for nobody else to read; returns how the suite is run."""
    cloud = clouds.project
    flavors.make(cloud, FLAVORS)
    images: Any = cloud.image
    there = list(images.images(name=IMAGE))
    if any(one.properties.get("osbox_judge") != MARK for one in there):
        raise taken("image", IMAGE)
    if not there:
        files.write(place / "judge.qcow2", disk.empty())
        cloud.image.create_image(
            IMAGE,
            filename=str(place / "judge.qcow2"),
            disk_format="qcow2",
            container_format="bare",
            visibility="public",
            osbox_judge=MARK,
        )
    return configured(site, place, logins)


def configured(site: Site, place: Path, logins: dict[str, Login]) -> Run:
    """clouds.yaml in place, and what the tests read where they are run; returns how that is."""
    text = yaml.safe_dump({"clouds": _clouds(site, logins)}, sort_keys=False)
    files.write(place / "clouds.yaml", text, mode=files.PRIVATE)
    files.write(place / UPLOADED, "A file of osbox judge: openstacksdk's tests upload it as an image.\n")
    return Run(
        PACKAGES,
        {
            "OS_CLIENT_CONFIG_FILE": str(place / "clouds.yaml"),
            "OS_CLOUD": "devstack-admin",
            "OPENSTACKSDK_FLAVOR": FLAVORS[0].name,
            "OPENSTACKSDK_IMAGE": IMAGE,
            "OPENSTACKSDK_DEMO_CLOUD": "devstack",
            "OS_TEST_TIMEOUT": "600",
        },
    )


def remove(clouds: Clouds) -> None:
    """The image that we made."""
    images: Any = clouds.project.image
    for image in list(images.images(name=IMAGE)):
        if image.properties.get("osbox_judge") == MARK:
            images.delete_image(image, ignore_missing=True)


def _clouds(site: Site, logins: dict[str, Login]) -> dict[str, Any]:
    url = f"{site.api(5000)}/v3"
    common = {"region_name": REGION, "identity_api_version": 3}
    found = dict[str, Any]()
    for name, login in (
        ("devstack-admin", logins["osbox-judge"]),
        ("devstack", logins["demo"]),
        ("devstack-alt", logins["alt_demo"]),
    ):
        person = {
            "auth_url": url,
            "username": login.person.user,
            "password": login.password,
            "user_domain_name": login.person.domain,
        }
        project = {"project_name": login.person.project, "project_domain_name": login.person.domain}
        found[name] = {"auth": {**person, **project}, **common}
        if name == "devstack-admin":
            found["devstack-system-admin"] = {"auth": {**person, "system_scope": "all"}, **common}
    return found
