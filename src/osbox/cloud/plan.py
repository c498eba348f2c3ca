"""The plan of `osbox up`, read from the live system: what is missing or differs, and what Compose would do
about it. Writes nothing."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from osbox import run
from osbox.cloud import applied, compose, policies
from osbox.cloud.changes import Change, Live, Wanted, containers, owner
from osbox.cloud.changes import networks as networks_changes
from osbox.cloud.options import known as options
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo, NetworkInfo
from osbox.errors import UserError
from osbox.images import catalogue, labels
from osbox.images.catalogue import BY_NAME, IMAGES
from osbox.releases import folder as releases
from osbox.site import secrets
from osbox.site.site import LABEL, Paths, Site
from osbox.tls import decide, store
from osbox.tls.decide import Do

REMOVE = {"container": "docker rm --force", "network": "docker network rm", "volume": "docker volume rm"}
"""What Compose makes under names of ours; and how one is removed, in the order in which that goes: what is in
use stays."""
KINDS = tuple(REMOVE)
RACK = "os-rack"  # started with the first virtual node
CONDUCTOR = BY_NAME["os-ironic-conductor"]  # its label says which release all images of a version are of

Images = Mapping[str, ImageInfo]
"""By tag."""


@dataclass(frozen=True)
class Plan:
    """What would change; and what is needed to do it: the files that Compose reads, the services' settings,
    what lives now, the ids of networks that are removed because they are made anew.

    release, version: of the images that shall run. former: the release that the cloud was last brought up
    with, "" of none. exchanged: services that run an image of other content.
    """

    changes: tuple[Change, ...]
    files: Mapping[Path, str]
    services: Mapping[str, Mapping[str, Any]]
    live: Mapping[str, Live]
    rack: bool
    outdated_networks: tuple[str, ...] = ()
    release: str = ""
    version: str = ""
    former: str = ""
    exchanged: tuple[str, ...] = ()


def read(paths: Paths, site: Site, engine: Engine, version: str) -> Plan:
    """The plan for images of that version; raises UserError for images that are not built, options that do
    not exist, storage policies that objects may be in, and what others made under names of ours."""
    policies.require_places(paths, site)
    with ThreadPoolExecutor() as pool:  # each waits for the engine
        live = pool.submit(compose.live, engine, site)
        volumes = pool.submit(docker.ids, engine, "volume", compose.label(site))
        networks = pool.submit(docker.networks, engine)
        of_ours = pool.submit(docker.ids, engine, "container", compose.label(site))
        everybodys = {kind: pool.submit(docker.ids, engine, kind) for kind in KINDS}
        images = _images(engine, version)
        tags = _tags(paths, engine, images, version)
        of_images = {**tags, compose.RELEASE: _release(images, version)}
        values = compose.environment(paths, site, version, of_release(paths, images, version), of_images)
        chosen = options.of_services(paths, engine, site, images)
        # Virtual nodes from before a `down` are on this volume, and servers may be on them.
        rack = compose.RACK in live.result() or any(name.endswith("rack-data") for name in volumes.result())
        if rack:
            _require(images, version, [RACK])
        model = compose.render(engine, paths, values, chosen, rack=rack)
    there = [item for item in networks.result() if item.labels.get(LABEL) == site.name]
    named = [item.name for item in there]
    mine = {"volume": volumes.result(), "network": named, "container": of_ours.result()}
    others = {kind: set(everybodys[kind].result()) - set(mine[kind]) for kind in KINDS}
    _refuse_strangers(engine, site, _names(site, model, values), others)
    of_networks, anew = networks_changes(model["networks"], there)
    _refuse_guests(of_networks, there, set(of_ours.result()))
    digests = compose.digests(
        engine, paths, model, {name: item.container for name, item in live.result().items()}
    )
    wanted = _wanted(model, images, digests, anew)
    past = applied.read(paths)
    files = compose.files(paths, values, chosen)
    changes = [
        *(Change("secret", name, "create", ("it is not there",)) for name in secrets.missing(paths)),
        *_certificate(paths, site),
        *(_file(paths, file, files) for file in compose.outdated(paths, files)),
        *of_networks,
        *_missing(model["volumes"], volumes.result()),
        *containers(wanted, live.result(), past.services, past.starts),
    ]
    found = Plan(tuple(changes), files, model["services"], live.result(), rack, _outdated(of_networks, there))
    return replace(
        found,
        release=of_images[compose.RELEASE],
        version=version,
        former=_former(paths, engine),
        exchanged=tuple(one.service for one in wanted if _is_other(one, found.live.get(one.service))),
    )


def _former(paths: Paths, engine: Engine) -> str:
    """The release of the last `osbox up`; where it was not written down yet, that of the images it was."""
    last, version = compose.last(paths, compose.RELEASE), compose.last(paths, "OSBOX_VERSION")
    if last or not version:
        return last
    return release_of(engine, version)


def _outdated(changes: Iterable[Change], there: Iterable[NetworkInfo]) -> tuple[str, ...]:
    """The ids of the networks that are made anew."""
    names = {change.name for change in changes if change.action == "recreate"}
    return tuple(item.id for item in there if item.name in names)


def _wanted(
    model: Mapping[str, Any], images: Images, digests: Mapping[str, str], anew: list[str]
) -> list[Wanted]:
    found = []
    for service, config in model["services"].items():
        image = images.get(config["image"])
        identity = image.id if image else ""
        moves = tuple(sorted({*config.get("networks", ())} & {*anew}))
        found.append(
            Wanted(service, config["image"], identity, digests[service], config, owner(config), moves)
        )
    return found


def _is_other(wanted: Wanted, here: Live | None) -> bool:
    return here is not None and here.image_id != wanted.image_id


def _refuse_guests(changes: Iterable[Change], there: Iterable[NetworkInfo], ours: set[str]) -> None:
    """Raise for containers of others in a network that is made anew: Docker removes none that is in use."""
    for name in (change.name for change in changes if change.action == "recreate"):
        guests = sorted({one for item in there if item.name == name for one in item.containers} - ours)
        if guests:
            raise UserError(
                f"the network {name} has to be made anew, and containers of others are in it",
                evidence=", ".join(guests),
                hint=f"osbox engine shell -- docker network disconnect {name} {guests[0]}",
            )


def _names(site: Site, model: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, set[str]]:
    """What Compose makes at the engine by name, now or (the rack) with the first virtual node, by kind."""
    services = (str(item.get("container_name", "")) for item in model["services"].values())
    volumes = (str(item["name"]) for item in model["volumes"].values())
    return {
        "volume": {*volumes, f"{values['OSBOX_VOLUME_PREFIX']}rack-data"},
        "network": {str(item["name"]) for item in model["networks"].values()},
        "container": {*services, f"{compose.RACK}.{site.name}"},
    }


def _of_others(engine: Engine, site: Site, kind: str) -> set[str]:
    """The names of what is there and not of this deployment."""
    return set(docker.ids(engine, kind)) - set(docker.ids(engine, kind, compose.label(site)))


def _refuse_strangers(
    engine: Engine, site: Site, wanted: Mapping[str, set[str]], others: Mapping[str, set[str]]
) -> None:
    if strangers(wanted, others):
        # Looked at again: between the two questions a command beside this one may have removed ours.
        found = strangers(wanted, {kind: _of_others(engine, site, kind) for kind in KINDS})
        if found:
            raise _refusal(site, found)


def strangers(wanted: Mapping[str, set[str]], others: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """What others have under names of ours, as (kind, name). Compose would mount such a volume, whatever is
    in it."""
    return sorted((kind, name) for kind, names in wanted.items() for name in names & others[kind])


def _refusal(site: Site, found: list[tuple[str, str]]) -> UserError:
    named = ", ".join(f"the {kind} {name}" for kind, name in found)
    by_kind = {kind: [name for its, name in found if its == kind] for kind in REMOVE}
    removal = [run.line([*REMOVE[kind].split(), *names]) for kind, names in by_kind.items() if names]
    return UserError(
        f"this engine has what osbox did not make, under names that the cloud needs: {named}",
        evidence=f"without the label {LABEL}={site.name}, which all of ours has",
        hint=(
            "another name for this cloud, and so for all it has: osbox --name lab up; or, if nobody needs"
            f" {'it' if len(found) == 1 else 'them'}: "
            + " && ".join(f"osbox engine shell -- {line}" for line in removal)
        ),
    )


def _missing(declared: Mapping[str, Mapping[str, Any]], existing: list[str]) -> list[Change]:
    names = sorted(str(item["name"]) for item in declared.values())
    return [Change("volume", name, "create", ("it is not there",)) for name in names if name not in existing]


def _certificate(paths: Paths, site: Site) -> list[Change]:
    if not site.tls:
        return []
    due = store.due(paths, store.names_here(site), datetime.now(UTC))
    action: Any = "create" if due.why == decide.NONE else "change"
    return [] if due.do is Do.FRESH else [Change("certificate", "of the entrance", action, (due.why,))]


def _file(paths: Paths, file: Path, texts: Mapping[Path, str]) -> Change:
    if file not in texts:
        return Change(
            "file",
            str(file.relative_to(paths.home)),
            "remove",
            ("no option of this service is set any more",),
        )
    return Change(
        "file",
        str(file.relative_to(paths.home)),
        "write",
        ("it differs" if file.exists() else "it is not there",),
    )


def _images(engine: Engine, version: str) -> dict[str, ImageInfo]:
    """The images of a version, by tag; raises UserError when one that is always started is not there."""
    found = docker.images(engine, *(image.tag(version) for image in IMAGES))
    _require(
        found, version, [image.name for image in IMAGES if image.name not in (catalogue.OPENSTACK, RACK)]
    )
    return found


def _tags(paths: Paths, engine: Engine, images: dict[str, ImageInfo], version: str) -> dict[str, str]:
    """By variable the tags of the images that no release changes: the one that was applied last, as long as
    its image is the same. Compose replaces a container whose image has only another name, and MariaDB, the
    entrance and the rack need not end for that. Adds what these name to the images."""
    own = {image: _last(paths, image) or version for image in IMAGES if image.variable}
    others = {image.tag(tag) for image, tag in own.items() if tag != version}
    images.update(docker.images(engine, *others) if others else {})
    return {
        image.variable: tag if same(images.get(image.tag(tag)), images.get(image.tag(version))) else version
        for image, tag in own.items()
    }


def _last(paths: Paths, image: catalogue.Image) -> str:
    """The tag of an image that was applied last; a cloud of before these had tags of their own has them by
    its version."""
    return compose.last(paths, image.variable) or compose.last(paths, "OSBOX_VERSION")


def same(one: ImageInfo | None, other: ImageInfo | None) -> bool:
    """Whether two images are there and have the same files and settings: labels, names and dates may
    differ."""
    if one is None or other is None:
        return False
    return one.id == other.id or _content(one) == _content(other)


def _content(image: ImageInfo) -> object:
    settings = {**json.loads(image.config or "{}"), "Labels": None, "Image": None}
    return image.architecture, image.layers, settings


def _require(images: Images, version: str, names: Iterable[str]) -> None:
    absent = sorted(f"{name}:{version}" for name in names if f"{name}:{version}" not in images)
    if absent:
        make = "osbox build" + ("" if version == "latest" else f" --version {version}")
        raise UserError(f"images are not built: {', '.join(absent)}", hint=make)


def of_release(paths: Paths, images: Images, version: str) -> Mapping[str, str]:
    """What the release of these images wants otherwise; nothing for a release that is not in this
    checkout."""
    name = _release(images, version)
    return releases.read(paths.releases / name).environment if name in releases.known(paths.releases) else {}


def _release(images: Images, version: str) -> str:
    """Of which release these images are; "" when the one that says it is not among them."""
    found = images.get(CONDUCTOR.tag(version))
    return found.labels.get(labels.RELEASE, "") if found else ""


def release_of(engine: Engine, version: str) -> str:
    """The OpenStack release of the images of a version; "" when they are not here."""
    return _release(docker.images(engine, CONDUCTOR.tag(version)), version)


def release(engine: Engine, site: Site) -> str:
    """The OpenStack release that runs here, or else that of the images called latest; "" when neither is
    here."""
    found = docker.container(engine, f"ironic-conductor.{site.name}") or docker.image(
        engine, CONDUCTOR.tag("latest")
    )
    return found.labels.get(labels.RELEASE, "") if found else ""
