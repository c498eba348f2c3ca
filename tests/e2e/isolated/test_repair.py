"""Nodes that a fault left somewhere are brought back: with the real Ironic, whose nodes are of fake hardware
here, so that nothing boots. What no API brings about is written into its database."""

import json
from collections.abc import Iterator

import pytest

from tests.deadlines import waited
from tests.e2e import fake_hardware
from tests.e2e.asking import client, engine
from tests.e2e.conftest import Tool
from tests.home import NAME
from tests.samples import scene

pytestmark = pytest.mark.e2e
NODE = "stuck-1"
NOBODY = "6d2a3a5e-0f43-4f0c-9a33-0a4a1c0ffee0"
"""The id of a server that Nova never had."""
WRITE = """
import pymysql, sys
password = open("/run/secrets/db-ironic").read().strip()
base = pymysql.connect(host="mysql", user="ironic", password=password, database="ironic", autocommit=True)
assert base.cursor().execute(sys.argv[1]) == 1
"""
LEFT = {
    "a deployment that failed": f"provision_state = 'deploy failed', instance_uuid = '{NOBODY}'",
    "a cleaning that failed": "provision_state = 'clean failed', maintenance = 1, fault = 'clean failure'",
    "a server that is gone": f"instance_uuid = '{NOBODY}'",
    "a BMC that did not answer": "maintenance = 1, fault = 'power failure'",
}


@pytest.fixture(scope="module")
def node(ready: Tool) -> Iterator[str]:
    with waited("a node of fake hardware", within=600):
        ready("set", *fake_hardware.OPTIONS)
        ready("up")
        client("baremetal", "node", "create", "--name", NODE, *fake_hardware.WORDS)
        client("baremetal", "node", "manage", "--wait", "60", NODE)
        client("baremetal", "node", "provide", "--wait", "60", NODE)
    yield NODE
    ready("node", "forget", NODE)
    ready("unset", *fake_hardware.names(fake_hardware.OPTIONS))
    ready("up")


def left(what: str) -> None:
    line = f"UPDATE nodes SET {what} WHERE name = '{NODE}'"  # noqa: S608 - our own words
    engine("docker", "exec", f"ironic-api.{NAME}", "python", "-c", WRITE, line)


def seen() -> tuple[str, bool, str | None]:
    found = json.loads(client("baremetal", "node", "show", NODE, "-f", "json"))
    return found["provision_state"], found["maintenance"], found["instance_uuid"]


@scene("repair")
def test_a_node_that_a_fault_left_is_brought_back(ready: Tool, node: str) -> None:
    for name, what in LEFT.items():
        left(what)
        assert seen() != ("available", False, None), name
        print(f"{name}: {ready('node', 'repair', node)}")
        assert seen() == ("available", False, None), name
    assert "Nothing to repair" in ready("node", "repair", node)


@scene("repair")
def test_what_somebody_set_is_left_alone(ready: Tool, node: str) -> None:
    client("baremetal", "node", "maintenance", "set", "--reason", "new fans", node)
    assert "new fans" in ready("node", "repair", node, code=2)
    client("baremetal", "node", "maintenance", "unset", node)
    left(f"provision_state = 'active', instance_uuid = '{NOBODY}'")
    assert f"osbox node repair --undeploy {node}" in ready("node", "repair", node, code=2)
    assert seen() == ("active", False, NOBODY)
    ready("node", "repair", "--undeploy", node)
    assert seen() == ("available", False, None)
