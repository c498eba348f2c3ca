"""An image under test, and what its tests have in common."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from osbox.engine.info import ImageInfo
from osbox.images import catalogue
from osbox.images.catalogue import Image
from osbox.images.runspec import RunSpec
from osbox.images.sandbox import Sandbox
from osbox.imagetests.reading import Files
from osbox.site import sources
from osbox.site.site import Paths

ABSTRACT = (catalogue.GROUND, catalogue.OPENSTACK)  # what others stand on: no service of their own
BOOTSTRAP = "/etc/osbox/bootstrap.toml"
MIN_NEEDLE = 6  # characters; shorter ones stand everywhere by chance
# A source that everybody uses stands in Debian's own files and in the metadata of Python packages.
PUBLIC = re.compile(r"(^|\.)(debian|pypi|python(?:hosted)?)\.org$")
LOCAL = re.compile(r"localhost|[\d.]+|\[.*\]")


@dataclass(frozen=True)
class Subject:
    """An image under test: what Docker says of it, and what is inside.

    read waits for what is in its layers; running: the container of its service, "" if it has none. first:
    whether no other image of this run, with the very same layers of Python packages, tests them.
    """

    paths: Paths
    image: Image
    tag: str
    info: ImageInfo
    history: str
    spec: RunSpec
    sandbox: Sandbox
    inside: dict[str, Any]
    needles: Mapping[str, bytes]
    read: Callable[[], Files]
    running: str = ""
    first: Callable[[], bool] = lambda: True

    @cached_property
    def bootstrap(self) -> dict[str, Any]:
        return tomllib.loads(self.inside["files"].get(BOOTSTRAP, ""))

    @property
    def secrets(self) -> set[str]:
        """Names of the secrets that it needs."""
        text = self.inside["files"].get(BOOTSTRAP, "")
        fragments = re.findall(r"\{([a-z][a-z0-9-]*)\}", "".join(re.findall(r'"""(.*?)"""', text, re.DOTALL)))
        own = {"bmc-password"} if self.image.name == "os-rack" else set()
        migrates = (
            {"db-osbox"} if {"migrate", "schema"} & self.bootstrap.keys() else set()
        )  # bootstrap's own, for the lock
        return own | migrates | set(fragments)

    @property
    def waits(self) -> bool:
        """Whether it needs something beyond itself before it starts."""
        return bool({"wait", "migrate", "schema"} & self.bootstrap.keys())

    @property
    def serves(self) -> bool:
        return self.image.name not in ABSTRACT

    @property
    def health(self) -> list[str]:
        """The command of its health check; [] when it has none."""
        return list(self.info.healthcheck[1:])

    @property
    def release(self) -> str:
        """The OpenStack release that it is of; "" for what has none."""
        return self.info.labels.get("io.osbox.release", "")

    @property
    def of_the_release(self) -> bool:
        """Whether its program comes from the OpenStack release."""
        return self.image.base == catalogue.OPENSTACK

    def exceptions(self, kind: str) -> dict[str, str]:
        """What images/exceptions.toml grants this image: a pattern, and the reason."""
        table = tomllib.loads((self.paths.images / "exceptions.toml").read_text()).get(kind, {})
        return {**table.get("all", {}), **table.get(self.image.name, {})}


def needles(paths: Paths) -> dict[str, bytes]:
    """What must be in no image, by the words it is told with: this machine's package sources, paths and
    secrets."""
    found = {f"this machine's {name}": name.encode() for name in host_names() if len(name) >= MIN_NEEDLE}
    found |= {
        f"the path {path}": f"{path}/".encode()
        for path in (paths.project, paths.home)
        if len(str(path)) >= MIN_NEEDLE
    }
    for file in sorted(paths.secrets.glob("*")):
        value = file.read_bytes().strip()
        if len(value) >= MIN_NEEDLE:
            found[f"the secret {file.name}"] = value
    return found


def host_names() -> set[str]:
    """Host names of this machine's own package sources and proxies, with the port where the name alone says
    nothing.

    What every machine has, a public source or the loopback address without a port, is left out.
    """
    proxies = [url for name, url in sources.proxy_args().items() if name != "no_proxy"]
    found = set()
    for url in [*sources.apt_mirrors(), *sources.pip_config().values(), *proxies]:
        for name, port in re.findall(r"://(?:[^/@\s]*@)?(\[[^\]]*\]|[^/:\s]+)(:\d+)?", url):
            local = bool(LOCAL.fullmatch(name))
            if not PUBLIC.search(name) and (port or not local):
                found.add(name + port if local else name)
    return found
