"""What the cloud's first contents are called. Pure."""

NETWORK = "external"
SUBNET = "external"
KEY_PAIR = "osbox"
FLAVOR = "baremetal"
RESOURCE_CLASS = "baremetal"
