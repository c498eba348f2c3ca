"""site.toml: what is particular to a deployment."""

from pathlib import Path

import pytest
import yaml

from osbox.bootpath.port import own_addresses
from osbox.errors import UserError
from osbox.site.load import load_site
from osbox.site.site import SMALLEST, Site
from tests.conftest import PROJECT


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


SMALL = [
    ("10.1.0.0/25", "10.1.0.20", "10.1.0.126", 18),
    ("10.1.0.0/27", "10.1.0.20", "10.1.0.30", 18),
    ("10.1.0.0/28", "10.1.0.8", "10.1.0.14", 6),
    ("10.1.0.8/29", "10.1.0.12", "10.1.0.14", 2),
]


@pytest.mark.parametrize(("subnet", "first", "last", "fixed"), SMALL)
def test_a_small_subnet_has_a_pool_and_addresses_beside_it(
    subnet: str, first: str, last: str, fixed: int
) -> None:
    """Of a /28, `osbox setup` ended in an IndexError, told as a defect of osbox."""
    site = Site.model_validate({"subnet": subnet})
    assert tuple(map(str, site.pool)) == (first, last)
    assert len(site.fixed) == fixed
    hosts = set(site.subnet.hosts())
    assert {site.address, *site.pool, *site.fixed} <= hosts
    assert site.address not in site.fixed
    assert max(site.fixed) < site.pool[0]
    assert own_addresses(site) == [str(one) for one in reversed(site.fixed)]


NETWORKS = {
    'subnet = "10.1.0.0/30"': "line 1: subnet: 10.1.0.0/30 is too small: the host, Neutron's DHCP server",
    'subnet = "10.1.0.0/32"': "line 1: subnet: 10.1.0.0/32 is too small",
    "subnet = 5": "line 1: subnet: 0.0.0.5/32 is too small",
    '# mine\n"control_subnet" = "10.1.0.0/28"': "line 2: control_subnet: 10.1.0.0/28 is too small",
    'engine_subnet = "10.1.0.0/31"': "line 1: engine_subnet: 10.1.0.0/31 is too small",
    'subnet = "10.29.0.0/16"': "line 1: subnet 10.29.0.0/16 overlaps control_subnet 10.29.28.0/24",
    'name = "x"\ncontrol_subnet = "10.29.29.128/25"': "line 2: subnet 10.29.29.0/24 overlaps control_subnet",
    'subnet = "10.1.0.0/24"\nengine_subnet="10.1.0.0/24"': "line 1, line 2: subnet 10.1.0.0/24 overlaps",
    'control_subnet = "10.29.24.0/22"': "line 1: control_subnet 10.29.24.0/22 overlaps engine_subnet",
    'subnet = "127.0.0.0/24"': "line 1: subnet: 127.0.0.0/24 cannot be used: 127.0.0.0/8 is for loopback",
    'control_subnet = "239.1.0.0/24"': "cannot be used: 224.0.0.0/3 is for multicast",
    'subnet = "0.0.0.0/0"': "line 1: subnet: 0.0.0.0/0 cannot be used",
    'subnet = "169.254.7.0/24"': "line 1: subnet: 169.254.7.0/24 cannot be used",
    "[options.nova]\nDEFAULT = 3": "line 1: options.nova.DEFAULT: ",
}


@pytest.mark.parametrize("text", NETWORKS)
def test_networks_that_cannot_be_are_refused_by_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(UserError) as error:
        load_site(tmp_path)
    assert NETWORKS[text] in error.value.evidence


def test_the_smallest_control_network_has_room_for_every_container() -> None:
    services = yaml.safe_load((PROJECT / "compose" / "stack.yaml").read_text())["services"]
    own = [name for name, service in services.items() if "network_mode" not in service]
    assert len(own) > 20
    smallest = Site.model_validate({"control_subnet": f"10.1.0.0/{SMALLEST['control_subnet'][0]}"})
    assert len(own) < len(list(smallest.control_subnet.hosts()))  # the engine has one, too


def test_listen_wants_an_address() -> None:
    with pytest.raises(UserError, match="--listen everywhere"):
        Site.model_validate({}).listening_on("everywhere")


def test_a_network_that_is_not_made_is_in_nobodys_way(tmp_path: Path) -> None:
    """With the machine's own Docker there is no private engine, and so no network of one."""
    text = 'subnet = "10.29.27.0/24"\nengine = "{}"\n'
    file = tmp_path / "site.toml"
    file.write_text(text.format("host"))
    assert list(load_site(tmp_path).subnets()) == ["subnet", "control_subnet"]
    with pytest.raises(UserError, match="wrong settings"):  # --engine private
        load_site(tmp_path, {"engine": "private"})
    file.write_text(text.format("auto"))
    with pytest.raises(UserError, match="wrong settings"):
        load_site(tmp_path)
    assert load_site(tmp_path, {"engine": "host"}).engine == "host"
