"""Are the subnets of the deployment free, or the deployment's own?"""

from collections.abc import Iterator

from osbox.doctor.finding import Facts, Finding, error, ok, warning
from osbox.network import claims, subnets
from osbox.network.claims import BRIDGES, USES
from osbox.site.site import Paths


def check_subnets(facts: Facts) -> Iterator[Finding]:
    """Against the addresses and routes of this machine and the networks of the engine."""
    host = (facts.engine.kind if facts.engine else facts.site.engine) == "host"
    # The engine and what is set of it are everybody's: with a name, another file has it.
    places: dict[Paths, tuple[str, ...]] = {facts.paths: subnets.OF_A_CLOUD}
    places[facts.base] = places.get(facts.base, ()) + (() if host else subnets.OF_AN_ENGINE)
    looks = [subnets.look(at, facts.site, facts.engine, keys) for at, keys in places.items() if keys]
    found = [one for _, of_place in looks for one in of_place]
    for state, of_place in looks:
        bad = claims.refused(of_place)
        keys = dict.fromkeys(one.key for one in bad)  # all at once: no two of them get the same network
        for one in bad:
            then = f"take it away there, or {claims.way_out(state, keys)}"
            yield error(one.text, "packets for these addresses would not come to the cloud", then)
    wide = [one for one in found if one.wide]
    if wide:
        state = next(state for state, of_place in looks if wide[0] in of_place)
        what = "a wider route leads around networks of the cloud; it does no harm to the cloud"
        then = f"if you need hosts there with such addresses, {claims.way_out(state, [wide[0].key])}"
        yield warning(what, "\n".join(one.text for one in wide), then)
    if not claims.refused(found):
        every = [key for of_place in places.values() for key in of_place]
        listed = (f"{USES[key]} {getattr(facts.site, key)}" for key in every)
        own = [name for key in every for name in BRIDGES[key](facts.site) if looks[0][0].link(name)]
        there = f"; there already, on {', '.join(own)}" if own else ""
        asked = "address or route" if facts.silence else "address, route or container network"
        yield ok(f"no {asked} is in the way", ", ".join(listed) + there)
