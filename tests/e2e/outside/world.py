"""A world outside for builds: a network namespace with one way out, a real proxy (Squid) that opens TLS, a
real mirror (nginx).

Squid and nginx are Debian's, taken from their packages without being installed on the host.
"""

import os
import shutil
import signal
import socket
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pip._internal.models.index import (
    PyPI,
)  # the addresses that pip has built in, which are written nowhere here

from osbox import run
from osbox.site import sources as host
from tests.deadlines import waited

NAMESPACE = "osbox-way"
PREFIX = "osbox-outside-"
LINKS = ("osbox-way0", "osbox-way1")  # the host's end, the namespace's
HERE, THERE = "10.29.94.1", "10.29.94.2"  # the host's address, the namespace's
USER, PASSWORD = "proxied-person", "hunter-of-layers"
CA_NAME = "osbox test authority of a private network"
PROXY_PORT, MIRROR_PORT, SILENT_PORT = 3128, 8080, 8081
PACKAGES = ("squid-openssl", "nginx")
SETTINGS = {
    *host.PROXIES,
    *(name.upper() for name in host.PROXIES),
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
}

SQUID = """\
http_port {here}:{port} ssl-bump cert={folder}/ca.pem generate-host-certificates=on dynamic_cert_mem_cache_size=4MB
ssl_bump bump all
sslcrtd_program {root}/usr/lib/squid/security_file_certgen -s {folder}/certificates -M 4MB
tls_outgoing_options cafile={bundle}
sslproxy_session_cache_size 0
auth_param basic program {folder}/authorise
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
logformat plain %un %rm %ru %>Hs
access_log stdio:{folder}/access.log plain
cache_log {folder}/cache.log
cache deny all
cache_effective_user nobody
pid_filename none
mime_table {root}/usr/share/squid/mime.conf
icon_directory {root}/usr/share/squid/icons
error_directory {root}/usr/share/squid-langpack/en
pinger_enable off
unlinkd_program {root}/usr/lib/squid/unlinkd
shutdown_lifetime 0 seconds
visible_hostname {name}
coredump_dir {folder}
{parent}"""  # noqa: E501

NGINX = """\
daemon off;
worker_processes 1;
user nobody nogroup;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    log_format plain "$request_method $request_uri $status";
    access_log {folder}/mirror.log plain;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    proxy_ssl_server_name on; proxy_ssl_trusted_certificate {bundle}; proxy_ssl_verify on; proxy_ssl_verify_depth 5;
    proxy_http_version 1.1; proxy_max_temp_file_size 0; proxy_set_header Accept-Encoding "";
    server {{
        listen {here}:{port};
        root {folder}/altered;  # what is there is handed out instead
        location /our-debian/ {{ try_files $uri @debian; }}
        location @debian {{ rewrite ^/our-debian(/.*)$ {debian_path}$1 break; proxy_pass {debian_server}; }}
        location /our-files/ {{ try_files $uri @files; }}
        location @files {{ rewrite ^/our-files(/.*)$ $1 break; proxy_pass https://{files}; }}
        location /our-simple/ {{
            proxy_pass {simple}/;
            sub_filter https://{files}/ http://{here}:{port}/our-files/;
            sub_filter_once off; sub_filter_types *;
        }}
    }}
}}
"""  # noqa: E501


