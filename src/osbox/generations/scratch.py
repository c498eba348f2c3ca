"""The databases of a backup, opened by a MariaDB of their own, which nothing else reaches."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osbox import log
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import things
from osbox.generations.helper import container, image
from osbox.generations.keep import DATABASE
from osbox.generations.record import Things
from osbox.site import secrets
from osbox.site.site import Paths, Site

IMAGE = "os-mysql"


def require_image(paths: Paths, engine: Engine) -> str:
    """The image whose MariaDB opens them. Raises UserError when it is not here."""
    found = image(paths, IMAGE)
    if docker.image(engine, found) is None:
        raise UserError(
            f"{found} is not here, which opens the databases of a backup",
            hint="osbox build os-mysql; or --no-databases, which compares checksums only",
        )
    return found


def seen(site: Site, engine: Engine, tag: str, data: Path) -> Things:
    """What is in MariaDB's files in a directory of the images' user. Raises Error when they cannot be
    opened."""
    with log.step("Open its databases"), _running(site, engine, tag, data) as scratch:
        try:
            things.wait(engine, scratch)
        except Error as silent:
            told = docker.ask(engine, "logs", "--tail=20", f"{DATABASE}.{scratch.name}", check=False)
            raise Error("MariaDB does not open its databases", evidence=told.out + told.err) from silent
        return things.seen(engine, scratch)


@contextmanager
def _running(site: Site, engine: Engine, tag: str, data: Path) -> Iterator[Site]:
    """The site whose MariaDB it is for those who ask."""
    scratch = site.model_copy(update={"name": f"backup.{site.name}"})
    name = f"{DATABASE}.{scratch.name}"
    docker.docker(engine, "rm", "--force", name, check=False)  # of a run that was killed
    places = (
        f"--tmpfs=/run/osbox:uid={secrets.UID},gid={secrets.UID}",
        "--tmpfs=/tmp",
        f"--volume={data}:/var/lib/mysql/data",
    )
    # No statement of a start, and whoever asks may read: there is no way to it but docker exec.
    server = ("mariadbd", "--init-file=", "--skip-networking", "--skip-grant-tables")
    with container(site, engine, name, *places, f"--entrypoint={server[0]}", tag, *server[1:]):
        yield scratch
