#!/usr/bin/env python3
"""One cell1, and no second one of the same databases.

`nova-manage cell_v2 create_cell` looks whether there is one already by the addresses that its configuration
gives, and finds none, because the addresses are kept as templates ({scheme}://…): each migration makes
another cell1 (nova/cmd/manage.py, _non_unique_transport_url_database_connection_checker). Every list over
cells then has everything twice. What a double was given meanwhile, hosts and instances, is handed to the
oldest.
"""

import os
from contextlib import closing
from pathlib import Path

import pymysql  # type: ignore[import-untyped]

SECRETS = Path(os.environ.get("OSBOX_SECRETS", "/run/secrets"))
CELL = "cell1"


def main() -> None:
    password = (SECRETS / "db-nova").read_text(encoding="utf-8").strip()
    login = {"host": "mysql", "user": "nova", "password": password, "database": "nova_api"}
    with closing(pymysql.connect(**login, connect_timeout=5)) as connection, connection.cursor() as cursor:
        # Locked: two containers that come up at once do not both hand over.
        cursor.execute("SELECT id, uuid FROM cell_mappings WHERE name = %s ORDER BY id FOR UPDATE", (CELL,))
        first, *doubles = cursor.fetchall() or [(0, "")]
        for number, uuid in doubles:
            for table in ("host_mappings", "instance_mappings"):
                cursor.execute(f"UPDATE {table} SET cell_id = %s WHERE cell_id = %s", (first[0], number))  # noqa: S608
            cursor.execute("DELETE FROM cell_mappings WHERE id = %s", (number,))
            print(f"{CELL} {uuid} removed: it has the databases of {first[1]}")
        connection.commit()


if __name__ == "__main__":
    main()
