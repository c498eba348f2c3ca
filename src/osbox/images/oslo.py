"""What oslo-config-validator has to know about our services, and what its answer means. Pure."""

import configparser
import re
from collections.abc import Iterator, Mapping, Sequence

_COMMON = [
    "keystonemiddleware.auth_token",
    "oslo.cache",
    "oslo.concurrency",
    "oslo.db",
    "oslo.log",
    "oslo.messaging",
    "oslo.middleware",
    "oslo.policy",
    "oslo.service.service",
]
_NEUTRON = [
    "neutron",
    "neutron.db",
    "neutron.extensions",
    "neutron.ml2",
    "neutron.ml2.ovn",
    "nova.auth",
    "oslo.privsep",
]
# The groups of options (entry points oslo.config.opts) that a service registers.
NAMESPACES: dict[str, list[str]] = {
    "glance": ["glance.api", "glance.multi_store", "glance.store", *_COMMON],
    "ironic": ["ironic", *_COMMON],
    "keystone": ["keystone", *_COMMON],
    "neutron": [*_NEUTRON, *_COMMON],
    "nova": ["nova.conf", *_COMMON],
    "placement": ["placement.conf", *_COMMON],
}
# Groups that the configuration itself names have the options of a known one.
NAMED_GROUPS = {
    "glance": dict.fromkeys(["swift", "os_glance_staging_store", "os_glance_tasks_store"], "glance_store")
}
# Options of keystoneauth plug-ins: registered when a service makes its session, so that no list of options
# has them.
AUTH = frozenset(
    {
        "auth_type",
        "auth_url",
        "password",
        "project_domain_id",
        "project_domain_name",
        "project_name",
        "system_scope",
        "user_domain_id",
        "user_domain_name",
        "username",
    }
)
# Options whose values are names of drivers and plug-ins, and the group of entry points that has them ("": a
# class; * a word).
DRIVERS: dict[str, str] = {
    "cache/backend": "dogpile.cache",
    "DEFAULT/core_plugin": "neutron.core_plugins",
    "DEFAULT/enabled_backends": "glance_store.drivers",
    "DEFAULT/enabled_hardware_types": "ironic.hardware.types",
    "DEFAULT/enabled_*_interfaces": "ironic.hardware.interfaces.*",
    "DEFAULT/service_plugins": "neutron.service_plugins",
    "DEFAULT/transport_url": "oslo.messaging.drivers",
    "dhcp/dhcp_provider": "ironic.dhcp",
    "ml2/extension_drivers": "neutron.ml2.extension_drivers",
    "ml2/mechanism_drivers": "neutron.ml2.mechanism_drivers",
    "ml2/type_drivers": "neutron.ml2.type_drivers",
    "*/auth_type": "keystoneauth1.plugin",
    "DEFAULT/compute_driver": "",
}
# Values that are no name of a driver: compute_driver is relative to a package of Nova's.
RELATIVE = {"DEFAULT/compute_driver": "nova.virt."}
EGG = re.compile(r"^use\s*=\s*egg:[^#\s]+#(\S+)", re.MULTILINE)
ERROR = re.compile(r"^ERROR:\w+:(.*)$", re.MULTILINE)
UNKNOWN = re.compile(r"(\S+)/(\S+) is not part of the sample config")


def merged(project: str, files: Mapping[str, str], fragments: Sequence[Mapping[str, str]]) -> str:
    """The whole configuration of a service as one file: its own, the common one, the fragments made from
    secrets."""
    own = [
        text for path, text in files.items() if path.startswith(f"/etc/{project}/") and path.endswith(".conf")
    ]
    made = [item["text"] for item in fragments if item["path"].endswith("/secrets.conf")]
    text = "\n".join([*own, *made])
    for name, known in NAMED_GROUPS.get(project, {}).items():
        text = text.replace(f"[{name}]\n", f"[{known}]\n")
    return text


def problems(output: str) -> list[str]:
    """What the validator found, without the options that it cannot know."""
    found = []
    for message in ERROR.findall(output):
        unknown = UNKNOWN.match(message)
        if not unknown or unknown[2] not in AUTH:
            found.append(f"[{unknown[1]}] {unknown[2]} is no option" if unknown else message)
    return found


def drivers(text: str, files: Mapping[str, str]) -> set[tuple[str, str]]:
    """Every driver and plug-in that a configuration names, as the group of entry points ("": a class) and the
    name.

    text: the whole configuration as one file; files: by path, where PasteDeploy's own are looked for.
    """
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, default_section="\0")
    parser.read_string(text)
    found = {("paste", name) for content in files.values() for name in EGG.findall(content)}
    for section in parser.sections():
        for option, value in parser.items(section):
            found |= set(_named(f"{section}/{option}", value or ""))
    return found


def _named(option: str, value: str) -> Iterator[tuple[str, str]]:
    for pattern, group in DRIVERS.items():
        match = re.fullmatch(re.escape(pattern).replace(r"\*", "(.*)"), option)
        if match:
            whole = group.replace("*", match[1]) if "*" in group else group
            # name:type and scheme://… name the driver after and before the colon.
            names = (item.partition("://")[0].rpartition(":")[2].strip() for item in value.split(","))
            yield from ((whole, RELATIVE.get(option, "") + name) for name in names if name)