@dataclass(frozen=True)
class World:
    """Where its programs and files are, and the host's own mirrors, which it stands in for."""

    folder: Path
    root: Path

    @property
    def authority(self) -> str:
        """The certificate of the CA, as text."""
        return (self.folder / "authority.pem").read_text()

    @property
    def bundle(self) -> Path:
        """What a person on such a network has: the usual authorities and the private one."""
        return self.folder / "bundle.pem"

    @property
    def proxy(self) -> str:
        return f"http://{USER}:{PASSWORD}@{HERE}:{PROXY_PORT}"

    @property
    def mirror(self) -> str:
        return f"http://{HERE}:{MIRROR_PORT}"

    def log(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []


def environment(**settings: str) -> dict[str, str]:
    """Our environment without its own settings for the network, with those."""
    return {name: value for name, value in os.environ.items() if name not in SETTINGS} | settings


@contextmanager
def namespace() -> Iterator[None]:
    """A network namespace that reaches one address of the host and nothing else."""
    remove_namespace()
    inside = ["ip", "-n", NAMESPACE]
    try:
        run.run(["ip", "netns", "add", NAMESPACE])
        run.run(["ip", "link", "add", LINKS[0], "type", "veth", "peer", "name", LINKS[1], "netns", NAMESPACE])
        run.run(["ip", "address", "add", f"{HERE}/30", "dev", LINKS[0]])
        run.run([*inside, "address", "add", f"{THERE}/30", "dev", LINKS[1]])
        for words in (
            ["ip", "link", "set", LINKS[0], "up"],
            [*inside, "link", "set", LINKS[1], "up"],
            [*inside, "link", "set", "lo", "up"],
        ):
            run.run(words)
        yield
    finally:
        remove_namespace()


def remove_namespace() -> None:
    run.run(["ip", "netns", "delete", NAMESPACE], check=False)
    run.run(["ip", "link", "delete", LINKS[0]], check=False)


@contextmanager
def programs() -> Iterator[World]:
    """Squid and nginx unpacked, and a CA made, in a directory that their unprivileged user can read."""
    remove_programs()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        folder.chmod(0o755)
        with waited("proxy and mirror, from their packages", within=300):
            unpack(folder)
            make_authority(folder)
        shutil.chown(folder, "nobody")
        yield World(folder, folder / "root")
    finally:
        shutil.rmtree(folder)


def remove_programs() -> None:
    """Those of a run that was killed: they would go on listening where ours are to."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "exe").readlink().is_relative_to(folder):
                    os.kill(int(process.name), signal.SIGKILL)
        shutil.rmtree(folder)


def unpack(folder: Path) -> None:
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    fetch = [
        "apt-get",
        "install",
        "--download-only",
        "--reinstall",
        "--yes",
        "-qq",
        "--no-install-recommends",
        "-o",
        f"Dir::Cache::archives={archives}",
        "-o",
        "Debug::NoLocking=true",
        *PACKAGES,
    ]
    if run.run(fetch, check=False).code != 0:
        run.run(["apt-get", "update", "-qq"])
        run.run(fetch)
    for package in archives.glob("*.deb"):
        if not package.name.startswith(("perl", "libperl")):  # for programs around Squid that are not used
            run.run(["dpkg-deb", "-x", str(package), str(folder / "root")])
    shutil.rmtree(archives)


def make_authority(folder: Path) -> None:
    """ca.pem: key and certificate, for Squid; authority.pem: the certificate; bundle.pem: it, and what this
    machine trusts."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, CA_NAME)]),
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, *plain).decode()
    trusted = host.ca_bundle()
    (folder / "authority.pem").write_text(text)
    (folder / "ca.pem").write_text(secret + text)
    (folder / "bundle.pem").write_text((trusted.read_text() if trusted else "") + text)


