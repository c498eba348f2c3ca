"""The cloud's first contents: network, key pair, security-group rules, flavor, quotas.

What is there is left alone.
"""

from typing import TYPE_CHECKING, Any

from osbox import files
from osbox.contents.names import FLAVOR, KEY_PAIR, NETWORK, RESOURCE_CLASS, SUBNET
from osbox.site.site import PHYSICAL_NETWORK, Paths, Site

if TYPE_CHECKING:
    from openstack.connection import Connection


def first(cloud: "Connection", paths: Paths, site: Site) -> list[str]:
    """All of them; returns what was made or changed."""
    return [
        *network(cloud, site),
        *key_pair(cloud, paths),
        *security_rules(cloud),
        *flavor(cloud),
        *quotas(cloud),
    ]


def network(cloud: "Connection", site: Site) -> list[str]:
    """The external network and its subnet: flat, on the provisioning bridge, with DHCP and our DNS.

    Routers of projects lead out to it.
    """
    changed = []
    found = cloud.network.find_network(NETWORK)
    if not found:
        found = cloud.network.create_network(
            name=NETWORK,
            is_shared=True,
            is_router_external=True,
            provider_network_type="flat",
            provider_physical_network=PHYSICAL_NETWORK,
        )
        changed.append(f"network {NETWORK}")
    elif not found.is_router_external:  # of an osbox that had no routers
        cloud.network.update_network(found, is_router_external=True)
        changed.append(f"network {NETWORK}, for routers")
    if not cloud.network.find_subnet(SUBNET, network_id=found.id):
        first, last = site.pool
        cloud.network.create_subnet(
            name=SUBNET,
            network_id=found.id,
            ip_version=4,
            cidr=str(site.subnet),
            gateway_ip=str(site.address),
            allocation_pools=[{"start": str(first), "end": str(last)}],
            dns_nameservers=[str(site.address)],
            is_dhcp_enabled=True,
        )
        changed.append(f"subnet {site.subnet}")
    return changed


def key_pair(cloud: "Connection", paths: Paths) -> list[str]:
    """A key pair of the deployment's own: the private half is $OSBOX_HOME/id_ed25519."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    private = paths.private_key
    changed = []
    if not private.exists():
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        files.write(private, text, mode=files.PRIVATE)
        changed.append(f"key {private}")
    elif files.mode_of(private) != files.PRIVATE:  # ssh takes no key that others can read
        private.chmod(files.PRIVATE)
        changed.append(f"mode of {private}")
    loaded = serialization.load_ssh_private_key(private.read_bytes(), password=None)
    public = (
        loaded.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode()
    )
    have = cloud.compute.find_keypair(KEY_PAIR)
    if have and have.public_key.split()[:2] == public.split()[:2]:
        return changed
    if have:
        cloud.compute.delete_keypair(have)
    cloud.compute.create_keypair(name=KEY_PAIR, public_key=f"{public} osbox")
    return [*changed, f"key pair {KEY_PAIR}"]


def security_rules(cloud: "Connection") -> list[str]:
    """SSH and ping into the administrator's default group (bare metal on a flat network is filtered by no
    one; VMs are)."""
    project = cloud.current_project_id
    group = next(iter(cloud.network.security_groups(project_id=project, name="default")), None)
    if not group:
        return []
    have = {
        (rule["protocol"], rule["port_range_min"])
        for rule in group.security_group_rules
        if rule["direction"] == "ingress"
    }
    changed = []
    for protocol, port in (("tcp", 22), ("icmp", None)):
        if (protocol, port) not in have:
            cloud.network.create_security_group_rule(
                security_group_id=group.id,
                direction="ingress",
                ethertype="IPv4",
                protocol=protocol,
                port_range_min=port,
                port_range_max=port,
            )
            changed.append(f"security-group rule {protocol}")
    return changed


def flavor(cloud: "Connection", disk: int = 4) -> list[str]:
    """The bare-metal flavor: one unit of the nodes' resource class, and nothing of what only virtual machines
    have.

    What else an operator wrote into it stays.
    """
    specs = {
        f"resources:CUSTOM_{RESOURCE_CLASS.upper()}": "1",
        "resources:VCPU": "0",
        "resources:MEMORY_MB": "0",
        "resources:DISK_GB": "0",
    }
    have = cloud.compute.find_flavor(FLAVOR, get_extra_specs=True)
    there = have.extra_specs or {} if have else {}
    lacking = {name: value for name, value in specs.items() if there.get(name) != value}
    if not lacking:
        return []
    have = have or cloud.compute.create_flavor(name=FLAVOR, vcpus=1, ram=1024, disk=disk)
    cloud.compute.create_flavor_extra_specs(have, lacking)
    return [f"flavor {FLAVOR}"]


def quotas(cloud: "Connection") -> list[str]:
    """No limits for the administrator's project: a rack is its own limit."""
    wish = {"instances": -1, "cores": -1, "ram": -1}
    project: Any = cloud.current_project_id
    compute: Any = cloud.compute
    have = compute.get_quota_set(project)
    if all(getattr(have, name) == value for name, value in wish.items()):
        return []
    compute.update_quota_set(project, **wish)
    return ["quotas"]
