"""Docker Compose on our plain files: which values it gets, what it makes of them, what is running.

environment(…)   the variables of compose/*.yaml for this site; `write` puts them into stack.env, for Compose
by hand, too render(…)        our files as Compose reads them: data, nothing is written digests(…)
Compose's own hash of each service's settings, as it stands in a label of the service's container observe(…)
the containers of this deployment
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osbox import files as whole
from osbox import run
from osbox.cloud import envfile
from osbox.cloud.changes import Live, owner
from osbox.engine import asking, docker, firewall
from osbox.engine.engine import Engine
from osbox.engine.info import ContainerInfo
from osbox.environment import without
from osbox.errors import Error
from osbox.images import labels
from osbox.site import containers, recipes
from osbox.site.site import LABEL, Paths, Site

RACK = "rack"
QUIET, OURS = ("--progress", "quiet"), ("--pull", "never")
UP = ("up", "--detach", *OURS)
POLICIES = "OSBOX_SWIFT_POLICIES"
"""The names of Swift's storage policies, with commas between."""
RELEASE = "OSBOX_RELEASE"
"""The release of the images; nothing in the Compose files."""
SERVICE, HASH = "com.docker.compose.service", "com.docker.compose.config-hash"


@dataclass(frozen=True)
class ServiceState:
    """What is seen of one service's container."""

    service: str
    state: str
    health: str
    image: str
    started: str
    container: str
    restarts: int = 0


def label(site: Site) -> str:
    """The filter that finds all that is of this deployment."""
    return f"label={LABEL}={site.name}"


def environment(
    paths: Paths, site: Site, version: str, of_release: Mapping[str, str], of_images: Mapping[str, str]
) -> dict[str, str]:
    """The values of this site and of its release for the Compose files; no secret is among them.

    of_images: by variable the tags of the images that no release changes, and the release of the others.
    """
    return {
        "OSBOX_HOME": str(paths.home),
        "OSBOX_NAME": site.name,
        "OSBOX_VERSION": version,
        **of_images,
        "OSBOX_ADDRESS": str(site.address),
        "OSBOX_LOOPBACK": str(site.loopback),
        "OSBOX_CONTROL_BRIDGE": site.control_bridge,
        "OSBOX_INNER_BRIDGES": containers.prefix(site.control_bridge),
        "OSBOX_EXT1": site.veth[1],
        **{f"OSBOX_{name.upper()}_SUBNET": str(part) for name, part in site.container_networks().items()},
        # Docker hands addresses out from the lower end; the last but one stands for a service that is away.
        "OSBOX_FRONT": str(site.control_subnet[-2]),
        "OSBOX_NOBODY": str(site.control_subnet[-3]),
        "OSBOX_REDFISH_PORT": str(site.redfish_port),
        "OSBOX_VOLUME_PREFIX": volume_prefix(site),
        "OSBOX_LISTEN": str(site.listen or ""),
        "OSBOX_SCHEME": site.scheme,
        "OSBOX_TLS": "/run/tls/front.pem" if site.tls else "",
        "OSBOX_VERIFY_CA": "/etc/osbox/tls/ca.pem" if site.tls else "True",
        "OSBOX_OPTIONS": str(paths.options),
        "OSBOX_WORKERS": str(site.workers),
        POLICIES: ",".join(site.swift_policies),
        **of_release,
    }


def volume_prefix(site: Site) -> str:
    """What the names of this deployment's volumes begin with."""
    return "" if site.name == "os-in-a-box" else f"{site.name}-"


def files(
    paths: Paths, values: Mapping[str, str], options: Mapping[str, Mapping[str, str]]
) -> dict[Path, str]:
    """What Compose reads besides compose/: stack.env, and a file for each service with options (values by
    variable)."""
    stack = "".join(f"{name}={value}\n" for name, value in values.items())
    of_options = {
        paths.options / f"{service}.env": envfile.text(found) for service, found in options.items() if found
    }
    return {paths.stack_env: stack, **of_options}


def outdated(paths: Paths, texts: Mapping[Path, str]) -> list[Path]:
    """Those of the files that are missing or differ, and the options' files that are no longer wanted."""
    late = [file for file, text in texts.items() if not whole.is_so(file, text, mode=_mode(paths, file))]
    return late + [file for file in sorted(paths.options.glob("*.env")) if file not in texts]


def write(paths: Paths, texts: Mapping[Path, str]) -> None:
    """Have exactly these files, each whole or not at all."""
    for file in outdated(paths, texts):
        if file not in texts:
            file.unlink()
        else:
            if file.parent == paths.options:
                whole.private_directory(paths.options)
            whole.write(file, texts[file], mode=_mode(paths, file))


def _mode(paths: Paths, file: Path) -> int:
    """An option of the site may be a password."""
    return whole.PRIVATE if file.parent == paths.options else whole.PUBLIC


def version(paths: Paths) -> str:
    """The tag of the images that the cloud was last brought up with; without a cloud, `latest`."""
    return last(paths, "OSBOX_VERSION") or "latest"


def last(paths: Paths, name: str) -> str:
    """The value that the cloud was last brought up with; "" without a cloud, or of one that was made when
    there was no such value."""
    file = paths.stack_env
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((line.partition("=")[2] for line in lines if line.startswith(f"{name}=")), "")


def as_brought_up(paths: Paths, site: Site) -> Site:
    """The site with the address of `osbox up --listen`, where site.toml names none."""
    address = last(paths, "OSBOX_LISTEN")
    return site.listening_on(address) if address and not site.listen else site


