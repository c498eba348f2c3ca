"""The services of the cloud as data: what the catalogue says of them and how each proves that it works.

Pure.
"""

from dataclasses import dataclass

REGION = "RegionOne"


@dataclass(frozen=True)
class Api:
    """An OpenStack API: its place in Keystone's catalogue and the authenticated call that proves it works.

    probe is a path below the endpoint; the answer must be 200.
    """

    service: str
    name: str
    type: str
    port: int
    path: str
    probe: str
    user: str = ""


@dataclass(frozen=True)
class Agent:
    """A service without an API: another service's API says whether it is alive (it asks database or bus, not
    a port).

    path tells of all agents of that API's project, among them those whose `binary` is the service.
    topic is that of the bus (`<project> <topic>`) on which it answers osbox-rpc-ping. A heartbeat since its
    container was started is asked of those without one.
    """

    service: str
    api: str
    path: str
    key: str
    alive: tuple[str, object]
    beat: str = "updated_at"
    topic: str = ""


APIS = (
    Api("keystone", "keystone", "identity", 5000, "/v3", "/services"),
    Api("glance-api", "glance", "image", 9292, "", "/v2/images?limit=1", user="glance"),
    Api("swift-proxy", "swift", "object-store", 8080, "/v1/AUTH_%(project_id)s", "?limit=1", user="swift"),
    Api("placement", "placement", "placement", 8778, "", "/resource_providers?name=none", user="placement"),
    Api("nova-api", "nova", "compute", 8774, "/v2.1", "/flavors?limit=1", user="nova"),
    Api("neutron-server", "neutron", "network", 9696, "", "/v2.0/networks?limit=1&fields=id", user="neutron"),
    Api("ironic-api", "ironic", "baremetal", 6385, "", "/v1/nodes?limit=1", user="ironic"),
)
BY_TYPE = {api.type: api for api in APIS}
AGENTS = (
    Agent("nova-conductor", "compute", "/os-services", "services", ("state", "up"), topic="nova conductor"),
    Agent("nova-scheduler", "compute", "/os-services", "services", ("state", "up"), topic="nova scheduler"),
    Agent("nova-compute", "compute", "/os-services", "services", ("state", "up"), topic="nova compute"),
    Agent("ironic-conductor", "baremetal", "/v1/conductors?detail=true", "conductors", ("alive", True)),
)
INFRASTRUCTURE = (
    "mysql",
    "rabbitmq",
    "memcached",
    "keystone-cache",
    "autodns",
    "front",
    "ipxe-httpd",
    "pxe-tftp",
    "neutron-network",
    "openvswitch",
    "ovn-central",
    "ovn-controller",
    "swift-account",
    "swift-container",
    "swift-object",
    "swift-daemons",
)
SERVICES = tuple(
    dict.fromkeys((*INFRASTRUCTURE, *(api.service for api in APIS), *(agent.service for agent in AGENTS)))
)
"""Every service of compose/stack.yaml; a test compares."""

FRONT = "front"
"""The entrance: all APIs are published by it alone."""
PORTS = {FRONT: (35357, *(api.port for api in APIS)), "ipxe-httpd": (8090,)}
"""TCP ports that a service publishes, on the provisioning address and, the entrance, on loopback."""
UDP_PORTS = {"autodns": 53, "pxe-tftp": 69}
