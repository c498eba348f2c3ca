"""What openstacksdk's tests are given."""

from pathlib import Path

import openstack.config
import pytest

from osbox.judges import sdk
from osbox.judges.people import Login
from osbox.site.site import Site


@pytest.fixture
def place(tmp_path: Path) -> Path:
    logins = {one.user: Login(one, "secret", f"id of {one.user}", one.project) for one in sdk.PEOPLE}
    assert sdk.configured(Site(), tmp_path, logins).environment["OS_CLOUD"] == "devstack-admin"
    return tmp_path


def test_clouds_have_the_names_that_the_suite_calls(place: Path) -> None:
    """Read as the suite reads them; nobody else reads the passwords."""
    found = openstack.config.OpenStackConfig(config_files=[str(place / "clouds.yaml")], load_envvars=False)
    names = ["devstack", "devstack-admin", "devstack-alt", "devstack-system-admin"]
    assert sorted(found.get_cloud_names()) == names
    assert found.get_one("devstack-system-admin").get_auth_args()["system_scope"] == "all"
    assert (place / "clouds.yaml").stat().st_mode & 0o077 == 0


def test_what_the_suite_uploads_is_where_it_is_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tests of images read a file of the SDK's source, and that is not installed."""
    monkeypatch.chdir(place)
    assert Path("CONTRIBUTING.rst").read_bytes()
