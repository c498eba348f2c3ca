"""Bring the cloud, and all that goes with it, to what the files say: forward, and back to a generation."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from osbox import files, log
from osbox.cloud import compose, followers, stack, underway
from osbox.cloud.changes import Change
from osbox.cloud.plan import Plan
from osbox.commands.context import OF_A_DEPLOYMENT, Context
from osbox.engine import docker, rules
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.generations import back, record, upgrade
from osbox.generations.record import Generation, GoingBack
from osbox.network import connect as network
from osbox.network import converge as net
from osbox.site.site import Site

FAILED = "failed.log"
LINES = 300  # of each service, in that file


@dataclass(frozen=True)
class Done:
    """What bring_up did: to the cloud, to the host's network (how many changes), to a flushed packet
    filter."""

    changed: list[Change]
    network: int
    mended: list[str]


def bring_up(
    here: Context,
    site: Site,
    at: Engine,
    version: str,
    patience: underway.Patience,
    *,
    before: Callable[[Plan], None] = lambda _: None,
) -> Done:
    """The cloud and all that goes with it: the host's rules and bridge before, the network and who has to
    follow afterwards."""
    mended = rules.put_back(here.base, at)
    network_changes = net.ensure_bridge(here.paths, site)
    changed = stack.up(here.paths, site, at, version=version, patience=patience, before=before)
    network_changes += network.reconnect(here.paths, site, at)
    changed += _followers(here, site, at)
    rules.keep(here.base, here.base_site, at)
    return Done(changed, len(network_changes), list(mended))


def prepare(here: Context, site: Site, at: Engine, version: str) -> None:
    """All that a cloud's data can be brought to, none of it started."""
    rules.put_back(here.base, at)
    net.ensure_bridge(here.paths, site)
    with log.step("Have containers and volumes"):
        stack.prepare(here.paths, site, at, version)


def _followers(here: Context, site: Site, at: Engine) -> list[Change]:
    """Who has to follow the certificate: virtual nodes are told, of the ramdisk it is said what to do."""
    there = stack.RACK in stack.observe(at, site, stack.RACK)
    told, kept = followers.rack(here.paths, site) if there else ([], [])
    if kept:
        names = ", ".join(kept)
        log.warn(f"Ironic does not let us tell {names} how the rack speaks now; osbox up again does")
    if not followers.knows_ramdisk(here.paths, site):
        log.warn(
            "the deploy ramdisk does not know the APIs' authority; before you deploy a node: osbox setup"
        )
    return [Change("host", f"the address of {name}", "change") for name in told]


def bring_forward(
    here: Context, site: Site, at: Engine, version: str, patience: underway.Patience, *, goes_back: bool
) -> tuple[Generation | None, Done]:
    """The same, and what was kept before another release or other images.

    goes_back: of another release that does not come up the cloud is led back, and the Error says so.
    """
    kept = list[Generation]()

    def before(todo: Plan) -> None:
        upgrade.refuse(here.paths, todo)
        if upgrade.is_one(todo):  # what is under way has its end in what is kept
            waiter = underway.Waiter(patience, partial(underway.seen, here.paths, site))
            waiter.let_end(underway.harmful(todo.changes, todo.live))
        found = upgrade.keep(here.paths, site, at, todo)
        kept.extend([found] if found else [])

    try:
        done = bring_up(here, site, at, version, patience, before=before)
    except (UserError, underway.BusyError):
        raise
    except Exception as failed:  # also what a client says of a new service that answers nonsense
        if not kept or not record.upgrading(here.paths):
            raise
        raise _taken_back(here, at, kept[0], failed, goes_back=goes_back) from failed
    record.end_upgrade(here.paths)
    record.end_restore(here.paths)  # whose cloud this was; somebody else has it now
    return (kept[0] if kept else None), done


def lead_back(
    here: Context, at: Engine, generation: Generation, *, keeps: bool, anew: bool = False
) -> GoingBack:
    """The way back, and the proof. Says how to take it back, and which nodes are to be looked at."""
    gone, nodes = back.go(here.paths, here.site, at, generation, keeps=keeps, anew=anew)
    here = here.again()
    site = compose.as_brought_up(here.paths, here.site)
    bring_up(here, site, at, generation.version, underway.Patience(now=True))
    record.arrived(here.paths)
    if nodes:
        log.warn("in maintenance, for their state was not as it is remembered: " + ", ".join(nodes))
        log.warn("look at each; osbox openstack baremetal node maintenance unset NAME")
    return gone


def _taken_back(here: Context, at: Engine, kept: Generation, failed: Exception, *, goes_back: bool) -> Error:
    """What is said of an upgrade that failed, when it has been taken back, or can be."""
    file = record.place(here.paths, kept.number) / FAILED
    with suppress(OSError):  # a full disk may be why
        files.write(file, _logs(here, at), mode=files.PRIVATE)
    message = failed.message if isinstance(failed, Error) else f"{type(failed).__name__}: {failed}"
    evidence = failed.evidence if isinstance(failed, Error) else ""
    if not goes_back:
        hint = f"the services' logs are in {file}; osbox rollback {kept.number} leads back to {kept.release}"
        return Error(message, evidence=evidence, hint=hint)
    log.warn(f"{message}: back to generation {kept.number}")
    try:
        with ExitStack() as held:
            for what in OF_A_DEPLOYMENT:
                if what != "machine":  # which is ours
                    held.enter_context(here.alone("up", what))
            _lead_back(here, at, kept)
    except Error as other:
        return Error(
            f"the upgrade failed, and so did the way back: {other.message}",
            evidence="\n".join(filter(None, [message, evidence, other.evidence])),
            hint=f"osbox rollback {kept.number} goes on; the services' logs are in {file}",
        )
    return Error(
        f"the upgrade failed and was taken back: {here.site.name} is as it was before, on {kept.release}",
        evidence="\n".join([message, evidence]).strip(),
        hint=f"read {file}; osbox up --no-back leaves a failed upgrade as it is",
    )


def _lead_back(here: Context, at: Engine, kept: Generation) -> None:
    """What is there now is kept before, if its database answers."""
    try:
        lead_back(here, at, kept, keeps=True)
    except Error as failed:
        if record.going_back(here.paths):  # it is on its way
            raise
        log.warn(f"what is there now is not kept: {failed.message}")
        lead_back(here, at, kept, keeps=False)


def _logs(here: Context, at: Engine) -> str:
    """The last lines of every service."""
    parts = []
    for name in sorted(stack.observe(at, here.site)):
        words = ("logs", f"--tail={LINES}", f"{name}.{here.site.name}")
        try:
            told = docker.ask(at, *words, check=False)
            parts.append(f"=== {name}\n{told.out}{told.err}")
        except Error as silent:
            parts.append(f"=== {name}\n{silent.message}\n")
    return "\n".join(parts)
