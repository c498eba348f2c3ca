"""What is in the cloud, by the databases themselves: they answer also when no API does."""

from collections.abc import Mapping

from osbox import waiting
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.generations.record import Nodes, Things
from osbox.site.site import Site

KINDS: Mapping[str, str] = {
    "project": "SELECT id, name FROM keystone.project WHERE is_domain = 0",
    "user": "SELECT user_id, name FROM keystone.local_user",
    "image": "SELECT id, name FROM glance.images WHERE deleted = 0",
    "flavor": "SELECT flavorid, name FROM nova_api.flavors",
    "server": "SELECT uuid, display_name FROM nova.instances WHERE deleted = 0",
    "network": "SELECT id, name FROM neutron.networks",
    "router": "SELECT id, name FROM neutron.routers",
    "node": "SELECT uuid, name FROM ironic.nodes",
}
"""How each kind's ids and names are asked for."""
SECONDS = 120
"""InnoDB recovers what was in memory when it was paused: 7 to 13 s on a busy machine."""
NODES = "SELECT uuid, provision_state, COALESCE(instance_uuid, '') FROM ironic.nodes"


def seen(engine: Engine, site: Site) -> Things:
    """All that there is now. Raises Error when the database does not say."""
    text = ask(
        engine,
        site,
        "; ".join(f"SELECT '{kind}', one.* FROM ({query}) AS one" for kind, query in KINDS.items()),  # noqa: S608 - our own words
    )
    found: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for line in text.splitlines():
        kind, number, name = line.split("\t")
        found[kind][number] = name
    return found


def nodes(engine: Engine, site: Site) -> Nodes:
    """The nodes as Ironic's database has them."""
    rows = [line.split("\t") for line in ask(engine, site, NODES).splitlines()]
    return {uuid: (state, server) for uuid, state, server in rows}


def wait(engine: Engine, site: Site) -> None:
    """Wait for the database's answer. Raises Error when none comes."""

    def answers() -> bool:
        try:
            return bool(ask(engine, site, "SELECT 1"))
        except Error:
            return False

    waiting.wait("an answer of the database", answers, SECONDS, poll=0.5, hint="osbox logs mysql")


def ask(engine: Engine, site: Site, statements: str) -> str:
    """What MariaDB answers to statements, a row a line, with tabs between. Raises Error when it does not."""
    words = ("mariadb", "--user=stack", "--batch", "--skip-column-names", f"--execute={statements}")
    return docker.docker(engine, "exec", f"mysql.{site.name}", *words, timeout=60).out
