"""The tests of an image. Each yields a line for every thing that is wrong, and nothing when all is well."""

import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osbox import host, run
from osbox.errors import Error
from osbox.model import catalogue, oslo
from osbox.model.catalogue import Image
from osbox.model.runspec import RunSpec
from osbox.model.site import Paths
from osbox.sandbox import Sandbox, require, secrets

ROOT_REASON = "io.osbox.root"
UID = 42400
BOOTSTRAP = "/etc/osbox/bootstrap.toml"
ABSTRACT = (catalogue.GROUND, catalogue.OPENSTACK)  # what others stand on: no service of their own
SHELLS = ("#!/bin/sh", "#!/bin/bash", "#!/usr/bin/env bash")

SWIFT = ["python", "-c", "import swift; print(swift.__version__)"]
# What says the version of the program in an image. OpenStack's must be the locked one; of Debian's any will do.
VERSION: dict[str, list[str]] = {
    "os-base-image": ["python3", "--version"],
    "os-openstack": ["gunicorn", "--version"],
    "os-mysql": ["mariadbd", "--version"],
    "os-rabbitmq": ["rabbitmqctl", "version"],
    "os-memcached": ["memcached", "--version"],
    "os-httpboot": ["nginx", "-v"],
    "os-tftpboot": ["dnsmasq", "--version"],
    "os-autodns": ["dnsmasq", "--version"],
    "os-rack": ["libvirtd", "--version"],
    "os-openvswitch": ["ovs-vswitchd", "--version"],
    "os-keystone": ["keystone-manage", "--version"],
    "os-glance-api": ["glance-manage", "--version"],
    "os-placement": ["placement-manage", "--version"],
    "os-neutron-server": ["neutron-rpc-server", "--version"],
    "os-neutron-openvswitch-agent": ["neutron-openvswitch-agent", "--version"],
    "os-neutron-dhcp-agent": ["neutron-dhcp-agent", "--version"],
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
}
LOCKED = {"placement": "openstack-placement"}  # the project's name on PyPI where it differs
OF_DEBIAN = ("os-openvswitch",)  # on the OpenStack base, and yet no program of the release

# Runs inside the image: who am I, what was left behind, and the configuration.
LOOK = """
import glob, json, os, shutil
paths = ["/run/secrets/*", "/etc/pip.conf", "/etc/uv", "/root/.cache/*", "/root/.config/*",
         "/var/lib/apt/lists/*_Packages*", "/var/cache/apt/archives/*.deb", "/tmp/packages.txt"]
programs = ["cc", "gcc", "pip", "pip3", "uv"]
files = {}
for path in glob.glob("/etc/*/*.conf") + glob.glob("/etc/*/*.conf.d/*.conf") + ["/etc/osbox/bootstrap.toml"]:
    try:
        files[path] = open(path).read()
    except OSError:
        pass
print(json.dumps({"uid": os.getuid(), "left": [path for name in paths for path in glob.glob(name)],
                  "programs": [name for name in programs if shutil.which(name)], "files": files}))
"""


@dataclass(frozen=True)
class Subject:
    """An image under test: what Docker says of it, and what is inside."""

    paths: Paths
    image: Image
    tag: str
    config: dict[str, Any]
    history: str
    spec: RunSpec
    sandbox: Sandbox
    inside: dict[str, Any]

    @property
    def bootstrap(self) -> dict[str, Any]:
        return tomllib.loads(self.inside["files"].get(BOOTSTRAP, ""))

    @property
    def secrets(self) -> set[str]:
        """Names of the secrets that it needs."""
        text = self.inside["files"].get(BOOTSTRAP, "")
        fragments = re.findall(r"\{([a-z][a-z0-9-]*)\}", "".join(re.findall(r'"""(.*?)"""', text, re.DOTALL)))
        own = {"bmc-password"} if self.image.name == "os-rack" else set()
        return own | set(fragments)

    @property
    def waits(self) -> bool:
        """Whether it needs something beyond itself before it starts."""
        return bool({"wait", "migrate", "schema"} & self.bootstrap.keys())


