"""Who has to follow what the entrance shows: virtual nodes, whose Redfish shows it, too, and the deploy
ramdisk, which verifies by its authority."""

from contextlib import suppress
from http import HTTPStatus

import yaml

from osbox import files
from osbox.cloud import sessions, underway
from osbox.cloud.checks import HEADERS
from osbox.cloud.services import BY_TYPE
from osbox.contents import images
from osbox.metal import authorities
from osbox.metal import rack as virtual
from osbox.site.site import Paths, Site


def rack(paths: Paths, site: Site) -> tuple[list[str], list[str]]:
    """Have Ironic speak to the rack as it speaks today, and rack.yaml say so; returns the names of the nodes
    that were told, and of those that Ironic does not let us change now."""
    system = sessions.session(paths, site, system=True)
    verify = str(authorities.one(paths, paths.trusted)) if site.tls else False
    wanted = {"redfish_address": site.api(site.redfish_port, site.address), "redfish_verify_ca": verify}
    told, kept = list[str](), list[str]()
    for node in underway.nodes(system, site, "fields=uuid,name,driver_info&driver=redfish"):
        have = node["driver_info"] or {}
        other = {key: value for key, value in wanted.items() if have.get(key) != value}
        if have.get("redfish_address") not in virtual.addresses(site) or not other:
            continue
        patch = [{"op": "add", "path": f"/driver_info/{key}", "value": value} for key, value in other.items()]
        address = f"{site.api(BY_TYPE['baremetal'].port)}/v1/nodes/{node['uuid']}"
        answer = system.patch(address, json=patch, headers=HEADERS, raise_exc=False)
        names = told if answer.status_code == HTTPStatus.OK else kept
        names.append(str(node["name"] or node["uuid"]))
    if paths.rack_yaml.exists():
        with suppress(yaml.YAMLError, KeyError, TypeError):  # of somebody else's writing: it is his
            files.write_changed(paths.rack_yaml, virtual.moved(paths.rack_yaml.read_text(), paths, site))
    return told, kept


def knows_ramdisk(paths: Paths, site: Site) -> bool:
    """Whether the deploy ramdisk in Glance, if there is one, verifies by the authority of today."""
    if not site.tls:
        return True
    member = sessions.session(paths, site)
    found = underway.read(member, site, "image", f"/v2/images?name={images.RAMDISK}&status=active")["images"]
    stamps = [str(one.get(images.STAMP, "")) for one in found]
    return not stamps or any(one.endswith(images.mark(paths.trusted.read_bytes())) for one in stamps)
