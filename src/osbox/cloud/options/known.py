"""The site's own options of OpenStack services: checked against what the images have, and what they are now
and why.

An image is asked once for its options (osbox/images/inside/options.py runs inside it); the answer is kept by
the image's id.
"""

import configparser
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osbox import log, run
from osbox.build import provenance
from osbox.cloud.options.names import PROJECT_OF, Address, Known, Option, Type, require_word, text, variable
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import Error, UserError
from osbox.images import facts, oslo, runspec
from osbox.images.catalogue import IMAGES
from osbox.images.inside import SCRIPTS
from osbox.site.site import Paths, Site, Value

SCRIPT = SCRIPTS / "options.py"
SECONDS = 180  # two loaded cores took 8 for Nova
WHAT = "options"
DEFAULT = "default"
"""The source of what nobody set."""

Images = Mapping[str, ImageInfo]
"""By tag."""


class UncheckedError(UserError):
    """What a project's options are is not known without an engine; to start one, which may have to be made
    first, is not worth a look at them."""

    def __init__(self, project: str) -> None:
        super().__init__(
            f"no engine runs, so the options of {project} cannot be checked",
            hint="osbox engine start; osbox build, where the images are not built yet",
        )


@dataclass(frozen=True)
class Setting:
    """The value of an option and where it comes from; value None: there is none, or it is not shown."""

    name: str
    value: str | None
    source: str


@dataclass(frozen=True)
class Project:
    """What there is to know of a project's options.

    environments: what compose/ sets, by service; secrets: variables made from such.
    """

    known: Known
    environments: Mapping[str, Mapping[str, str]]
    secrets: frozenset[str]

    def check(self, address: Address, value: Value) -> str:
        """The value as the environment carries it; raises UserError for what services do not know or take, or
        osbox sets itself."""
        option = self.known.find(address)
        owner = next(
            (service for service in address.services if address.variable in self.environments[service]), ""
        )
        if owner or address.variable in self.secrets:
            reason = f"compose/stack.yaml sets it for {owner}" if owner else "it is made from a secret"
            raise UserError(f"{address} is not yours to set: {reason}", hint=f"osbox get {address}")
        return text(address, option, value, self.known)

    def setting(self, address: Address, chosen: Mapping[str, Value]) -> Setting:
        """The value of an option as `osbox up` would have it, and its source.

        chosen: the site's own, by name.
        """
        option, name = self.known.find(address), str(address)
        for service in address.services:
            if address.variable in self.environments[service]:
                return Setting(
                    name, self.environments[service][address.variable], f"compose/stack.yaml, for {service}"
                )
        if address.variable in self.secrets:
            return Setting(name, None, "a secret, in /run/osbox/secrets.conf of the container")
        for one in (name, str(Address(address.project, address.group, address.option))):
            if one in chosen:
                return Setting(name, text(address, option, chosen[one], self.known), f"site.toml ({one})")
        for file, content in reversed(list(self.known.files.items())):
            values = _sections(content).get(address.group, {})
            if address.option in values and _is_read(file, address):
                return Setting(name, values[address.option], f"{file} of the image")
        return Setting(name, option.default, DEFAULT)


def of_services(paths: Paths, engine: Engine, site: Site, images: Images) -> dict[str, dict[str, str]]:
    """What the site sets, as variables by service, all of it checked; what is set for one service wins over
    its project's."""
    found: dict[str, dict[str, str]] = {}
    chosen = list(addresses(site))
    projects = {
        name: project(paths, engine, name, images)
        for name in sorted({address.project for address, _ in chosen})
    }
    for address, value in sorted(chosen, key=lambda item: item[0].word != item[0].project):
        written = projects[address.project].check(address, value)
        for service in address.services:
            found.setdefault(service, {})[address.variable] = written
    return found


def addresses(site: Site) -> Iterator[tuple[Address, Value]]:
    """Everything under [options] of site.toml."""
    for word, groups in site.options.items():
        require_word(word)
        for group, names in groups.items():
            for name, value in names.items():
                yield Address(word, group, name.replace("-", "_")), value


