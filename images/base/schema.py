#!/usr/bin/env python3
"""A project's database schema as SQL: written by its own migrations when a release is locked, restored into
empty databases.

    osbox-schema prepare    exit code 0: the databases have the schema of this very software; 3: the
    migrations have to make it osbox-schema dump       what the databases hold now, tables and rows

Both read the part [migrate] of bootstrap.toml, and are run by bootstrap, which holds the project's lock:
project, databases, commands. A file of other versions than those in the image is not used, nor any with
OSBOX_SCHEMA=only (make the schema, and nothing else). What was begun in empty databases and not finished is
begun anew.
"""

import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql  # type: ignore[import-untyped]

CONFIG = Path(os.environ.get("OSBOX_BOOTSTRAP", "/etc/osbox/bootstrap.toml"))
SECRETS = Path(os.environ.get("OSBOX_SECRETS", "/run/secrets"))
LOCKS, SCHEMAS = Path("/opt/openstack/locks"), Path("/opt/openstack/schema")
TO_MIGRATE = 3  # the exit code that asks for the migrations
BEGUN = "begun"  # stands for the fingerprint until all is done


def main(argv: list[str]) -> int:
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["migrate"]
    project, databases = config["project"], config["databases"]
    try:
        with closing(connect(project)) as connection, connection.cursor() as cursor:
            if argv == ["dump"]:
                sys.stdout.writelines(f"{line}\n" for line in dump(cursor, databases, key(config)))
                return 0
            return prepare(cursor, project, databases, key(config))
    except pymysql.MySQLError as error:
        print(f"the database says: {error.args[-1] if error.args else error}", file=sys.stderr)
        return 1


def connect(user: str) -> Any:
    """A connection of the project's own user, or of `osbox`."""
    password = (SECRETS / f"db-{user}").read_text(encoding="utf-8").strip()
    return pymysql.connect(
        host="mysql", user=user, password=password, charset="utf8mb4", autocommit=True, connect_timeout=5
    )


def key(config: dict[str, Any]) -> str:
    """What the schema follows from: the locked software and the commands that migrate."""
    parts = [file.read_bytes() for file in sorted(LOCKS.glob("*.lock"))]
    parts.append(json.dumps([config["databases"], config["commands"]], sort_keys=True).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def prepare(cursor: Any, project: str, databases: list[str], wanted: str) -> int:
    if begun(project):
        for database, table in tables(cursor, databases):
            cursor.execute("SET foreign_key_checks = 0")
            cursor.execute(f"DROP TABLE `{database}`.`{table}`")
    elif tables(cursor, databases):
        return TO_MIGRATE
    begun(project, mark=True)
    file = SCHEMAS / f"{project}.sql"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else [""]
    if not lines[0].endswith(f" {wanted}") or os.environ.get("OSBOX_SCHEMA") == "only":
        return TO_MIGRATE
    for statement in lines[1:]:
        cursor.execute(statement)
    return 0


def begun(project: str, *, mark: bool = False) -> bool:
    """Whether empty databases were begun to be filled and not finished; mark: say that they are, from now
    on."""
    with closing(connect("osbox")) as connection, connection.cursor() as cursor:
        if mark:
            cursor.execute("REPLACE INTO osbox.migrated VALUES (%s, %s)", (project, BEGUN))
        cursor.execute("SELECT fingerprint FROM osbox.migrated WHERE project = %s", (project,))
        return bool(cursor.fetchone() == (BEGUN,))


def tables(cursor: Any, databases: list[str]) -> list[tuple[str, str]]:
    cursor.execute(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN %s ORDER BY"
        " table_schema, table_name",
        (databases,),
    )
    return list(cursor.fetchall())


def dump(cursor: Any, databases: list[str], made_from: str) -> Iterator[str]:
    """One statement a line.

    Foreign keys are not checked meanwhile, so that the order of tables does not matter.
    """
    yield f"-- made by osbox schema from {made_from}"
    yield "SET foreign_key_checks = 0"
    here = ""
    for database, table in tables(cursor, databases):
        if database != here:
            here = database
            yield f"USE `{database}`"
        cursor.execute(f"SHOW CREATE TABLE `{database}`.`{table}`")
        yield re.sub(r" AUTO_INCREMENT=\d+", "", " ".join(cursor.fetchone()[1].split()))
        cursor.execute(f"SELECT * FROM `{database}`.`{table}`")  # noqa: S608 - names that the database gave
        for row in cursor.fetchall():
            values = ", ".join(cursor.connection.escape(value) for value in row)
            yield f"INSERT INTO `{table}` VALUES ({values})"  # noqa: S608


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
