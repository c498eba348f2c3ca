"""The programs of an image, run or loaded in one container with the image's own Python."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from osbox import run
from osbox.images import oslo, packages
from osbox.images.inside import SCRIPTS
from osbox.images.sandbox import Sandbox, require, secrets
from osbox.imagetests.subject import Subject
from osbox.releases import folder as releases

Said = Mapping[str, Any]
"""What images/inside/programs.py found in an image."""
PYTHON = {"os-rack": "/opt/sushy/bin/python"}
SWIFT = ["python", "-c", "import swift; print(swift.__version__)"]
# What says the version of the program in an image. OpenStack's must be the locked one; of Debian's any will
# do.
VERSION: dict[str, list[str]] = {
    "os-base-image": ["python3", "--version"],
    "os-openstack": ["gunicorn", "--version"],
    "os-mysql": ["mariadbd", "--version"],
    "os-rabbitmq": ["rabbitmqctl", "version"],
    "os-memcached": ["memcached", "--version"],
    "os-httpboot": ["nginx", "-v"],
    "os-tftpboot": ["dnsmasq", "--version"],
    "os-autodns": ["dnsmasq", "--version"],
    "os-front": ["haproxy", "-v"],
    "os-rack": ["libvirtd", "--version"],
    "os-openvswitch": ["ovs-vswitchd", "--version"],
    "os-ovn-controller": ["ovn-controller", "--version"],
    "os-ovn-central": ["ovn-northd", "--version"],
    "os-keystone": ["keystone-manage", "--version"],
    "os-glance-api": ["glance-manage", "--version"],
    "os-placement": ["placement-manage", "--version"],
    "os-neutron-server": ["neutron-ovn-maintenance-worker", "--version"],
    "os-nova-api": ["nova-manage", "--version"],
    "os-nova-conductor": ["nova-conductor", "--version"],
    "os-nova-scheduler": ["nova-scheduler", "--version"],
    "os-nova-compute": ["nova-compute", "--version"],
    "os-ironic-api": ["ironic-dbsync", "--version"],
    "os-ironic-conductor": ["ironic-conductor", "--version"],
    # Swift's programs know no --version.
    "os-swift-proxy": SWIFT,
    "os-swift-account": SWIFT,
    "os-swift-container": SWIFT,
    "os-swift-object": SWIFT,
    "os-swift-daemons": SWIFT,
}
# The distributions whose programs a project's images are there for; elsewhere it is called like the project.
OWN = {
    "placement": ["openstack-placement"],
    "neutron": ["neutron", "osbox-ml2"],
    "rack": ["sushy-tools"],
    "base": ["gunicorn"],
}


def look(sandbox: Sandbox, tag: str, spec: Any) -> dict[str, Any]:
    """Who runs an image, whether its root is read-only, and its configuration."""
    result = sandbox.run(tag, spec, ["-"], "--entrypoint=python3", text=(SCRIPTS / "look.py").read_text())
    return dict(json.loads(require(result, "a look inside")))


def programs(subject: Subject) -> Iterator[str]:
    """All that one container with the image's own Python can tell."""
    said = answers(subject)
    for test in (version, configuration, scripts, drivers, requirements, health_can_fail, unreachable):
        yield from test(subject, said)


def answers(subject: Subject) -> dict[str, Any]:
    """What images/inside/programs.py finds in the image."""
    sandbox, task = subject.sandbox, _task(subject)
    python = PYTHON.get(subject.image.name, "python3")
    options = [f"--entrypoint={python}", *secrets(sandbox.scratch, subject.secrets)]
    text = f"TASK = {task!r}\n" + (SCRIPTS / "programs.py").read_text()
    said = require(
        sandbox.run(subject.tag, subject.spec, ["-"], *options, text=text), "a test of its programs"
    )
    return dict(json.loads(run.tail(said, 1)))


def _task(subject: Subject) -> dict[str, Any]:
    project = subject.image.project
    of_python = subject.release or subject.image.name in PYTHON
    text, namespaces = _configuration(subject)
    commands = {"version": VERSION[subject.image.name]}
    if subject.health:
        commands["health"] = subject.health
    if subject.waits:
        commands["unreachable"] = [*subject.info.entrypoint, *subject.info.cmd]
    wsgi = [
        item.partition("=")[2].partition(":")[0]
        for item in subject.info.env
        if item.startswith("OSBOX_WSGI=")
    ]
    return {
        "commands": commands,
        "environment": {"OSBOX_WAIT_SECONDS": "1"},
        "modules": wsgi,
        "namespaces": namespaces,
        "configuration": text,
        "drivers": sorted(oslo.drivers(text, subject.inside["files"])) if subject.of_the_release else [],
        # Images of one project share the layer that these programs are in: to load them takes seconds, and
        # once is enough.
        "distributions": OWN.get(project, [project]) if of_python and subject.first() else [],
    }


