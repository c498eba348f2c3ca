"""Servers on bare metal: wait until one may be had and until it is ACTIVE, see its login prompt, log in."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from osbox import answers, log, run, waiting
from osbox.engine import docker
from osbox.errors import Error
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.connection import Connection

    from osbox.engine.engine import Engine

ACTIVE_SECONDS = 1800  # Ironic's own deploy_callback_timeout: a slow disk under emulation included
LOGIN_SECONDS = 900
SSH_SECONDS = 240
POLL_SECONDS = 1
SCHEDULING_LINES = 6
REFUSED = re.compile(r"returned 0 hosts|Got no allocation candidates")
"""What nova-scheduler writes (INFO) of a request that nothing fits; not all of it names the server."""
FIRMWARE = ("SeaBIOS (", "BdsDxe: starting")
"""What firmware prints first: the virtual nodes' BIOS and UEFI."""


@dataclass(frozen=True)
class Server:
    """A server that is ACTIVE: its address, the node it is on."""

    id: str
    name: str
    address: str
    node: str


def find(cloud: "Connection", name: str) -> Any:
    """The server of that name; None when there is none. Of several one that is not in ERROR: a demo was
    killed while it asked for a server, the next one asked for another, and the node can have one only."""
    found = _called(cloud, name)
    return next((one for one in found if one.status != "ERROR"), next(iter(found), None))


def _called(cloud: "Connection", name: str) -> list[Any]:
    return list(cloud.compute.servers(name=f"^{name}$"))


def placeable(session: "Session", site: Site, resource_class: str) -> set[str]:
    """The ids of the nodes of a resource class that Placement offers now; none when it does not answer."""
    # As os_resource_classes.normalize_name makes a class of Ironic's one of Placement's.
    name = re.sub(r"[^A-Z0-9]+", "_", resource_class.upper())
    address = f"{site.api(8778)}/allocation_candidates?resources=CUSTOM_{name}:1"
    headers = {"OpenStack-API-Version": "placement 1.12"}
    answer = session.get(address, headers=headers, raise_exc=False)
    if answer.status_code != HTTPStatus.OK:
        return set()
    return set(answers.read(answer, "Placement did not say which nodes it offers")["provider_summaries"])


def wait_schedulable(cloud: "Connection", site: Site, resource_class: str) -> None:
    """Nova hears of a new node at its next periodic look, and its scheduler passes over the nodes of a
    nova-compute that has not said for a minute that it is up: until then every request ends in "No valid
    host"."""
    with log.step("Wait until Placement offers the node"):
        waiting.wait(
            "Placement offering a node",
            lambda: placeable(cloud.session, site, resource_class),
            240,
            hint="osbox node list: is one available?",
        )
        waiting.wait(
            "nova-compute being up",
            lambda: any(one.state == "up" for one in cloud.compute.services(binary="nova-compute")),
            120,
            hint="osbox logs nova-compute",
        )


def wait_active(
    cloud: "Connection",
    system: "Connection",
    name: str,
    report: Callable[[str, str], None],
    told_of: Callable[[str], str] = lambda _: "",
) -> Server:
    """Wait until Nova says ACTIVE; report(name, state) tells each state of the server and its node;
    told_of(id) is what Nova's logs say of a server.

    Raises Error with Nova's fault, or with the node's last state when the time is over.
    """
    told = ""
    node: Any = None

    def active() -> Server | None:
        nonlocal told, node
        server = find(cloud, name)
        if server is None:
            raise Error(f"there is no server {name}", hint="osbox openstack server list")
        node = next(iter(system.baremetal.nodes(instance_id=server.id, details=True)), None)
        state = server.status + (f" ({node.name}: {node.provision_state})" if node else "")
        if state != told:
            report(name, state)
            told = state
        if server.status == "ERROR":
            raise _broken(cloud, server, node, told_of(server.id))
        ready = server.status == "ACTIVE" and node and node.provision_state == "active"
        return Server(server.id, name, _address(server), node.name) if ready else None

    server = waiting.happens(active, ACTIVE_SECONDS, poll=POLL_SECONDS)
    if server:
        return server
    evidence = f"last seen: {told}\n{(node.last_error if node else '') or 'no error of Ironic'}"
    hint = f"osbox explain {node.name}" if node else "osbox node list"
    raise Error(f"{name} was not ACTIVE within {ACTIVE_SECONDS // 60} minutes", evidence=evidence, hint=hint)


