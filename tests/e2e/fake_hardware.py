"""Ironic's fake hardware: what allows it to a cloud, and what a node of it is made with. Nothing boots.

bench/nodes.py imports this, too: nothing of pytest, and nothing of the checks' own state directory.
"""

FAKE = {
    "boot": "ipxe,pxe",
    "deploy": "direct",
    "management": "redfish,ipmitool,noop",
    "power": "redfish,ipmitool",
}
"""The interfaces that a node has fake ones of; and the real ones that a cloud goes on to offer."""
SUITES_FAKE = {
    "inspect": "agent,redfish,no-inspect",
    "vendor": "no-vendor,redfish,ipmitool",
    "raid": "no-raid,agent",
    "bios": "no-bios,redfish",
    "console": "no-console",
}
"""Those that only upstream's suites have fake ones of, too."""
OPTIONS = (
    "ironic.DEFAULT.enabled_hardware_types=redfish,ipmi,fake-hardware",
    *(f"ironic.DEFAULT.enabled_{kind}_interfaces={real},fake" for kind, real in FAKE.items()),
)
"""Words for `osbox set`, for a node as below."""
SUITES_OPTIONS = (
    *OPTIONS,
    *(f"ironic.DEFAULT.enabled_{kind}_interfaces={real},fake" for kind, real in SUITES_FAKE.items()),
)
"""The same for upstream's suites; docs/judges.md has these lines for people."""
NODE = {
    "driver": "fake-hardware",
    "network_interface": "noop",
    "inspect_interface": "no-inspect",
    **{f"{kind}_interface": "fake" for kind in FAKE},
}
"""A node's fields, as Ironic's API has them."""
WORDS = tuple(word for key, value in NODE.items() for word in (f"--{key.replace('_', '-')}", value))
"""The same for `baremetal node create`."""


def names(options: tuple[str, ...]) -> list[str]:
    """Words for `osbox unset`, which takes options back."""
    return [option.partition("=")[0] for option in options]
