"""Tempest, with the plug-ins of Keystone and Ironic: what they are to know of this cloud."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from osbox import answers, files
from osbox.cloud.services import REGION
from osbox.contents import names
from osbox.judges import disk, flavors, leftovers, suite
from osbox.judges.flavors import Size
from osbox.judges.people import Clouds, Login, Person
from osbox.judges.suite import Run
from osbox.site.site import Site

if TYPE_CHECKING:
    from openstack.connection import Connection

PREFIX = "osbox-judge"
"""What the names of all that Tempest makes begin with, so that the rest of a killed run is found."""
PEOPLE = (Person("osbox-judge", "osbox-judge", ("admin", "member", "ResellerAdmin"), system=("admin",)),)
FLAVORS = (Size(f"{PREFIX}-small", 512, 1, 1), Size(f"{PREFIX}-large", 1024, 1, 2))
PACKAGES = (
    "tempest.api.identity",
    "tempest.api.image",
    "tempest.api.object_storage",
    "tempest.api.network",
    "tempest.api.compute",
    "keystone_tempest_plugin.tests.api",
    "ironic_tempest_plugin.tests.api",
)
RECORDED = "resource_list.json"
"""Tempest's own record of what it made; it is written where Tempest is called."""
WORKERS = 2  # a class is alone in projects of its own
NO = "false"
YES = "true"
# What bare metal, or this cloud, does not do: a server's memory and disk are the machine's own.
NOT_ON_METAL = (
    "resize",
    "pause",
    "suspend",
    "shelve",
    "snapshot",
    "live_migration",
    "cold_migration",
    "rescue",
    "console_output",
    "interface_attach",
    "metadata_service",
    "personality",
    "attach_encrypted_volume",
    "swap_volume",
)
SCOPES = ("keystone", "glance", "nova", "neutron", "placement", "ironic")


def prepare(clouds: Clouds, site: Site, place: Path, logins: dict[str, Login]) -> Run:
    """Write tempest.conf into place, for nobody else to read; returns how the suite is run."""
    flavors.make(clouds.project, FLAVORS)
    admin = logins[PEOPLE[0].user]
    # Have its project's default security group: two workers that delete one at the same time, each in its
    # transaction, would be the first to want it; with OVN one of them fails (409, "Duplicate entry").
    list(clouds.project.network.security_groups(project_id=admin.project_id))
    settings = _settings(clouds, site, place, admin)
    files.write(place / "tempest.conf", suite.ini(settings), mode=files.PRIVATE)
    return Run(
        PACKAGES, {"TEMPEST_CONFIG_DIR": str(place), "TEMPEST_CONFIG": "tempest.conf"}, workers=WORKERS
    )


def remove_images(clouds: Clouds) -> None:
    """Those that Tempest's own cleaning leaves, by their prefix."""
    images: Any = clouds.project.image
    for image in [one for one in images.images() if str(one.name).startswith(PREFIX)]:
        images.delete_image(image, ignore_missing=True)


def is_left(place: Path) -> bool:
    """Whether a run has not been cleaned up after yet."""
    return any((place / name).exists() for name in (RECORDED, leftovers.BEFORE))


def clean(place: Path) -> list[list[str]]:
    """The words of Tempest's own cleaning after a run: what it recorded, then what bears its prefix."""
    if not (place / "tempest.conf").exists():
        return []
    words = ["-m", "tempest.cmd.main", "cleanup", "--config-file", str(place / "tempest.conf")]
    listed = [[*words, "--resource-list"]] if (place / RECORDED).exists() else []
    return [*listed, [*words, "--prefix", PREFIX]]