def _folder(engine: Engine, paths: Paths) -> Path:
    """Where the engine's client finds our files; the machine's own sees them where they are."""
    return paths.compose if engine.kind == "host" else recipes.compose(paths)


def _overlays(folder: Path, *, rack: bool, listen: bool) -> list[str]:
    names = ["stack.yaml"] + ["rack.yaml"] * rack + ["listen.yaml"] * listen
    return [word for name in names for word in ("-f", str(folder / name))]


def argv(engine: Engine, paths: Paths, *words: str, rack: bool = False) -> list[str]:
    """`docker compose` on our plain files, with this site's values from stack.env."""
    values = paths.stack_env
    text = values.read_text()
    # Compose prefers the environment to its file: an OSBOX_HOME there is that of all deployments, not of the
    # one that is named.
    names = [line.partition("=")[0] for line in text.splitlines()]
    clean = without(names)
    return engine.argv(
        *clean,
        "docker",
        "compose",
        "--env-file",
        values,
        *_overlays(_folder(engine, paths), rack=rack, listen="\nOSBOX_LISTEN=\n" not in text),
        *words,
    )


def up(engine: Engine, paths: Paths, *only: str, rack: bool) -> None:
    """Have every container run as the files say, or only those of some services; raises Error with what
    Compose said."""
    words = ("--no-deps", *only) if only else ("--remove-orphans",)
    result = _bring_up(engine, paths, *UP, *words, rack=rack)
    _require(engine, result, "Compose could not start the containers")


def create(engine: Engine, paths: Paths) -> None:
    """Have every container, network and volume that the files name, and start none; raises Error as up."""
    result = _bring_up(engine, paths, "create", *OURS, rack=False)
    _require(engine, result, "Compose could not make the containers")


def _require(engine: Engine, result: run.Result, otherwise: str) -> None:
    if result.code == 0:
        return
    if "iptables: No chain/target/match" in result.err:
        raise firewall.gone(engine.kind)
    raise Error(otherwise, evidence=run.tail(result.err), hint="osbox status")


def rack_up(engine: Engine, paths: Paths) -> None:
    """Have the rack's container run."""
    result = _bring_up(engine, paths, *UP, "--no-deps", RACK, rack=True)
    if result.code != 0:
        raise Error("the rack could not be started", evidence=run.tail(result.err), hint="osbox build rack")


def _bring_up(engine: Engine, paths: Paths, *words: str, rack: bool) -> run.Result:
    with docker.direct(engine, paths.tmp) as env:
        return run.run(argv(engine, paths, *QUIET, *words, rack=rack), check=False, env=env)


def render(
    engine: Engine,
    paths: Paths,
    values: Mapping[str, str],
    options: Mapping[str, Mapping[str, str]],
    *,
    rack: bool,
) -> dict[str, Any]:
    """Our files as Compose reads them with these values; the options by service are put where `env_file`
    would put them."""
    folder = _folder(engine, paths)
    words = _overlays(folder, rack=rack, listen=bool(values.get("OSBOX_LISTEN")))
    away = {**values, "OSBOX_OPTIONS": "/nonexistent"}  # what is there may be of another time
    line = engine.argv(
        "docker", "compose", "--project-directory", folder, *words, "config", "--format", "json"
    )
    model: dict[str, Any] = json.loads(asking.ask(line, env=away).out)
    for service, found in options.items():
        if service in model["services"] and found:
            own = model["services"][service].get("environment") or {}
            escaped = {
                name: value.replace("$", "$$") for name, value in found.items()
            }  # as Compose itself prints them
            model["services"][service]["environment"] = {**escaped, **own}
    return model


def digests(
    engine: Engine, paths: Paths, model: Mapping[str, Any], containers: Mapping[str, str]
) -> dict[str, str]:
    """Compose's hash of each service.

    containers: ids by service, which stand for the names of services whose network is shared.
    """
    services = {name: {**config} for name, config in model["services"].items()}
    for config in services.values():
        if shared := owner(config):
            config["network_mode"] = f"container:{containers.get(shared, 'none')}"
    line = engine.argv(
        "docker", "compose", "--project-directory", _folder(engine, paths), "-f", "-", "config", "--hash", "*"
    )
    out = asking.ask(line, text=json.dumps({**model, "services": services})).out
    return dict(line.split() for line in out.splitlines())


def observe(engine: Engine, site: Site, *services: str) -> dict[str, ServiceState]:
    """The containers of this deployment (or of these services), by service."""
    return {
        item.labels.get(SERVICE, ""): ServiceState(
            item.labels.get(SERVICE, ""),
            item.state.status,
            item.state.health,
            item.image,
            item.state.started_at,
            item.id[:12],
            item.restart_count,
        )
        for item in _containers(engine, site, *services)
    }


def live(engine: Engine, site: Site) -> dict[str, Live]:
    """The containers of this deployment as a plan compares them, by service.

    One that is not called like its service stands there by its own name: Compose was interrupted while it
    replaced a container.
    """
    found = {}
    for item in _containers(engine, site):
        service, state = item.labels.get(SERVICE, ""), item.state
        key = service if item.name == f"{service}.{site.name}" else item.name
        found[key] = Live(
            key,
            item.id,
            state.status,
            state.started_at,
            item.image_id,
            item.labels.get(HASH, ""),
            state.exit_code,
            item.labels.get(labels.RELEASE, ""),
        )
    return found


def _containers(engine: Engine, site: Site, *services: str) -> list[ContainerInfo]:
    names = [f"{name}.{site.name}" for name in services] or docker.ids(engine, "container", label(site))
    return docker.containers(engine, *names)