def scheduling(engine: "Engine", site: Site, server: str) -> str:
    """What nova-scheduler wrote of the server with this id: which filter left no host, or that Placement
    offered none. Nova's own fault says only that there was none."""
    found = docker.ask(engine, "logs", "--since", "15m", f"nova-scheduler.{site.name}", check=False)
    told = [line for line in (found.out + found.err).splitlines() if server in line or REFUSED.search(line)]
    return "\n".join(told[-SCHEDULING_LINES:])


def _broken(cloud: "Connection", server: Any, node: Any, told: str) -> Error:
    fault = (cloud.compute.get_server(server.id).fault or {}).get("message", "")
    evidence = fault or (node.last_error if node else "")
    if told:
        evidence = f"{evidence}\n--- nova-scheduler\n{told}"
    return Error(
        f"Nova could not build {server.name}",
        evidence=evidence,
        hint=f"osbox openstack server delete {server.name}",
    )


def _address(server: Any) -> str:
    return next((entry["addr"] for entries in server.addresses.values() for entry in entries), "")


def wait_login(read_console: Callable[[], str], name: str) -> str:
    """Wait for `NAME login:` on the console and return the end of what it shows; raises Error with it when it
    does not come."""
    prompt, text = f"{name} login:", ""

    def shown() -> bool:
        nonlocal text
        text = read_console()
        # Only what came since the node was last switched on: a prompt of the boot before proves nothing.
        text = text[max(0, *(text.rfind(banner) for banner in FIRMWARE)) :]
        return prompt in text

    if not waiting.happens(shown, LOGIN_SECONDS, poll=POLL_SECONDS):
        raise Error(
            f"no `{prompt}` on the console within {LOGIN_SECONDS // 60} minutes",
            evidence=run.tail(text),
            hint="osbox node console",
        )
    return text[: text.rindex(prompt) + len(prompt)]


def ssh_argv(paths: Paths, user: str, address: str, *command: str) -> list[str]:
    """The ssh line with the deployment's own key; every deployed server has a new host key, so none is
    remembered."""
    return [
        "ssh",
        "-i",
        str(paths.private_key),
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=10",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "IdentitiesOnly=yes",
        f"{user}@{address}",
        *command,
    ]


def ssh(paths: Paths, user: str, address: str, command: str) -> str:
    """Run a command on the server by SSH, as soon as it lets us in; returns what it printed."""
    argv = ssh_argv(paths, user, address, command)
    results = list[run.Result]()

    def done() -> bool:
        results.append(run.run(argv, check=False, timeout=120))
        return results[-1].code == 0

    if not waiting.happens(done, SSH_SECONDS, poll=POLL_SECONDS):
        evidence = run.line(argv) + "\n" + run.tail(results[-1].err)
        raise Error(f"{address} does not let {user} in by SSH", evidence=evidence, hint="osbox node console")
    return results[-1].out


def delete(cloud: "Connection", name: str, *, broken: bool = False) -> bool:
    """Delete the servers of that name and wait until they are gone; False if there was none.

    broken: only those in ERROR.
    """
    found = [one for one in _called(cloud, name) if not broken or one.status == "ERROR"]
    for server in found:
        cloud.compute.delete_server(server.id)
    for server in found:
        cloud.compute.wait_for_delete(server, interval=POLL_SECONDS, wait=ACTIVE_SECONDS)
    return bool(found)


def require_client() -> None:
    """SSH's client is the one program of the host's that the demo needs at its end: ask at its beginning."""
    run.run(["ssh", "-V"], hint="apt-get install openssh-client")