def recipe(subject: Subject) -> Iterator[str]:
    """hadolint finds nothing in its Dockerfile, shellcheck nothing in its scripts."""
    folder = subject.paths.project / subject.image.dockerfile.parent
    config = subject.paths.project / ".hadolint.yaml"
    yield from _lint(["hadolint", "--no-color", "--config", str(config), str(folder / "Dockerfile")])
    scripts = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_shell(path)]
    if scripts:
        yield from _lint(["shellcheck", "--format=gcc", *map(str, scripts)])


def frame(subject: Subject) -> Iterator[str]:
    """User, entry point, command and health check are declared as they should be."""
    config, reason = subject.config, (subject.config.get("Labels") or {}).get(ROOT_REASON, "")
    user = (config.get("User") or "root").partition(":")[0]
    if user in ("root", "0") and not reason:
        yield f"runs as root, and no label {ROOT_REASON} says why"
    if user not in ("root", "0") and reason:
        yield f"does not run as root, but has the label {ROOT_REASON}"
    if user not in ("root", "0") and subject.inside["uid"] != UID:
        yield f"runs as uid {subject.inside['uid']}, not {UID}"
    first = "rack" if subject.image.name == "os-rack" else "bootstrap"
    if config.get("Entrypoint") != [first]:
        yield f"its entry point is {config.get('Entrypoint')}, not {first}"
    if subject.image.name in ABSTRACT:
        return
    if (config.get("Cmd") or ["rack"])[0] in ("/bin/sh", "sh"):
        yield f"its command is in shell form: {config['Cmd']}"
    if not config.get("Cmd") and first == "bootstrap":
        yield "has no command"
    if (config.get("Healthcheck") or {}).get("Test", [""])[0] != "CMD":
        yield "has no health check in exec form"


def layers(subject: Subject) -> Iterator[str]:
    """Nothing of the build is left inside: no tools, caches, package settings of the machine that built it."""
    yield from (f"left behind: {path}" for path in subject.inside["left"])
    yield from (f"has {name} inside" for name in subject.inside["programs"])
    told = "\n".join(subject.config.get("Env") or []) + subject.history
    yield from (f"its history names this machine's {word}" for word in sorted(_host_settings()) if word in told)


def version(subject: Subject) -> Iterator[str]:
    """Its program answers with its version; an OpenStack one with the locked version."""
    command = VERSION[subject.image.name]
    result = subject.sandbox.run(subject.tag, subject.spec, command[1:], f"--entrypoint={command[0]}")
    said = result.out + result.err
    if result.code != 0 or not re.search(r"\d+\.\d+", said):
        yield f"{' '.join(command[:2])} ended with exit code {result.code}: {run.tail(said, 1)}"
        return
    wanted = _locked(subject)
    if wanted and wanted not in said.split():
        yield f"{' '.join(command[:2])} says {run.tail(said, 1)}; the lock says {wanted}"


def configuration(subject: Subject) -> Iterator[str]:
    """oslo.config knows every option that its configuration sets."""
    if subject.image.project not in oslo.NAMESPACES or not _of_the_release(subject.image):
        return
    # dnsmasq.conf beside Neutron's own is no INI file.
    files = {path: text for path, text in subject.inside["files"].items() if re.search(r"^\[", text, re.MULTILINE)}
    text = oslo.merged(subject.image.project, files, subject.bootstrap.get("file", []))
    words = " ".join(f"--namespace {name}" for name in oslo.NAMESPACES[subject.image.project])
    script = f"cat >/tmp/all.conf && oslo-config-validator --input-file /tmp/all.conf {words}"
    result = subject.sandbox.run(subject.tag, subject.spec, ["-c", script], "--entrypoint=sh", text=text)
    if "Traceback" in result.err:
        yield f"oslo-config-validator failed: {run.tail(result.err, 1)}"
    yield from (f"configuration: {item}" for item in oslo.problems(result.err))


