"""The database: is it slow, or about to have no connection left?

It keeps no log of slow queries: its own counters tell how many there were, and its list of processes which
ones run now.
"""

from collections.abc import Iterator

from osbox import run
from osbox.doctor import dbload
from osbox.doctor.finding import Facts, Finding, warning
from osbox.engine import docker

SECONDS = dbload.ASKED_SECONDS + 3.0
CLIENT = ("mariadb", "--user=stack")
WORDS = ("--batch", "--skip-column-names", "--connect-timeout=5")


def check_database(facts: Facts) -> Iterator[Finding]:
    """Ask it once."""
    if facts.engine is None or "mysql" not in facts.running:
        return
    name = f"mysql.{facts.site.name}"
    answer = docker.ask(
        facts.engine, "exec", name, *CLIENT, *WORDS, f"--execute={dbload.QUERY}", check=False, seconds=SECONDS
    )
    load = dbload.read(answer.out)
    if answer.code != 0 or not load.numbers:
        seen = run.tail(answer.err) or f"exit code {answer.code}"
        yield warning("the database does not say how it fares", seen, "osbox logs mysql")
        return
    client = " ".join(("osbox engine shell -- docker exec", name, *CLIENT))
    for one in dbload.told(load, client):
        yield Finding(one.level, one.what, one.evidence, one.next)