@contextmanager
def proxy(world: World) -> Iterator[None]:
    """Squid, which asks for a password and opens TLS with certificates of the private CA."""
    authorise = world.folder / "authorise"
    authorise.write_text(
        f'#!/bin/sh\nwhile read -r line; do [ "$line" = "{USER} {PASSWORD}" ] && echo OK || echo ERR; done\n'
    )
    authorise.chmod(0o755)
    libraries = libraries_of(world)
    certificates = [
        str(world.root / "usr/lib/squid/security_file_certgen"),
        "-c",
        "-s",
        str(world.folder / "certificates"),
        "-M",
        "4MB",
    ]
    shutil.rmtree(world.folder / "certificates", ignore_errors=True)  # of a proxy before this one
    run.run(certificates, env=libraries)
    shutil.chown(world.folder / "ca.pem", "nobody")
    for file in [world.folder / "certificates", *(world.folder / "certificates").rglob("*")]:
        shutil.chown(file, "nobody")
    parent = os.environ.get("http_proxy") or os.environ.get("HTTP_PROXY")
    text = SQUID.format(
        here=HERE,
        port=PROXY_PORT,
        folder=world.folder,
        root=world.root,
        bundle=world.bundle,
        name="proxy.private.example",
        parent=chain(parent) if parent else "",
    )
    (world.folder / "squid.conf").write_text(text)
    argv = [program(world, "squid"), "-N", "-f", str(world.folder / "squid.conf")]
    with started(argv, libraries, HERE, PROXY_PORT, world.folder / "cache.log"):
        yield


def chain(parent: str) -> str:
    """This machine reaches the outside by a proxy itself."""
    at = urlsplit(parent)
    login = f" login={at.username}:{at.password}" if at.username else ""
    return (
        f"cache_peer {at.hostname} parent {at.port or 3128} 0 no-query default{login}\nnever_direct allow"
        " all\n"
    )


@contextmanager
def mirror(world: World) -> Iterator[None]:
    """nginx, which hands on the Debian archive and a Python index under names of its own."""
    debian = urlsplit(debian_mirror().rstrip("/"))
    text = NGINX.format(
        folder=world.folder,
        bundle=world.bundle,
        here=HERE,
        port=MIRROR_PORT,
        debian_server=f"{debian.scheme}://{debian.netloc}",
        debian_path=debian.path,
        simple=host.pip_config().get("index-url", PyPI.simple_url).rstrip("/"),
        files=PyPI.file_storage_domain,
    )
    (world.folder / "nginx.conf").write_text(text)
    argv = [
        program(world, "nginx"),
        "-c",
        str(world.folder / "nginx.conf"),
        "-e",
        str(world.folder / "nginx.log"),
    ]
    with started(argv, libraries_of(world), HERE, MIRROR_PORT, world.folder / "nginx.log"):
        yield


def debian_mirror() -> str:
    found = host.apt_mirrors()
    if not found:
        pytest.skip("this machine's apt names no Debian mirror; OSBOX_MIRROR does")
    return found[0]


def alter(world: World, path: str) -> None:
    """Let the mirror hand out another file of this name: a wheel with a module more, anything else with one
    byte changed."""
    file = world.folder / "altered" / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    run.run(["curl", "--silent", "--show-error", "--fail", "--output", str(file), f"{world.mirror}{path}"])
    if file.suffix == ".whl":
        with zipfile.ZipFile(file, "a") as wheel:
            wheel.writestr("added_on_the_way.py", "")
        return
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@contextmanager
def silence() -> Iterator[str]:
    """An address where connections are taken and nothing is ever answered."""
    with socket.create_server((HERE, SILENT_PORT), backlog=100):
        yield f"http://{HERE}:{SILENT_PORT}"


def program(world: World, name: str) -> str:
    return str(world.root / "usr/sbin" / name)


def libraries_of(world: World) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": ":".join(str(path) for path in world.root.glob("usr/lib/*-linux-*"))}


@contextmanager
def started(argv: list[str], env: Mapping[str, str], address: str, port: int, log: Path) -> Iterator[None]:
    """A server for the time of the block; it is waited for until it listens."""
    with run.spawn(argv, env=env) as process:
        deadline = time.monotonic() + 20
        while not listens(address, port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{argv[0]} does not listen: {log.read_text()[-2000:] if log.exists() else ''}")
            time.sleep(0.1)
        yield


def listens(address: str, port: int) -> bool:
    wanted = f"{int.from_bytes(bytes(map(int, address.split('.'))), 'little'):08X}:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1] == wanted and row[3] == "0A" for row in rows)