def _settings(clouds: Clouds, site: Site, place: Path, admin: Login) -> dict[str, dict[str, str]]:
    cloud = clouds.project
    network = cloud.network.find_network(names.NETWORK)
    return {
        "DEFAULT": {
            "log_file": str(place / "tempest.log"),
            "record_resources": YES,
            "resource_name_prefix": PREFIX,
        },
        "oslo_concurrency": {"lock_path": str(place / "lock")},
        "auth": {
            "use_dynamic_credentials": YES,
            "admin_username": admin.person.user,
            "admin_password": admin.password,
            "admin_project_name": admin.person.project,
            "admin_domain_name": admin.person.domain,
            "admin_system": "all",
            "create_isolated_networks": NO,
        },
        "identity": {
            "uri_v3": f"{site.api(5000)}/v3",
            "auth_version": "v3",
            "region": REGION,
            "v3_endpoint_type": "public",
        },
        "identity-feature-enabled": {"federation": NO, "external_idp": NO},
        "service_available": {"cinder": NO, "horizon": NO, "ironic": YES, "ironic_inspector": NO},
        "enforce_scope": dict.fromkeys(SCOPES, YES),
        **_contents(cloud, site, network),
        "compute-feature-enabled": dict.fromkeys(NOT_ON_METAL, NO),
        "network": {
            "public_network_id": network.id if network else "",
            "floating_network_name": names.NETWORK if network else "",
            "shared_physical_network": YES,
            "project_networks_reachable": NO,  # routers of the suite's lead out, and none leads the host in
        },
        "network-feature-enabled": {
            "floating_ips": YES,
            "ipv6": YES,
            "ipv6_subnet_attributes": YES,
            "port_security": YES,
            "api_extensions": ",".join(sorted(one.alias for one in cloud.network.extensions())),
        },
        "validation": {"run_validation": NO},
        "baremetal": _baremetal(clouds.system),
    }


def _contents(cloud: "Connection", site: Site, network: Any) -> dict[str, dict[str, str]]:
    """What the suite finds in Glance, Nova and Swift."""
    image = next(iter(cloud.image.images(visibility="public", sort="name")), None)
    flavor, other = (cloud.compute.find_flavor(one.name) for one in FLAVORS)
    offered = answers.read(cloud.session.get(f"{site.api(8080)}/info"), "Swift did not say what it can")
    return {
        "image": {
            "disk_formats": "raw,qcow2,ami,ari,aki,vhd,vmdk,vdi,iso,vhdx",
            "http_image": disk.URL,
            "http_qcow2_image": disk.URL,
        },
        "image-feature-enabled": {"import_image": YES, "image_conversion": NO},
        "object-storage": {"operator_role": "member", "reseller_admin_role": "ResellerAdmin"},
        "object-storage-feature-enabled": {
            "container_sync": NO,
            "discoverable_apis": ",".join(sorted(name for name in offered if name != "swift")),
        },
        "compute": {
            "image_ref": image.id if image else "",
            "flavor_ref": flavor.id if flavor else "",
            "flavor_ref_alt": other.id if other else "",
            "fixed_network_name": names.NETWORK if network else "",
            "hypervisor_type": "ironic",
            "max_microversion": "latest",
        },
    }


def _baremetal(system: "Connection") -> dict[str, str]:
    """Which driver the nodes of the tests have: fake-hardware where the cloud offers it."""
    drivers = {one.name: one for one in system.baremetal.drivers(details=True)}
    driver = "fake-hardware" if "fake-hardware" in drivers else "redfish"
    kinds = (
        "boot",
        "deploy",
        "management",
        "power",
        "inspect",
        "bios",
        "console",
        "raid",
        "vendor",
        "rescue",
    )
    enabled = {
        f"enabled_{kind}_interfaces": ",".join(
            sorted(
                {
                    name
                    for one in drivers.values()
                    for name in getattr(one, f"enabled_{kind}_interfaces") or ()
                }
            )
        )
        for kind in kinds
    }
    return {
        "driver": driver,
        "max_microversion": "latest",
        "enabled_hardware_types": ",".join(sorted(drivers)),
        **{key: value for key, value in enabled.items() if value},
    }
