"""In which environment each kind of speech is made: with the engine, with the cloud, with package servers.

One home.

What a person has set for other things must not reach them: `DOCKER_HOST` of another machine, `COMPOSE_FILE`
of another project, a proxy that knows nothing of the addresses here. Only builds and downloads use proxies
(osbox.site.sources).
"""

import os
from collections.abc import Iterable

OF_DOCKER = ("DOCKER_", "COMPOSE_", "BUILDX_", "BUILDKIT_")
"""What the variables of Docker's client, Compose and Buildx begin with."""
OF_COMPOSE = ("COMPOSE_",)
KEPT = frozenset({"DOCKER_CONFIG"})
"""Where the logins for registries are (osbox.engine.docker.logins)."""
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy")


def client(kind: str) -> list[str]:
    """The words before a command of the engine's client.

    The private engine has its own socket, whatever DOCKER_HOST says; the machine's own Docker is asked as a
    person would ask it, but for our own project and files.
    """
    begins = OF_DOCKER if kind == "private" else OF_COMPOSE
    return without(name for name in os.environ if name.startswith(begins) and name not in KEPT)


def without(names: Iterable[str]) -> list[str]:
    """The words that run a command without those variables that are set; none when none is."""
    given = [word for name in names if name in os.environ for word in ("-u", name)]
    return ["env", *given] if given else []


def direct() -> dict[str, str]:
    """Variables with which a program of others reaches the cloud, the rack and nodes: by no proxy."""
    named = {name: "" for word in PROXIES for name in (word, word.upper()) if name in os.environ}
    return {**named, "no_proxy": "*", "NO_PROXY": "*"}
