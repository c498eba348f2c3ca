"""What every command needs: where things are, and the engine, started when a command first asks for it."""

import json
from dataclasses import asdict, dataclass, is_dataclass
from typing import Annotated, Any

import typer

from osbox import engine, log
from osbox.model.site import Paths, Site, find_paths, load_site

IMAGES, CLOUD, NETWORK, METAL, ENGINE = "Images", "Cloud", "Network", "Bare metal", "Engine"

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs to read.")]


@dataclass(frozen=True)
class Context:
    paths: Paths
    site: Site

    def engine(self) -> engine.Engine:
        """The running engine; it is started if need be."""
        return engine.start(self.paths, self.site)


def load(wanted: str | None) -> Context:
    """The context of this run; wanted is --engine, or None for what site.toml says."""
    paths = find_paths()
    site = load_site(paths.home)
    return Context(paths, site.model_copy(update={"engine": wanted}) if wanted else site)


def print_json(value: Any) -> None:
    """Print data, dataclasses included, as JSON on standard output."""
    log.out.print_json(json.dumps(value, default=_plain), highlight=False)


def _plain(item: object) -> object:
    return asdict(item) if is_dataclass(item) and not isinstance(item, type) else str(item)
