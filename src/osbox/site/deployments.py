"""Deployments by name: beside the one in OSBOX_HOME, each of the others has a directory of its own below
`clouds/`.

They share the engine, its images and what was built; names of links, subnets, addresses and secrets are their
own.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path

from osbox import files, lock
from osbox.errors import Error, UserError
from osbox.site.load import load_site
from osbox.site.site import FIRST_POLICY, Paths, Site
from osbox.site.words import EARLIER_NAME, NAME

# Number n has 10.29.(29 + 8n).0/24 and 10.29.(28 + 8n).0/24, at 127.0.0.(1 + n); 0 is the deployment without
# a name.
FIRST, STEP, LAST = 29, 8, 27


def names(base: Paths) -> list[str]:
    """The deployments that have a directory, and in it what they go by: without that it is what a purge that
    was killed left, or a lock that somebody waited for."""
    place = base.deployments
    return (
        sorted(path.name for path in place.iterdir() if _is_there(base, path.name)) if place.is_dir() else []
    )


def _is_there(base: Paths, name: str) -> bool:
    """Whether there is a deployment of a name; the copy of one that somebody put aside (lab.old) is none."""
    own = Paths(base.project, base.deployments / name)
    return bool(re.fullmatch(EARLIER_NAME, name)) and own.site_toml.exists()


def paths(base: Paths, name: str) -> Paths:
    """Where a deployment's own files are; raises UserError when it cannot be called so."""
    if not re.fullmatch(NAME, name) and not _is_there(base, name):
        raise UserError(
            f"--name '{name}': a name has lower-case letters, digits, and hyphens within, 41 at most",
            hint="osbox --name lab up",
        )
    return Paths(base.project, base.deployments / name)


Usable = Callable[[Site], bool]
"""Whether what a new deployment would go by is free on this machine."""


def site(base: Paths, base_site: Site, name: str, usable: Usable) -> Site:
    """What a deployment goes by: its site.toml, or what it would get."""
    own = paths(base, name)
    if not own.site_toml.exists():
        return _free(base, base_site, name, usable)
    found = _load(base, base_site, name)
    if found.name != name:
        raise UserError(
            f"{own.site_toml} says name = {found.name}, not {name}",
            hint="the directory and the name in it have to agree",
        )
    return found


def _load(base: Paths, base_site: Site, name: str) -> Site:
    """What the site.toml of a deployment says."""
    home, shared = paths(base, name).home, _shared(base_site)
    if re.fullmatch(NAME, name):
        return load_site(home, shared)
    return load_site(home, {**shared, "name": base_site.name}).model_copy(update={"name": name})


def _shared(base_site: Site) -> dict[str, object]:
    """What all deployments have from the one without a name."""
    return {key: getattr(base_site, key) for key in ("engine", "engine_bridge", "engine_subnet")}


def settle(base: Paths, base_site: Site, name: str, usable: Usable) -> Site:
    """Write down what a new deployment goes by, so that no later one takes it; returns what is written.

    It is chosen in turn: of two that are begun at once, each was told the same before.
    """
    file = paths(base, name).site_toml
    if not file.exists():
        with lock.alone(base.lock("clouds")):
            if not file.exists():
                _write(file, _free(base, base_site, name, usable))
    return site(base, base_site, name, usable)


def _write(file: Path, wish: Site) -> None:
    files.write(
        file,
        f'name = "{wish.name}"\nbridge = "{wish.bridge}"\nveth = ["{wish.veth[0]}",'
        f' "{wish.veth[1]}"]\nsubnet = "{wish.subnet}"\ncontrol_subnet ='
        f' "{wish.control_subnet}"\ncontrol_bridge = "{wish.control_bridge}"\nloopback ='
        f' "{wish.loopback}"\n',
    )


def _free(base: Paths, base_site: Site, name: str, usable: Usable) -> Site:
    """The first set of subnets and link names that no deployment has, nor anything else on this machine."""
    others = [base_site, *(_load(base, base_site, other) for other in names(base) if other != name)]
    for number in range(1, LAST + 1):
        wish = base_site.model_copy(
            update={
                "name": name,
                "bridge": f"provisioning{number}",
                "veth": (f"ext0-{number}", f"ext1-{number}"),
                "subnet": _subnet(FIRST + STEP * number),
                "control_subnet": _subnet(FIRST - 1 + STEP * number),
                "control_bridge": f"osbox{number}",
                "loopback": ipaddress.IPv4Address("127.0.0.1") + number,
                "listen": None,
                "workers": 1,
                "swift_policies": (FIRST_POLICY,),
                "options": {},
            }
        )
        if not any(_clash(wish, other) for other in others) and usable(wish):
            return wish
    taken = "\n".join(f"{other.name}: {other.subnet}, {other.control_subnet}" for other in others)
    raise Error(
        f"none of {LAST} pairs of subnets is free for another deployment",
        evidence=f"{taken}\nand what else this machine has: ip address; ip route show table all",
        hint=f"osbox --name NAME down --purge, or choose some yourself: {paths(base, name).site_toml}",
    )


def _subnet(third: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(f"10.29.{third}.0/24")


def _clash(one: Site, other: Site) -> bool:
    mine, theirs = (one.subnet, one.control_subnet), other.subnets().values()
    return (
        any(a.overlaps(b) for a in mine for b in theirs)
        or bool(
            {one.bridge, *one.control_bridges(), *one.veth}
            & {other.bridge, *other.control_bridges(), *other.veth}
        )
        or one.loopback == other.loopback
    )
