"""Kolla's images of the same services, built on the same engine: what it costs to build them, and how large
they are.

What is not as Kolla's users have it, and each thing helps Kolla: OpenStack's source is the published one from
the package index, lying on the disk, and no plug-ins beside it; MariaDB, RabbitMQ and the Docker client are
Debian's, from the mirror that this machine uses; its vendors' repositories and keys are not asked.
"""

import json
import re
import sys
import tarfile
import time
from pathlib import Path

import yaml
from common import out
from place import Place, unique

from osbox import run
from osbox.errors import Error
from osbox.site import sources as host

VERSION = "22.2.0"  # of the series 2026.1
RELEASE = "2026.1"
IMAGES = (
    "keystone",
    "glance-api",
    "placement-api",
    "nova-api",
    "nova-conductor",
    "nova-scheduler",
    "nova-compute-ironic",
    "neutron-server",
    "neutron-openvswitch-agent",
    "neutron-dhcp-agent",
    "ironic-api",
    "ironic-conductor",
    "ironic-pxe",
    "mariadb-server",
    "rabbitmq",
    "memcached",
    "openvswitch-db-server",
    "openvswitch-vswitchd",
    "dnsmasq",
    "httpd",
)
PROJECTS = {
    "keystone-base": "keystone",
    "glance-base": "glance",
    "placement-base": "openstack-placement",
    "nova-base": "nova",
    "neutron-base": "neutron",
    "ironic-base": "ironic",
}
OFF = (
    "neutron-base-plugin-neutron-fwaas",
    "neutron-base-plugin-networking-baremetal",
    "neutron-base-plugin-networking-generic-switch",
    "neutron-base-plugin-networking-sfc",
    "neutron-base-plugin-vpnaas-agent",
    "neutron-server-plugin-neutron-dynamic-routing",
    "nova-base-plugin-blazar",
    "ironic-conductor-plugin-prometheus-exporter",
    "mariadb-server-plugin-mariadb-docker",
)
KEY = "/etc/kolla/apt-keys/debian.gpg"
SOURCES = (
    "Types: deb\\nURIs: {mirror}\\nSuites: trixie trixie-updates\\nComponents: main\\nSigned-By: {key}\\n"
)
OVERRIDE = """\
{{% extends parent_template %}}
{{% block base_header %}}
RUN mkdir -p /etc/kolla/apt-keys /etc/ssl/certs && cp /usr/share/keyrings/debian-archive-keyring.gpg {key} \\
 && printf '{sources}' >/etc/apt/sources.list.d/debian.sources \\
 && printf '{options}' >/etc/apt/apt.conf.d/99host \\
 && printf '#!/bin/sh\\n' >/usr/local/bin/extrepo && chmod 755 /usr/local/bin/extrepo
COPY ca.pem /etc/bench-ca.pem
ENV {environment}
{{% endblock %}}
{{% block base_ubuntu_package_sources_list %}}{{% endblock %}}
{{% block base_ubuntu_package_key_installation %}}{{% endblock %}}
{{% block rabbitmq_apt_preferences %}}{{% endblock %}}
{{% block rabbitmq_install_plugins %}}{{% endblock %}}
{{% block mariadb_healthcheck %}}{{% endblock %}}
{{% set neutron_base_packages_remove = ['docker-ce-cli'] %}}
{{% set neutron_base_packages_append = ['docker-cli'] %}}
"""
CONFIG = """\
[DEFAULT]
base = debian
base_image = osbox-debian
base_tag = trixie
tag = bench
pull = false
openstack_release = {release}
template_override = {folder}/override.j2
repos_yaml = {folder}/repos.yaml
logs_dir = {folder}/logs
"""


def measure(place: Place) -> tuple[dict[str, float], list[str]]:
    """Kolla's figures by the names of ours, and what to know of them; nothing but the reason where it cannot
    be built here."""
    try:
        builder = prepare(place, place.home / "tmp/kolla")
        cold, again = build(builder), build(builder)
    except Error as error:
        return {}, [f"kolla was not measured: {error.message}", *error.evidence.splitlines()[-5:]]
    names = [f"kolla/{name}:bench" for name in IMAGES]
    layers = place.layers(names)
    sizes = {name: sum(of_image.values()) for name, of_image in layers.items()}
    figures = {
        "cold make all": cold,
        "unchanged make all": again,
        "unique bytes of all images but the rack": round(unique(layers) / 1e6),
        "the largest image": round(max(sizes.values()) / 1e6),
        "images that run as root": float(sum(root(place, name) for name in names)),
    }
    return figures, [
        f"kolla {VERSION}, {len(names)} images and what they stand on;"
        f" {' '.join((__doc__ or '').partition('.')[2].split())}"
    ]