def _configuration(subject: Subject) -> tuple[str, list[str]]:
    """The whole configuration of a service that reads it with oslo.config, and the names of its groups of
    options."""
    if subject.image.project not in oslo.NAMESPACES or not subject.of_the_release:
        return "", []
    files = {
        path: text for path, text in subject.inside["files"].items() if re.search(r"^\[", text, re.MULTILINE)
    }
    return (
        oslo.merged(subject.image.project, files, subject.bootstrap.get("file", [])),
        oslo.NAMESPACES[subject.image.project],
    )


def version(subject: Subject, said: Said) -> Iterator[str]:
    """Its program answers with its version; an OpenStack one with the locked version."""
    command = " ".join(VERSION[subject.image.name][:2])
    code, text = said["commands"]["version"]
    if code != 0 or not re.search(r"\d+\.\d+", text):
        yield f"{command} ended with exit code {code}: {run.tail(text, 1)}"
        return
    wanted = _locked(subject)
    if wanted and wanted not in text.split():
        yield f"{command} says {run.tail(text, 1)}; the lock says {wanted}"


def configuration(_: Subject, said: Said) -> Iterator[str]:
    """oslo.config knows every option that its configuration sets."""
    yield from (f"configuration: {item}" for item in oslo.problems(said["configuration"]))


def scripts(subject: Subject, said: Said) -> Iterator[str]:
    """Every console script of its own distributions is there and loads, and so does its WSGI application's
    module."""
    yield from _beyond([*said["scripts"], *said["modules"]], "script", subject.exceptions("scripts"))


def drivers(subject: Subject, said: Said) -> Iterator[str]:
    """Every driver and plug-in that its configuration names is there and loads."""
    yield from _beyond(said["drivers"], "driver", subject.exceptions("drivers"))


def requirements(subject: Subject, said: Said) -> Iterator[str]:
    """Every requirement of every installed distribution is satisfied; but for what the release leaves out."""
    there = {canonicalize_name(item["name"]): item["version"] for item in said["distributions"]}
    excluded = releases.read(subject.paths.releases / subject.release).excluded if subject.release else ()
    known = {*map(canonicalize_name, excluded), *map(canonicalize_name, subject.exceptions("requirements"))}
    for item in said["distributions"]:
        for text in item["requires"]:
            wanted = Requirement(text)
            name = canonicalize_name(wanted.name)
            if name in known or (
                wanted.marker and not wanted.marker.evaluate({**said["environment"], "extra": ""})
            ):
                continue
            if name not in there:
                yield f"{item['name']} requires {name}, which is not installed"
            elif not wanted.specifier.contains(there[name], prereleases=True):
                yield f"{item['name']} requires {name} {wanted.specifier}, but {there[name]} is installed"


def health_can_fail(subject: Subject, said: Said) -> Iterator[str]:
    """Its health check fails where the service does not run: one that cannot fail proves nothing."""
    if subject.health and said["commands"]["health"][0] == 0:
        yield "its health check succeeds although the service does not run"


def unreachable(subject: Subject, said: Said) -> Iterator[str]:
    """When what it waits for does not answer, it says so within its deadline, and ends."""
    if subject.waits:
        code, text = said["commands"]["unreachable"]
        last = run.tail(text, 1)
        if code == 0 or not last.startswith("bootstrap: ") or "not ready" not in last:
            yield f"with nothing reachable it says, with exit code {code}: {last or 'nothing'}"


def _beyond(lines: list[str], what: str, known: dict[str, str]) -> Iterator[str]:
    """The lines about what no exception names."""
    return (f"{what} {line}" for line in lines if re.split(r"[: ]", line)[0] not in known)


def _locked(subject: Subject) -> str:
    """The version that the release's lock has for the image's project; "" for what is no OpenStack."""
    if not subject.release or not subject.of_the_release:
        return ""
    project = subject.image.project
    lock = subject.paths.releases / subject.release / f"{project}.lock"
    found = packages.locked(lock.read_text()).get(OWN.get(project, [project])[0])
    return found.version if found else ""
