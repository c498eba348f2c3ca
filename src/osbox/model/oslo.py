"""What oslo-config-validator has to know about our services, and what its answer means."""

import re
from collections.abc import Mapping, Sequence

_COMMON = [
    "keystonemiddleware.auth_token", "oslo.cache", "oslo.concurrency", "oslo.db", "oslo.log", "oslo.messaging",
    "oslo.middleware", "oslo.policy", "oslo.service.service",
]  # fmt: skip
_NEUTRON = [
    "neutron", "neutron.agent", "neutron.base.agent", "neutron.db", "neutron.dhcp.agent", "neutron.extensions",
    "neutron.ml2", "neutron.ml2.ovs.agent", "nova.auth", "oslo.privsep",
]  # fmt: skip
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
    "glance": dict.fromkeys(["swift", "os_glance_staging_store", "os_glance_tasks_store"], "glance_store"),
}
# Options of keystoneauth plug-ins: registered when a service makes its session, so that no list of options has them.
AUTH = frozenset({
    "auth_type", "auth_url", "password", "project_domain_id", "project_domain_name", "project_name", "system_scope",
    "user_domain_id", "user_domain_name", "username",
})  # fmt: skip
ERROR = re.compile(r"^ERROR:\w+:(.*)$", re.MULTILINE)
UNKNOWN = re.compile(r"(\S+)/(\S+) is not part of the sample config")


def merged(project: str, files: Mapping[str, str], fragments: Sequence[Mapping[str, str]]) -> str:
    """The whole configuration of a service as one file: its own, the common one, the fragments made from secrets."""
    own = [text for path, text in files.items() if path.startswith(f"/etc/{project}/") and path.endswith(".conf")]
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
