"""What every command needs: where things are, and the engine, started when a command first asks for it."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from osbox import lock, log, plain, run
from osbox.engine import engine, rules
from osbox.engine.engine import Engine
from osbox.network import converge as net
from osbox.network import subnets
from osbox.network.values import NetState
from osbox.site import deployments
from osbox.site.ledger import ledger
from osbox.site.load import find_paths, load_site
from osbox.site.site import Lock, Paths, Site

IMAGES, CLOUD, NETWORK, METAL, ENGINE = "Images", "Cloud", "Network", "Bare metal", "Engine"

# In this order they are taken by who takes more than one, `osbox setup` (contents, then ramdisk) included.
OF_A_DEPLOYMENT: tuple[Lock, ...] = ("machine", "contents", "nodes", "judge")
OF_ALL: tuple[Lock, ...] = ("build", "guest", "ramdisk", "debian")
CLOUDS: Lock = "clouds"

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs to read.")]


@dataclass
class Context:
    """paths, site: of the deployment that is meant.

    base, base_site: of what all deployments share, which is the engine, the images and what was built; the
    same as the former unless a deployment was named.
    """

    paths: Paths
    site: Site
    base: Paths
    base_site: Site

    @property
    def named(self) -> bool:
        return self.paths != self.base

    def engine(self) -> Engine:
        """The running engine; it is started if need be, after the bridge that its containers publish ports
        on."""
        self.settle()  # also after a while of waiting: a purge may have come before
        lost = not (Path("/sys/class/net") / self.site.bridge).exists()
        if lost and ledger(self.paths.home).find("link", self.site.bridge) and os.geteuid() == 0:
            net.ensure_bridge(
                self.paths, self.site
            )  # the machine was restarted: dockerd starts the containers as soon as it runs
        started = list[NetState]()

        def before() -> None:
            started.append(subnets.require_free(self.base, self.base_site, None, subnets.OF_AN_ENGINE))

        found = engine.start(self.base, self.base_site, before)
        if started:  # the next flush may come before any `osbox up` does
            rules.keep(self.base, self.base_site, found)
        if self.named and found.kind == "private":
            engine.require_seen(self.paths)
        return found

    def settle(self) -> None:
        """Have written down what a deployment with a name goes by, and go by it: another one that was begun
        at the same time may have taken what this one was told first."""
        if self.named:
            # What a new one would get was told without the engine; its networks count, too.
            at = None if self.paths.site_toml.exists() else self.running_engine()
            usable = subnets.chooser(self.base, self.base_site, at)
            self.site = deployments.settle(self.base, self.base_site, self.site.name, usable)

    def alone(
        self, command: str, what: Lock = "machine", *, anew: bool = False, frees: bool = False
    ) -> AbstractContextManager[None]:
        """One command at a time that changes the same of this deployment: its machine, contents or nodes.

        A second one says so and waits. Of a deployment that is purged meanwhile it makes nothing again, but
        anew, for who makes all of it. frees: it removes what fills the disk (osbox.lock).
        """
        busy = _busy(self.site.name, what)
        return lock.alone(self.paths.lock(what), busy, f"osbox {command}", anew=anew, frees=frees)

    @contextmanager
    def all_alone(self, command: str) -> Iterator[None]:
        """No other command works in this deployment's state directory meanwhile; in that of all deployments
        none builds or begins another deployment, either.

        Where there is none, none is made.
        """
        wanted = (*OF_A_DEPLOYMENT, *(() if self.named else (*OF_ALL, CLOUDS)))
        with ExitStack() as held:
            with suppress(lock.RemovedError):  # by another purge, for which this one waited
                for what in wanted if self.paths.home.is_dir() else ():
                    held.enter_context(self.alone(command, what, frees=True))
            yield

    @contextmanager
    def alone_with_the_engine(self, command: str) -> Iterator[None]:
        """No command changes any deployment meanwhile, or builds: they need the engine.

        Who only reads images is not waited for: bundle create, push, test, schema, what shows things.
        """
        deployed = {self.base_site.name: self.base}
        deployed |= {name: deployments.paths(self.base, name) for name in deployments.names(self.base)}
        wanted = [(name, paths, what) for name, paths in deployed.items() for what in OF_A_DEPLOYMENT]
        wanted += [(self.base_site.name, self.base, what) for what in OF_ALL]
        with ExitStack() as held:
            for name, paths, what in wanted:
                if paths.home.is_dir():
                    with suppress(lock.RemovedError):  # by a purge, for which this one waited
                        busy, who = _busy(name, what), f"osbox {command}"
                        alone = lock.alone(paths.lock(what), busy, who, anew=False, frees=True)
                        held.enter_context(alone)
            yield

    def again(self) -> "Context":
        """This deployment as its files say it now: while a command waited for its turn, another one may have
        changed or removed them."""
        if self.named:
            usable = subnets.chooser(self.base, self.base_site, None)
            return replace(self, site=deployments.site(self.base, self.base_site, self.site.name, usable))
        site = load_site(self.base.home, {"engine": self.base_site.engine})
        return replace(self, site=site, base_site=site)

    def running_engine(self) -> Engine | None:
        """The engine if it runs."""
        return engine.find(self.base, self.base_site)


def show(argv: Sequence[str]) -> int:
    """Run what prints lines, and return its exit code; they have no control codes but on a terminal.

    The private engine's Compose begins each line of a log with one though it is told `--ansi never`, and a
    node's firmware knows no pipes.
    """
    if log.out.is_terminal:
        return run.attach(argv)
    return run.stream(argv, lambda line: print(plain.text(line), flush=True))


def _busy(name: str, what: Lock) -> str:
    """What a second command says when it has to wait."""
    if what == CLOUDS:
        return "Another command begins a deployment"
    if what == "judge":
        return f"Another test suite runs against {name}"
    if what in OF_ALL:
        return f"Another command builds ({what})"
    return f"Another command changes {name if what == 'machine' else f'the {what} of {name}'}"


def load(engine_kind: str | None, name: str | None = None) -> Context:
    """The context of this run; engine_kind is --engine, or None for what site.toml says; name is --name."""
    base = find_paths()
    base_site = load_site(base.home, {"engine": engine_kind} if engine_kind else {})
    if name is None or name == base_site.name:
        return Context(base, base_site, base, base_site)
    site = deployments.site(base, base_site, name, subnets.chooser(base, base_site, None))
    return Context(deployments.paths(base, name), site, base, base_site)


def print_json(value: Any) -> None:
    """Print data, dataclasses included, as JSON on standard output."""
    log.out.print_json(json.dumps(value, default=_plain), highlight=False)


def _plain(item: object) -> object:
    return asdict(item) if is_dataclass(item) and not isinstance(item, type) else str(item)
