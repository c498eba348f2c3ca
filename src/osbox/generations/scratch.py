"""The databases of a backup, opened by a MariaDB of their own, which nothing else reaches."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osbox import log
from osbox.cloud import compose
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import things
from osbox.generations.keep import DATABASE
from osbox.generations.record import Things
from osbox.images.catalogue import BY_NAME
from osbox.site import secrets
from osbox.site.site import LABEL, Paths, Site

IMAGE = BY_NAME["os-mysql"]


def tag(paths: Paths, engine: Engine) -> str:
    """The image whose MariaDB opens them. Raises UserError when it is not here."""
    found = IMAGE.tag(compose.last(paths, IMAGE.variable) or compose.version(paths))
    if docker.image(engine, found) is None:
        raise UserError(
            f"{found} is not here, which opens the databases of a backup",
            hint="osbox build os-mysql; or --no-databases, which compares checksums only",
        )
    return found


def seen(site: Site, engine: Engine, image: str, data: Path) -> Things:
    """What is in MariaDB's files in a directory of the images' user. Raises Error when they cannot be
    opened."""
    with log.step("Open its databases"), _running(site, engine, image, data) as scratch:
        try:
            things.wait(engine, scratch)
        except Error as silent:
            told = docker.ask(engine, "logs", "--tail=20", f"{DATABASE}.{scratch.name}", check=False)
            raise Error("MariaDB does not open its databases", evidence=told.out + told.err) from silent
        return things.seen(engine, scratch)


@contextmanager
def _running(site: Site, engine: Engine, image: str, data: Path) -> Iterator[Site]:
    """The site whose MariaDB it is for those who ask."""
    scratch = site.model_copy(update={"name": f"backup.{site.name}"})
    name = f"{DATABASE}.{scratch.name}"
    docker.docker(engine, "rm", "--force", name, check=False)  # of a run that was killed
    restraints = ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    user = (f"--user={secrets.UID}:{secrets.UID}", f"--label={LABEL}={site.name}", "--pull=never")
    places = (
        f"--tmpfs=/run/osbox:uid={secrets.UID},gid={secrets.UID}",
        "--tmpfs=/tmp",
        f"--volume={data}:/var/lib/mysql/data",
    )
    # No statement of a start, and whoever asks may read: there is no way to it but docker exec.
    server = ("mariadbd", "--init-file=", "--skip-networking", "--skip-grant-tables")
    docker.docker(
        engine,
        *("run", "--detach", f"--name={name}", *restraints, *user, *places),
        *(f"--entrypoint={server[0]}", image, *server[1:]),
    )
    try:
        yield scratch
    finally:
        docker.docker(engine, "rm", "--force", "--volumes", name, check=False)
