"""Deployments by name: what each goes by, and that no two get the same."""

import ipaddress
from pathlib import Path

import pytest

from osbox.cloud import compose
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.site import deployments
from osbox.site.load import load_site
from osbox.site.site import Paths, Site


@pytest.fixture
def base(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "home")


def anything(_: Site) -> bool:
    return True


def settled(base: Paths, name: str, own: Site | None = None) -> Site:
    deployments.settle(base, own or Site(), name, anything)
    return deployments.site(base, own or Site(), name, anything)


def test_each_has_subnets_links_and_addresses_of_its_own(base: Paths) -> None:
    sites = [Site(), settled(base, "lab"), settled(base, "ci")]
    assert deployments.names(base) == ["ci", "lab"]
    assert str(sites[1].subnet) == "10.29.37.0/24"
    for field in (
        "name",
        "bridge",
        "veth",
        "subnet",
        "control_subnet",
        "control_bridge",
        "loopback",
        "address",
    ):
        assert len({getattr(site, field) for site in sites}) == len(sites), field
    # The engine is everybody's.
    assert {site.engine_bridge for site in sites} == {"osbox-engine"}
    assert all(len(name) <= 15 for site in sites for name in (site.bridge, *site.veth, site.control_bridge))


def test_what_was_given_stays(base: Paths) -> None:
    first = settled(base, "lab")
    assert settled(base, "lab") == first
    settled(base, "ci")
    assert load_site(deployments.paths(base, "lab").home).subnet == first.subnet


def test_what_another_one_has_is_left_out(base: Paths) -> None:
    taken = Site(subnet="10.29.36.0/23", loopback="127.0.0.3")  # as site.toml has it
    assert str(settled(base, "lab", taken).subnet) == "10.29.53.0/24"


def test_the_engines_network_is_that_of_the_deployment_without_a_name(base: Paths) -> None:
    file = deployments.paths(base, "lab").site_toml
    file.parent.mkdir(parents=True)
    file.write_text('name = "lab"\nsubnet = "10.29.27.0/24"\ncontrol_subnet = "10.29.36.0/24"\n')
    with pytest.raises(UserError) as caught:
        deployments.site(base, Site(), "lab", anything)
    assert caught.value.evidence == "line 2: subnet 10.29.27.0/24 overlaps engine_subnet 10.29.27.0/24"
    elsewhere = Site.model_validate({"engine_subnet": "10.9.0.0/24"})
    assert str(deployments.site(base, elsewhere, "lab", anything).engine_subnet) == "10.9.0.0/24"


def test_which_engine_there_is_the_deployment_without_a_name_says(base: Paths) -> None:
    """With the machine's own Docker, the network of a private one was held against a deployment's."""
    file = deployments.paths(base, "lab").site_toml
    file.parent.mkdir(parents=True)
    file.write_text('name = "lab"\nsubnet = "10.29.27.0/24"\ncontrol_subnet = "10.29.36.0/24"\n')
    assert deployments.site(base, Site(engine="host"), "lab", anything).engine == "host"
    near = Site.model_validate({"engine": "host", "engine_subnet": "10.29.45.0/24"})
    assert str(settled(base, "ci", near).subnet) == "10.29.45.0/24"


def test_what_the_machine_has_is_left_out(base: Paths) -> None:
    """A Docker network of another project on 10.29.36.0/24: the engine refused the pool that was chosen."""
    taken = ipaddress.IPv4Network("10.29.36.0/24")
    found = deployments.settle(base, Site(), "lab", lambda wish: wish.control_subnet != taken)
    assert (found.bridge, str(found.subnet)) == ("provisioning2", "10.29.45.0/24")
    assert deployments.settle(base, Site(), "lab", lambda _: False) == found, "what is written stays"
    with pytest.raises(Error, match="none of 27 pairs of subnets is free") as caught:
        deployments.settle(base, Site(), "ci", lambda _: False)
    assert "lab: 10.29.45.0/24, 10.29.44.0/24" in caught.value.evidence


def test_asking_writes_nothing(base: Paths) -> None:
    assert deployments.site(base, Site(), "lab", anything).name == "lab"
    assert deployments.names(base) == []
    assert not base.home.exists()


def test_a_directory_with_a_lock_alone_is_none(base: Paths) -> None:
    """Who waited while a deployment was purged made it; then the engine could not be purged."""
    settled(base, "lab")
    (base.deployments / "gone").mkdir()
    (base.deployments / "gone" / "machine.lock").touch()
    assert deployments.names(base) == ["lab"]


def test_one_of_a_name_that_is_none_any_more(base: Paths) -> None:
    """`lab-` could be begun once: it could not be removed, and no other one be begun beside it."""
    first = settled(base, "lab")
    (base.home / "clouds" / "lab").rename(base.home / "clouds" / "lab-")
    file = base.home / "clouds" / "lab-" / "site.toml"
    file.write_text(file.read_text().replace('"lab"', '"lab-"'))
    assert settled(base, "lab-") == first.model_copy(update={"name": "lab-"})
    assert str(settled(base, "ci").subnet) == "10.29.45.0/24"
    assert deployments.names(base) == ["ci", "lab-"]
    with pytest.raises(UserError, match="--name 'ci-'"):
        deployments.settle(base, Site(), "ci-", anything)


def test_a_copy_that_somebody_put_aside_is_none(base: Paths) -> None:
    settled(base, "lab")
    (base.home / "clouds" / "lab").rename(base.home / "clouds" / "lab.old")
    assert str(settled(base, "ci").subnet) == "10.29.37.0/24"
    assert deployments.names(base) == ["ci"]


@pytest.mark.parametrize("name", ["", "Lab", "../x", "a" * 42, "-x", "a b"])
def test_a_name_that_is_none(base: Paths, name: str) -> None:
    with pytest.raises(UserError, match="--name"):
        deployments.paths(base, name)


def test_a_directory_of_another_name_is_refused(base: Paths) -> None:
    settled(base, "lab")
    (base.home / "clouds" / "lab").rename(base.home / "clouds" / "ci")
    with pytest.raises(UserError, match="says name = lab, not ci"):
        deployments.site(base, Site(), "ci", anything)


def test_compose_gets_the_values_of_the_deployment_that_is_named(
    base: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With OSBOX_HOME set, Compose mounted the secrets of the deployment without a name."""
    settled(base, "lab")
    own = deployments.paths(base, "lab")
    (own.home / "stack.env").write_text(f"OSBOX_HOME={own.home}\nOSBOX_NAME=lab\nOSBOX_LISTEN=\n")
    monkeypatch.setenv("OSBOX_HOME", str(base.home))
    monkeypatch.delenv("OSBOX_NAME", raising=False)
    assert compose.argv(Engine("host", "26"), own, "ps")[:6] == [
        "env",
        "-u",
        "OSBOX_HOME",
        "docker",
        "compose",
        "--env-file",
    ]