def missing_secret(subject: Subject) -> Iterator[str]:
    """Without its secrets it says which one is missing, in one line, and ends."""
    if not subject.secrets:
        return
    result = subject.sandbox.run(subject.tag, subject.spec, [], "--env=OSBOX_ADDRESS=127.0.0.1")
    lines = (result.out + result.err).strip().splitlines()
    named = lines and any(name in lines[-1] for name in subject.secrets)
    if result.code == 0 or len(lines) != 1 or not named:
        yield f"without secrets it says, with exit code {result.code}: {' / '.join(lines[-3:]) or 'nothing'}"


def unreachable(subject: Subject) -> Iterator[str]:
    """When what it waits for does not answer, it says so within its deadline, and ends."""
    if not subject.waits:
        return
    options = secrets(subject.sandbox.scratch, subject.secrets)
    result = subject.sandbox.run(subject.tag, subject.spec, [], *options, "--env=OSBOX_WAIT_SECONDS=1")
    last = run.tail(result.out + result.err, 1)
    if result.code == 0 or not last.startswith("bootstrap: ") or "not ready" not in last:
        yield f"with nothing reachable it says, with exit code {result.code}: {last or 'nothing'}"


def health_can_fail(subject: Subject) -> Iterator[str]:
    """Its health check fails where the service does not run: one that cannot fail proves nothing."""
    test = (subject.config.get("Healthcheck") or {}).get("Test", [])[1:]
    if test:
        options = secrets(subject.sandbox.scratch, subject.secrets)
        result = subject.sandbox.run(subject.tag, subject.spec, test[1:], *options, f"--entrypoint={test[0]}")
        if result.code == 0:
            yield "its health check succeeds although the service does not run"


def starts(subject: Subject) -> Iterator[str]:
    """It starts on empty volumes and becomes healthy. What waits for other services, the end-to-end tests start."""
    if subject.waits or subject.image.name in ABSTRACT:
        return
    options = secrets(subject.sandbox.scratch, subject.secrets)
    with subject.sandbox.started(subject.tag, subject.spec, *options, "--env=OSBOX_ADDRESS=127.0.0.1") as name:
        why = subject.sandbox.until_healthy(name)
        if why:
            yield f"started, {why}"


PROBES: tuple[Callable[[Subject], Iterator[str]], ...] = (
    recipe, frame, layers, version, configuration, missing_secret, unreachable, health_can_fail, starts,
)  # fmt: skip


def look(sandbox: Sandbox, tag: str, spec: RunSpec) -> dict[str, Any]:
    """Read what is inside an image."""
    result = sandbox.run(tag, spec, ["-c", LOOK], "--entrypoint=python3")
    return dict(json.loads(require(result, "a look inside")))


def tool(name: str) -> str:
    """A linter: the one installed beside this Python, or the machine's."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise Error(f"{name} is not installed", hint="make setup")
    return found


def _lint(argv: list[str]) -> Iterator[str]:
    result = run.run([tool(argv[0]), *argv[1:]], check=False)
    if result.code != 0:
        yield from (result.out + result.err).strip().splitlines() or [f"{argv[0]}: exit code {result.code}"]


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().decode(errors="replace").strip().startswith(SHELLS)


def _host_settings() -> set[str]:
    """Host names of this machine's own package sources."""
    urls = [*host.apt_mirrors(), *host.pip_config().values(), *host.proxy_args().values()]
    return {match[1] for url in urls for match in re.finditer(r"://(?:[^/@\s]*@)?([^/:\s]+)", url)}


def _of_the_release(image: Image) -> bool:
    """Whether its program comes from the OpenStack release."""
    return image.base == catalogue.OPENSTACK and image.name not in OF_DEBIAN


def _locked(subject: Subject) -> str:
    """The version that the release's lock has for the image's project; "" for what is no OpenStack."""
    release = (subject.config.get("Labels") or {}).get("io.osbox.release")
    if not release or not _of_the_release(subject.image):
        return ""
    name = LOCKED.get(subject.image.project, subject.image.project)
    lock = (subject.paths.releases / release / f"{subject.image.project}.lock").read_text()
    found = re.search(rf"^{name}==(\S+)", lock, re.MULTILINE)
    return found[1] if found else ""
