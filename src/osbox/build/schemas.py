"""The schemas that come with a release: made once by its own migrations, so that no new cloud has to run
them."""

import re
import shutil
from pathlib import Path

from osbox import files, run
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.images import labels, runspec, sandbox
from osbox.images.catalogue import BY_NAME
from osbox.images.sandbox import Sandbox
from osbox.site.site import Paths

# The image of each project that migrates its databases.
MIGRATES = {
    "keystone": "os-keystone",
    "glance": "os-glance-api",
    "placement": "os-placement",
    "nova": "os-nova-api",
    "neutron": "os-neutron-server",
    "ironic": "os-ironic-api",
}
SECRETS = {
    "admin-password",
    "rabbitmq-password",
    "db-osbox",
    *(f"{kind}-{name}" for name in (*MIGRATES, "swift") for kind in ("db", "service")),
}
# What differs between two runs of the same migrations: the cells' random ids and when they were made.
CHANCE = re.compile(r"'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'|'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?'")
# Glance numbers its definitions of properties as a directory lists them, which no two disks do alike.
LISTED, NUMBER = "INSERT INTO `metadef_", re.compile(r"(?<=[( ])\d+(?=[,)])")


def make(paths: Paths, engine: Engine, release: str, version: str) -> dict[str, str]:
    """Run the migrations of each project in an empty database; returns the SQL by project.

    About a minute on two cores.

    Raises UserError when the images of that version are missing or of another release.
    """
    tags = [BY_NAME[name].tag(version) for name in ("os-mysql", *MIGRATES.values())]
    of_release = {
        tag: entry.labels.get(labels.RELEASE, "") for tag, entry in docker.images(engine, *tags).items()
    }
    wrong = [tag for tag in tags if of_release.get(tag) != ("" if tag == tags[0] else release)]
    if wrong:
        what = "not built" if set(wrong) - set(of_release) else f"not of release {release}"
        raise UserError(
            f"images are {what}: {', '.join(wrong)}",
            hint=f"osbox build --release {release} --version {version}",
        )
    specs, scratch = runspec.load(paths.compose), paths.tests / "schemas"
    try:
        with Sandbox(engine, scratch) as box:
            secrets = sandbox.secrets(scratch, SECRETS)
            # One network namespace for both, without a way out; the database is found there by its name.
            with box.started(tags[0], specs["os-mysql"], "--add-host=mysql:127.0.0.1", *secrets) as database:
                return {
                    project: _dump(box, BY_NAME[image].tag(version), specs[image], database, secrets)
                    for project, image in MIGRATES.items()
                }
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _dump(box: Sandbox, tag: str, spec: runspec.RunSpec, database: str, secrets: list[str]) -> str:
    options = [f"--network=container:{database}", "--env=OSBOX_SCHEMA=only", *secrets]
    result = box.run(tag, spec, ["osbox-schema", "dump"], *options)
    if result.code != 0:
        raise Error(
            f"{tag} could not migrate an empty database",
            evidence=run.tail(result.err or result.out),
            hint="the same command again with -v",
        )
    return result.out


def write(folder: Path, dumps: dict[str, str]) -> list[str]:
    """Write the files that differ by more than chance; returns the projects.

    An old file stays whole until the new one is.
    """
    changed = differing(folder, dumps)
    for project in changed:
        files.write(folder / f"{project}.sql", dumps[project])
    return changed


def differing(folder: Path, dumps: dict[str, str]) -> list[str]:
    """The projects whose file is missing or is not what their migrations make."""
    return [
        project
        for project, text in dumps.items()
        if _steady(text) != _steady(_text(folder / f"{project}.sql"))
    ]


def _steady(text: str) -> list[list[str]]:
    """Without what is chance: SQLAlchemy makes the keys of a table in the order of a set, rows are ordered by
    their ids, and Glance's definitions are numbered as they come."""
    lines = CHANCE.sub("''", text).splitlines()
    numberless = [NUMBER.sub("", line) if line.startswith(LISTED) else line for line in lines]
    return sorted(sorted(line.replace(",", " ").split()) for line in numberless)


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""
