"""The subnets of a deployment against this machine as it is: for `plan`, `up` and `doctor`, and for a new
deployment's choice. Reads only."""

from collections.abc import Callable, Collection
from functools import cache
from ipaddress import IPv4Interface

from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.network import claims, converge
from osbox.network.claims import KEYS, Conflict
from osbox.network.plan import retaken
from osbox.network.values import NetState
from osbox.site.site import Paths, Site

__all__ = ["KEYS", "OF_AN_ENGINE", "OF_A_CLOUD", "chooser", "in_place", "look", "require_free"]

OF_A_CLOUD, OF_AN_ENGINE = KEYS[:2], KEYS[2:]
"""What `osbox up` makes, and what is made when a private engine is started."""


def look(
    paths: Paths, site: Site, engine: Engine | None, keys: Collection[str] = KEYS
) -> tuple[NetState, list[Conflict]]:
    """What is in the way of these subnets.

    The engine is asked for its networks when that may tell something.
    """
    state = converge.observe(converge.doors(paths, site, None))
    found = claims.conflicts(state, keys, retaken(state))
    if engine and (found or not in_place(state, site)):
        state = state.model_copy(update={"networks": docker.networks(engine)})
        found = claims.conflicts(state, keys, retaken(state))
    return state, found


def in_place(state: NetState, site: Site) -> bool:
    """Whether the containers' networks are there, with these subnets: the engine gives none of them to
    others then."""
    parts = zip(site.control_bridges(), site.container_networks().values(), strict=True)
    return all(
        (link := state.link(name))
        and any(":" not in text and IPv4Interface(text).ip in part for text in link.addresses)
        for name, part in parts
    )


def require_free(paths: Paths, site: Site, engine: Engine | None, keys: Collection[str]) -> NetState:
    """Raise UserError for what is in the way, with the keys of site.toml to change; returns what was seen."""
    state, found = look(paths, site, engine, keys)
    bad = claims.refused(found)
    if bad:
        raise claims.refusal(state, bad)
    return state


def chooser(paths: Paths, site: Site, engine: Engine | None) -> Callable[[Site], bool]:
    """Whether a new deployment could go by a site: its subnets are free, and its interfaces nobody's.

    The machine is looked at once, when first asked.
    """

    @cache
    def seen() -> NetState:
        state = converge.observe(converge.doors(paths, site, None))
        return state.model_copy(update={"networks": docker.networks(engine)}) if engine else state

    def usable(wish: Site) -> bool:
        state = seen().model_copy(update={"site": wish})
        names = {wish.bridge, *wish.control_bridges(), wish.veth[0]}
        return not names & {link.name for link in state.links} and not claims.refused(
            claims.conflicts(state, OF_A_CLOUD)
        )

    return usable
