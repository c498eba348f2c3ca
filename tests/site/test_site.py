"""site.toml: what is particular to a deployment."""

from pathlib import Path

import pytest

from osbox.errors import UserError
from osbox.site.load import load_site
from osbox.site.site import Site


def test_defaults_are_those_of_2015(tmp_path: Path) -> None:
    site = load_site(tmp_path)
    assert (site.name, site.bridge, site.veth, str(site.address)) == (
        "os-in-a-box",
        "provisioning",
        ("ext0", "ext1"),
        "10.29.29.1",
    )
    assert tuple(map(str, site.pool)) == ("10.29.29.20", "10.29.29.200")


def test_any_field_may_be_set(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('name = "lab"\nsubnet = "10.1.0.0/25"\nlisten = "192.0.2.7"\n')
    site = load_site(tmp_path)
    assert (site.name, str(site.address), str(site.pool[1]), str(site.listen)) == (
        "lab",
        "10.1.0.1",
        "10.1.0.126",
        "192.0.2.7",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name = ", "not valid TOML"),
        ('colour = "red"', "colour"),
        ('bridge = "a-name-that-is-too-long"', "bridge"),
        ('subnet = "10.29.29.1/24"', "subnet"),
        ('engine = "podman"', "engine"),
    ],
)
def test_wrong_settings_name_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(UserError) as error:
        load_site(tmp_path)
    assert "site.toml" in error.value.message
    assert told in error.value.message + error.value.evidence


def test_listen_wants_an_address() -> None:
    with pytest.raises(UserError, match="--listen everywhere"):
        Site.model_validate({}).listening_on("everywhere")
