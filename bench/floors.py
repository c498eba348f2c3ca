"""What cannot be undercut: the parts of a cold build, each alone on the machine, with its packages at
hand."""

import re
import sys
import time

from common import Figure, out
from place import Place, step_seconds, unique

from osbox.build import debian, dockerfile
from osbox.engine import docker, engine
from osbox.engine import root as engine_root
from osbox.images import catalogue
from osbox.site import recipes
from osbox.site.load import load_site
from osbox.site.site import Paths

MEGABYTE = 10**6
APT = "apt-install /tmp/packages.txt"
UV = "install-locked .*common.lock"
BRANCHES = ("os-rabbitmq", "os-mysql", "os-rack", "os-httpboot", "os-openvswitch", "os-ironic-conductor")
COMPILE = (
    "cp -r /opt/openstack/lib /tmp/lib && time -p python3 -m compileall -q -f -j 0 --invalidation-mode"
    " unchecked-hash /tmp/lib"
)


def measure(place: Place, _: int) -> list[Figure]:
    base = bootstrap(place)
    branches = {name: step(place, name, APT) for name in BRANCHES}
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
    ]


def bootstrap(place: Place) -> float:
    """Seconds that mmdebstrap takes for the base."""
    tar = place.home / "tmp/floor.tar"
    begin = time.monotonic()
    engine_root.debootstrap(
        Paths(place.checkout, place.home), tar, ("debian-archive-keyring",), variant="apt"
    )
    tar.unlink()
    return round(time.monotonic() - begin, 1)


def step(place: Place, name: str, pattern: str) -> float:
    """Seconds of some steps of an image that is built alone and anew on what is there, with packages from the
    cache."""
    paths, image, said = Paths(place.checkout, place.home), catalogue.find(name), list[str]()
    at = engine.find(paths, load_site(place.home))
    if not at:
        sys.exit("the benchmark's engine does not run any more")
    known = dockerfile.parse((place.checkout / image.dockerfile).read_text(encoding="utf-8")).declared
    values = {
        "DEBIAN": debian.TAG,
        "BASE": f"{image.base}:latest",
        "BUILDER": f"{catalogue.BUILDER.name}:latest",
    }
    args = {key: value for key, value in values.items() if key in known}
    frozen = recipes.frozen(paths)
    argv = docker.build_argv(
        at, frozen, image.dockerfile, target=name, tag="bench-floor", args=args, no_cache=True
    )
    out.print(f"build {name} alone", style="dim")
    if docker.build(at, argv, said.append) != 0:
        sys.exit("\n".join([*said[-20:], f"{name} could not be built alone: nothing is measured"]))
    place.docker("image", "rm", "bench-floor")
    return step_seconds("\n".join(said), pattern)


def compilation(place: Place) -> float:
    """Seconds that compiling the shared packages takes."""
    # `time` is the shell's; dash has none.
    words = [
        "run",
        "--rm",
        "--user=0",
        "--network=none",
        "--entrypoint=bash",
        "os-openstack",
        "-c",
        f"{{ {COMPILE}; }} 2>&1",
    ]
    found = re.search(r"^real ([\d.]+)", place.docker(*words), re.MULTILINE)
    return float(found[1]) if found else 0.0