def project(paths: Paths, engine: Engine | None, name: str, images: Images) -> Project:
    """What there is to know of a project's options: from its image (asked once), compose/ and its fragments
    of secrets.

    Without an engine nothing is asked: UncheckedError where the image's answer is not kept.
    """
    specs = runspec.load(paths.compose)
    environments = {
        service: dict(specs[f"os-{service}"].environment)
        for service, one in PROJECT_OF.items()
        if one == name
    }
    secrets: set[str] = set()
    for file in sorted((paths.images / name).rglob("bootstrap*.toml")):
        for fragment in tomllib.loads(file.read_text()).get("file", []):
            if fragment["path"].endswith("/secrets.conf"):
                secrets |= {
                    variable(group, option)
                    for group, names in _sections(fragment["text"]).items()
                    for option in names
                }
    return Project(_known(paths, engine, name, images), environments, frozenset(secrets))


def images_of(engine: Engine, version: str) -> Images:
    """Those images of a version that are there and read oslo.config, by tag."""
    tags = [image.tag(version) for image in IMAGES if image.project in oslo.NAMESPACES]
    return docker.images(engine, *tags)


def images_built(paths: Paths, version: str) -> Images:
    """Likewise, of what no engine says: as they were last built or loaded here."""
    tags = [image.tag(version) for image in IMAGES if image.project in oslo.NAMESPACES]
    told = {tag: provenance.load(paths, tag) for tag in tags}
    return {tag: ImageInfo(provenance.subjects(document)[0]) for tag, document in told.items() if document}


def _known(paths: Paths, engine: Engine | None, name: str, images: Images) -> Known:
    """The options of a project, and its configuration files, as they are in its image."""
    names = [image.name for image in IMAGES if image.project == name]
    found = next(((tag, entry) for tag, entry in images.items() if tag.partition(":")[0] in names), None)
    if not found:
        if not engine:
            raise UncheckedError(name)
        raise UserError(
            f"the image {names[0]} is not built, so its options are not known", hint="osbox build"
        )
    tag, entry = found
    rows = facts.kept(paths, entry.id, WHAT)
    if rows is None:
        if not engine:
            raise UncheckedError(name)
        rows = _ask(engine, name, tag)
        facts.keep(paths, entry.id, WHAT, rows)
    described, files = rows
    options = [
        Option(
            **{**row, "type": Type.of(row["type"]), "old": tuple((group, old) for group, old in row["old"])}
        )
        for row in described
    ]
    auth = {
        group
        for content in files.values()
        for group, inside in _sections(content).items()
        if "auth_type" in inside
    }
    return Known(name, {(option.group, option.name): option for option in options}, frozenset(auth), files)


def _ask(engine: Engine, name: str, tag: str) -> list[Any]:
    script = f"NAMESPACES = {oslo.NAMESPACES[name]!r}\nPROJECT = {name!r}\n{SCRIPT.read_text()}"
    words = [
        "run",
        "--rm",
        "--interactive",
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        "--tmpfs=/tmp",
        "--entrypoint=python3",
        tag,
        "-",
    ]
    with log.step(f"Ask the image {tag} for its options"):
        done = docker.docker(engine, *words, text=script, check=False, timeout=SECONDS)
    if done.code != 0:
        raise Error(
            f"{tag} could not list its options",
            evidence=run.tail(done.err),
            hint=f"osbox test {tag.partition(':')[0]}",
        )
    return list(json.loads(run.tail(done.out, 1)))


def _is_read(file: str, address: Address) -> bool:
    """Whether the services read a file of the project: what is called like a program is for that one only."""
    program = Path(file).stem
    return program not in PROJECT_OF or program == address.word or (program,) == address.services


def _sections(content: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, default_section="\0")
    try:
        parser.read_string(content)
    except configparser.Error:
        return {}  # a file beside the service's own may be none of oslo.config's
    return {
        section: {name: value or "" for name, value in parser.items(section)} for section in parser.sections()
    }
