"""site.toml: what is particular to a deployment."""

from pathlib import Path

import pytest
import yaml

from osbox.bootpath.port import own_addresses
from osbox.errors import UserError
from osbox.site.containers import NEEDED
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
    "subnet = 5": 'line 1: subnet: this is no IPv4 network with its length ("10.29.29.0/24")',
    "subnet = true": "line 1: subnet: this is no IPv4 network",
    'subnet = "10.1.0.0"': "line 1: subnet: '10.1.0.0' is no IPv4 network with its length",
    'subnet = "fd00::/64"': "line 1: subnet: 'fd00::/64' is no IPv4 network",
    'subnet = "10.1.0.7/24"': "line 1: subnet: 10.1.0.7/24 has host bits set: the network is 10.1.0.0/24",
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
    "[options.nova]\nDEFAULT = 3": "line 2: options.nova.DEFAULT: must be a mapping",
}
OTHERS = {
    "name = 5": "line 1: name: '5' is not text: put it in quotes",
    'name = "lab-"': "line 1: name: 'lab-' has characters that are not allowed here",
    'name.a = "x"': "line 1: name: must be text, and no list or mapping",
    'bridge = "lo"': "line 1: bridge: 'lo' is the name of a link that is not ours",
    'engine_bridge = "docker0"': "line 1: engine_bridge: 'docker0' is the name of a link that is not ours",
    'control_bridge = ""': "line 1: control_bridge: '' has characters that are not allowed here",
    'engine_bridge = "engine-of-osbox-2"': "line 1: engine_bridge: 'engine-of-osbox-2' has characters",
    'workers = 2\nveth = ["of the host", "b"]': "line 2: veth.0: 'of the host' has characters",
    'veth = ["a"]': "line 1: veth.1: is missing",
    'veth = ["a", "b", "c"]': "line 1: veth: has more than 2 items",
    'veth = ["a", "a"]': "line 1: both of veth have the same name, a",
    'name = "x"\nbridge = "ext0"': "line 2: bridge and veth have the same name, ext0",
    'bridge = "c-db"\ncontrol_bridge = "c"': "bridge and control_bridge have the same name, c-db",
    'bridge = "b"\ncontrol_bridge = "b"': "line 1, line 2: bridge and control_bridge have the same name, b",
    'loopback = "10.0.0.1"': "line 1: loopback: 10.0.0.1 is no loopback address of a host",
    'loopback = "127.255.255.255"': "line 1: loopback: 127.255.255.255 is no loopback address of a host",
    "loopback = 5": "line 1: loopback: is no IPv4 address",
    "listen = true": "line 1: listen: is no IPv4 address",
    'listen = "0.0.0.0"': "line 1: listen: 0.0.0.0: clients are told this address, so it must be one",
    'listen = "127.0.0.1"': "line 1: listen: 127.0.0.1: clients elsewhere would look for it at themselves",
    'listen = "255.255.255.255"': "line 1: listen: 255.255.255.255: no machine has this address",
    'listen = "10.29.29.1"': "line 1: listen 10.29.29.1 is the first of subnet: the APIs are there anyway",
    "redfish_port = 0": "line 1: redfish_port: '0' is less than 1",
    "redfish_port = 99999": "line 1: redfish_port: '99999' is more than 65535",
    "redfish_port = true": "line 1: redfish_port: 'True' is not a whole number",
    "workers = true": "line 1: workers: 'True' is not a whole number",
    "workers = -1": "line 1: workers: '-1' is less than 1",
    'engine = "Host"': "line 1: engine: 'Host' is not known, did you mean 'host'?",
    "worker = 3": "line 1: worker: there is no such key, did you mean 'workers'?",
    'control-subnet = "10.1.0.0/24"': "control-subnet: there is no such key, did you mean 'control_subnet'?",
    "[Options.nova.DEFAULT]\ndebug = true": "line 1: Options: there is no such key, did you mean 'options'?",
    "swift_policies = [1]": "line 1: swift_policies.0: '1' is not text: put it in quotes",
    "[options.glance.DEFAULT]\ndebug = true\n[options.nova.DEFAULT]\ndebug = 2026-01-01": (
        "line 4: options.nova.DEFAULT.debug: must be text, a number, true or false, or a list of such"
    ),
    "[options.nova.DEFAULT]\na = 1\nb-c = 1\nb_c = 1": "options: nova.DEFAULT.b_c is there twice, with - and",
    '"\\u001b[2J" = 1': "\\x1b[2J: there is no such key",
}
"""What was taken, to fail later or to mean something else, or was told in the words of a library."""