def prepare(place: Place, folder: Path) -> list[str]:
    """Install Kolla and give it what it builds from; returns the command line that builds."""
    folder.mkdir(parents=True)
    environment = folder / "venv"
    run.run([sys.executable, "-m", "venv", str(environment)])
    pip = [str(environment / "bin/pip"), "--disable-pip-version-check"]
    run.run([*pip, "install", "--quiet", f"kolla=={VERSION}", "docker"])
    for name in ("sources", "logs"):
        (folder / name).mkdir()
    # Kolla installs its recipes into the environment; a file that one of them is to copy must lie beside it.
    (environment / "share/kolla/docker/base/ca.pem").write_bytes(host.ca_text())
    lines = [CONFIG.format(release=RELEASE, folder=folder)]
    for name, file in sources(place, pip, folder / "sources").items():
        lines.append(f"[{name}]\ntype = local\nlocation = {file}\n")
    lines += [f"[{name}]\nenabled = false\n" for name in OFF]
    (folder / "kolla-build.conf").write_text("\n".join(lines), encoding="utf-8")
    mirror = next(iter(host.apt_mirrors()), "")
    if not mirror:
        raise Error("this machine's apt names no Debian mirror", hint="OSBOX_MIRROR=http://…/debian")
    vendor = {"url": mirror, "suite": "trixie", "component": "main", "gpg_key": Path(KEY).name}
    [own] = environment.glob("lib/*/site-packages/kolla/template/repos.yaml")
    known = [
        name for kind in ("deb", "debian") for name in yaml.safe_load(own.read_text(encoding="utf-8"))[kind]
    ]
    (folder / "repos.yaml").write_text(
        json.dumps({"deb": {}, "debian": dict.fromkeys(known, vendor)}), encoding="utf-8"
    )
    (folder / "override.j2").write_text(override(mirror), encoding="utf-8")
    pid = (place.home / "engine/dockerd.pid").read_text(encoding="utf-8").strip()
    socket = f"unix:///proc/{pid}/root/run/docker.sock"
    program = [str(environment / "bin/kolla-build"), "--config-file", str(folder / "kolla-build.conf")]
    return ["env", f"DOCKER_HOST={socket}", *program, *(f"^{name}$" for name in IMAGES)]


def sources(place: Place, pip: list[str], folder: Path) -> dict[str, Path]:
    """OpenStack's sources by Kolla's names: of each project, the version that our release has; and its
    constraints."""
    release = place.checkout / "releases" / RELEASE
    locked = "\n".join(file.read_text(encoding="utf-8") for file in release.glob("*.lock"))
    found = {}
    for image, project in PROJECTS.items():
        [version, *_] = re.findall(rf"^{project}==(\S+)", locked, re.MULTILINE)
        at = folder / project
        run.run(
            [
                *pip,
                "download",
                "--quiet",
                "--no-deps",
                "--no-binary",
                project,
                "--dest",
                str(at),
                f"{project}=={version}",
            ]
        )
        [found[image]] = at.glob("*.tar.gz")
    archive = folder / "requirements.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(release / "constraints.txt", "requirements/upper-constraints.txt")
    return {**found, "openstack-base": archive}


def override(mirror: str) -> str:
    """Kolla's own way to change its recipes: blocks that are replaced."""
    options = host.apt_conf("/etc/bench-ca.pem").replace("\n", "\\n").replace("%", "%%").replace("'", "")
    variables = {"PIP_CERT": "/etc/bench-ca.pem", "SSL_CERT_FILE": "/etc/bench-ca.pem", **host.proxy_args()}
    variables |= {f"PIP_{key.upper().replace('-', '_')}": value for key, value in host.pip_config().items()}
    environment = " ".join(f'{name}="{value}"' for name, value in variables.items())
    return OVERRIDE.format(
        key=KEY, sources=SOURCES.format(mirror=mirror, key=KEY), options=options, environment=environment
    )


def build(argv: list[str]) -> float:
    """Seconds of one run of kolla-build; raises Error that names what it could not build."""
    out.print(f"$ {run.line(argv)}", style="dim", markup=False)
    said: list[str] = []
    begin = time.monotonic()
    code = run.stream(argv, said.append)
    if code != 0:
        raise Error(
            "kolla-build failed",
            evidence="\n".join(
                line[:200] for line in said if line.startswith("ERROR") and "Failed with" in line
            ),
        )
    return round(time.monotonic() - begin, 1)


def root(place: Place, name: str) -> bool:
    return place.docker("image", "inspect", "--format", "{{.Config.User}}", name).strip() in ("", "0", "root")
