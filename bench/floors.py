"""What cannot be undercut: the parts of a cold build, each alone on the machine, with its packages at hand."""

import re
import time
from pathlib import Path

from common import Figure
from place import Place, step_seconds, unique

from osbox import engine
from osbox.model import catalogue
from osbox.model.site import Paths

MEGABYTE = 10**6
APT = "apt-install /tmp/packages.txt"
UV = "install-locked .*common.lock"
BRANCHES = ("os-rabbitmq", "os-mysql", "os-rack", "os-httpboot", "os-openvswitch", "os-ironic-conductor")
COMPILE = "cp -r /opt/openstack/lib /tmp/lib && time -p python3 -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /tmp/lib"


def measure(place: Place, _: int) -> list[Figure]:
    base = bootstrap(place)
    branches = {name: apt(place, name) for name in BRANCHES}
    longest = max(branches, key=lambda name: branches[name])
    compiled = compilation(place)
    installed = max(step(place, "os-openstack", UV) - compiled, 0.0)
    written = place.layers([image.name for image in catalogue.IMAGES])
    return [
        Figure("floor: the Debian base alone", base, "s"),
        Figure(f"floor: the longest apt branch alone ({longest})", branches[longest], "s"),
        Figure("floor: all apt branches, one after the other", round(sum(branches.values()), 1), "s"),
        Figure("floor: uv install of what projects share", round(installed, 1), "s"),
        Figure("floor: its bytecode, on all processors", compiled, "s"),
        Figure("floor: bytes in layers written", round(unique(written) / MEGABYTE), "MB"),
        Figure("floor: packages unpacked, in caches", caches(place), "MB"),
    ]


def bootstrap(place: Place) -> float:
    """Seconds that mmdebstrap takes for the base."""
    tar = place.home / "tmp/floor.tar"
    begin = time.monotonic()
    engine.debootstrap(Paths(place.checkout, place.home), tar, ("debian-archive-keyring",), variant="apt")
    tar.unlink()
    return round(time.monotonic() - begin, 1)


def apt(place: Place, name: str) -> float:
    return step(place, name, APT)


def step(place: Place, name: str, pattern: str) -> float:
    """Seconds of one step of an image that is built alone and anew, with packages from the cache."""
    place.osbox("build", "--no-cache", "-j1", name)
    return step_seconds(place.home / f"logs/build/{name}.log", pattern)


def compilation(place: Place) -> float:
    """Seconds that compiling the shared packages takes."""
    # `time` is the shell's; dash has none.
    words = ["run", "--rm", "--user=0", "--network=none", "--entrypoint=bash", "os-openstack", "-c", f"{{ {COMPILE}; }} 2>&1"]
    found = re.search(r"^real ([\d.]+)", place.docker(*words), re.MULTILINE)
    return float(found[1]) if found else 0.0


def caches(place: Place) -> float:
    """Megabytes of packages that builds keep, as fetched."""
    data = place.home / "engine/data"
    files = [path for kind in ("*.deb", "*.whl") for path in Path(data).rglob(kind)]
    return round(sum(path.stat().st_size for path in files) / MEGABYTE)