def test_links_may_have_a_dot(tmp_path: Path) -> None:
    """As those of VLANs have."""
    (tmp_path / "site.toml").write_text(
        'bridge = "br.29"\ncontrol_bridge = "br.28"\nengine_bridge = "br.27"\nveth = ["a.1", "b_1"]\n'
    )
    assert load_site(tmp_path).control_bridge == "br.28"


@pytest.mark.parametrize("text", OTHERS)
def test_what_cannot_be_is_told_once_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(UserError) as error:
        load_site(tmp_path)
    assert OTHERS[text] in error.value.evidence
    assert len(error.value.evidence.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = " + "[" * 2000, "too many things in one another"),
        ("workers = " + "9" * 5000, "a number has too many digits"),
    ],
)
def test_what_python_cannot_read_is_no_defect(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(UserError, match=f"is not valid TOML: {told}"):
        load_site(tmp_path)


@pytest.mark.parametrize("text", NETWORKS)
def test_networks_that_cannot_be_are_refused_by_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(UserError) as error:
        load_site(tmp_path)
    assert NETWORKS[text] in error.value.evidence


def test_the_smallest_control_network_has_room_for_every_container() -> None:
    services = yaml.safe_load((PROJECT / "compose" / "stack.yaml").read_text())["services"]
    smallest = Site.model_validate({"control_subnet": f"10.1.0.0/{SMALLEST['control_subnet'][0]}"})
    for name, part in smallest.container_networks().items():
        members = [one for one, service in services.items() if name in service.get("networks", ())]
        assert len(members) > 3, name
        # The engine has one, too, and in `control` the last but one is nobody's.
        assert len(members) + 2 <= len(list(part.hosts())), name


def test_the_containers_networks_are_parts_of_one_subnet() -> None:
    site = Site.model_validate({"control_subnet": "10.1.2.0/24", "control_bridge": "ctl"})
    parts = site.container_networks()
    assert {name: str(part) for name, part in parts.items()} == {
        "control": "10.1.2.128/25",
        "database": "10.1.2.0/27",
        "bus": "10.1.2.32/27",
        "cache": "10.1.2.64/27",
        "objects": "10.1.2.96/27",
    }
    assert site.control_bridges() == ("ctl", "ctl-db", "ctl-mq", "ctl-mc", "ctl-sw")
    file = yaml.safe_load((PROJECT / "compose" / "stack.yaml").read_text())["networks"]
    assert list(file) == list(parts)
    long = Site.model_validate({"control_bridge": "fifteen-is-most"})
    other = Site.model_validate({"control_bridge": "fifteen-is-mine"})
    assert not set(long.control_bridges()) & set(other.control_bridges())
    assert {len(name) for name in long.control_bridges()} == {15}
    ends = {one["driver_opts"]["com.docker.network.bridge.name"].partition("}")[2] for one in file.values()}
    assert ends == {"", *(f"-{end}" for end in NEEDED.values())}


def test_listen_wants_an_address() -> None:
    for address in ("everywhere", "", "0.0.0.0", "127.0.0.1", "224.0.0.1", "10.29.29.1"):
        with pytest.raises(UserError, match=f"--listen {address}: "):
            Site.model_validate({}).listening_on(address)
    assert str(Site.model_validate({}).listening_on("192.0.2.7").listen) == "192.0.2.7"


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
