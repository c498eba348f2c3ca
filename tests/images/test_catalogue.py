"""The catalogue, and that it agrees with the recipes."""

import pytest

from osbox.build import dockerfile
from osbox.errors import UserError
from osbox.images import catalogue
from osbox.images.catalogue import IMAGES, Image
from osbox.imagetests.programs import VERSION
from tests.conftest import PROJECT

NAMES_OF_2015 = [
    "os-base-image",
    "os-mysql",
    "os-httpboot",
    "os-tftpboot",
    "os-rabbitmq",
    "os-memcached",
    "os-keystone",
    "os-glance-api",
    "os-neutron-server",
    "os-nova-conductor",
    "os-nova-api",
    "os-nova-scheduler",
    "os-nova-compute",
    "os-neutron-dhcp-agent",
    "os-ironic-conductor",
    "os-ironic-api",
    "os-swift-proxy",
    "os-swift-account",
    "os-swift-object",
    "os-swift-container",
    "os-glance-registry",
]


@pytest.mark.parametrize("name", NAMES_OF_2015)
def test_names_of_2015_are_known(name: str) -> None:
    assert catalogue.retired(name) or catalogue.find(name).name == name


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_every_image_has_a_target_of_its_name(image: Image) -> None:
    assert image.name in dockerfile.parse((PROJECT / image.dockerfile).read_text()).stages


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_every_image_has_a_program_to_ask(image: Image) -> None:
    assert image.name in VERSION


def test_bases_come_first() -> None:
    names = [image.name for image in IMAGES]
    assert all(names.index(image.base) < names.index(image.name) for image in IMAGES if image.base)


@pytest.mark.parametrize(("given", "meant"), [("keystone", "os-keystone"), ("os-nova-api", "os-nova-api")])
def test_the_prefix_may_be_left_out(given: str, meant: str) -> None:
    assert catalogue.find(given).name == meant


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match="no image is called os-keyston") as caught:
        catalogue.find("os-keyston")
    assert caught.value.hint == "did you mean os-keystone?"


def test_select_none_means_all_and_retired_ones_are_left_out() -> None:
    assert catalogue.select([]) == list(IMAGES)
    assert [image.name for image in catalogue.select(["os-glance-registry", "mysql"])] == ["os-mysql"]
    assert catalogue.select(["glance-registry"]) == []


def test_what_an_image_stands_on_is_built_too() -> None:
    names = [image.name for image in catalogue.with_bases(catalogue.select(["keystone"]))]
    assert names == ["os-base-image", "os-builder", "os-openstack", "os-keystone"]
