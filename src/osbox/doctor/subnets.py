"""Are the subnets of the deployment free, or the deployment's own?"""

from collections.abc import Iterator

from osbox.doctor.finding import Facts, Finding, error, ok, warning
from osbox.network import claims, subnets
from osbox.network.claims import BRIDGES, USES


def check_subnets(facts: Facts) -> Iterator[Finding]:
    """Against the addresses and routes of this machine and the networks of the engine."""
    host = (facts.engine.kind if facts.engine else facts.site.engine) == "host"
    keys = subnets.OF_A_CLOUD if host else subnets.KEYS
    state, found = subnets.look(facts.paths, facts.site, facts.engine, keys)
    bad = claims.refused(found)
    for one in bad:
        then = f"take it away there, or choose another network: {claims.setting(state, [one.key])}"
        yield error(one.text, "packets for these addresses would not come to the cloud", then)
    wide = [one for one in found if one.wide]
    if wide:
        what = "a wider route leads around networks of the cloud; it does no harm to the cloud"
        then = f"if you need hosts there with such addresses: {claims.setting(state, [wide[0].key])}"
        yield warning(what, "\n".join(one.text for one in wide), then)
    if not bad:
        listed = (f"{USES[key]} {getattr(facts.site, key)}" for key in keys)
        own = [name for key in keys if state.link(name := getattr(facts.site, BRIDGES[key]))]
        there = f"; there already, on {', '.join(own)}" if own else ""
        yield ok("no address, route or container network is in the way", ", ".join(listed) + there)
