"""Images are built behind a proxy that asks for a password and opens TLS, and from private mirrors; of
neither anything is left inside.

The namespace has no route but to the proxy or the mirror, and no name server: what is built there came
through them.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from osbox import run
from osbox.site import recipes
from osbox.site import sources as host
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.e2e.outside import world
from tests.e2e.outside.conftest import Outpost
from tests.e2e.outside.world import HERE, LINKS, PASSWORD, USER

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
IMAGES = ("memcached", "keystone")  # Debian's packages; Python's too


@pytest.fixture(scope="module")
def proxy(outpost: Outpost) -> Iterator[None]:
    with world.proxy(outpost.world):
        yield


@pytest.fixture(scope="module")
def mirror(outpost: Outpost) -> Iterator[None]:
    with world.mirror(outpost.world):
        yield


@pytest.fixture
def by_files(outpost: Outpost, tmp_path: Path) -> dict[str, str]:
    """The proxy and the authority in the files of apt and pip; in the environment, where those files are."""
    (tmp_path / "apt.conf").write_text(
        f'Acquire::http::Proxy "{outpost.world.proxy}";\nAcquire::https::Proxy "{outpost.world.proxy}";\n'
    )
    (tmp_path / "pip.conf").write_text(
        f"[global]\nproxy = {outpost.world.proxy}\ncert = {outpost.world.bundle}\n"
    )
    return {"APT_CONFIG": str(tmp_path / "apt.conf"), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}


def traces(outpost: Outpost) -> dict[str, bytes]:
    """What must not be found in an image."""
    return {
        "the address of proxy and mirror": HERE.encode(),
        "the proxy's password": PASSWORD.encode(),
        "the proxy's user": f"{USER}:".encode(),
        "the name of the authority": world.CA_NAME.encode(),
        "its certificate": outpost.world.authority.splitlines()[3].encode(),
        "the mirror's Debian": b"our-debian",
        "the mirror's index": b"our-simple",
    }


def found_in_images(outpost: Outpost, *tags: str) -> set[str]:
    """Which traces are anywhere in what `docker save` writes of images (all): every byte of every layer,
    histories, configurations."""
    tags = tags or tuple(
        outpost.docker("images", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}").split()
    )
    file = outpost.home / "images.tar"
    outpost.docker("save", "--output", str(file), *tags)
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as bytes_of:
            assert bytes_of.find(b"stack:x:42400:42400") > 0, "layers are packed: nothing can be seen"
            return {name for name, needle in traces(outpost).items() if bytes_of.find(needle) >= 0}
    finally:
        file.unlink()


def words_of_others(outpost: Outpost) -> str:
    """All that was written beside the images: logs of builds and of the engine."""
    files = [*(outpost.home / "logs").rglob("*.log"), outpost.home / "engine/dockerd.log"]
    return "".join(file.read_text(errors="replace") for file in files)


def secure(url: str) -> str:
    """The same mirror by TLS, if it answers so: the private authority then decides about Debian's packages
    too."""
    tried = re.sub("^http:", "https:", url)
    known = run.run(
        ["curl", "--silent", "--head", "--fail", "--max-time", "10", f"{tried}/dists/{host.SUITE}/InRelease"],
        check=False,
    )
    return tried if known.code == 0 else url


def test_there_is_no_other_way(outpost: Outpost) -> None:
    assert outpost.inside("ip", "-brief", "route").out.split()[2] == LINKS[1]
    assert len(outpost.inside("ip", "route").out.splitlines()) == 1


def test_the_engine_is_made_through_the_proxy(
    outpost: Outpost, proxy: None, by_files: dict[str, str]
) -> None:
    outpost.settings = by_files
    outpost.osbox("engine", "start")
    assert any(re.search(r"/docker\.io_.*\.deb 200", line) for line in outpost.world.log("access.log"))


def test_behind_a_proxy_with_its_own_authority(outpost: Outpost, proxy: None) -> None:
    """The Debian base and packages of both kinds, by the environment's settings."""
    outpost.settings = {
        "http_proxy": outpost.world.proxy,
        "HTTPS_PROXY": outpost.world.proxy,
        "SSL_CERT_FILE": str(outpost.world.bundle),
        "OSBOX_MIRROR": secure(world.debian_mirror()),
    }
    said = outpost.osbox("build", *IMAGES)
    assert "🔨  os-keystone:latest - Done" in said
    fetched = [line for line in outpost.world.log("access.log") if line.startswith(f"{USER} GET")]
    for what in (
        r"/libc6_.*\.deb 200",
        r"/memcached_.*\.deb 200",
        r"https://.*/keystone-.*\.whl(\.metadata)? 200",
        "/uv-.*whl 200",
    ):
        assert any(re.search(what, line) for line in fetched), what
    assert PASSWORD not in said + words_of_others(outpost)


def test_nothing_of_the_proxy_is_left(outpost: Outpost) -> None:
    assert found_in_images(outpost) == set()


def test_what_is_left_would_be_found(outpost: Outpost, proxy: None) -> None:
    """A recipe that writes down its proxy and its CA."""
    recipe = (
        "FROM os-memcached:latest\nUSER root\nRUN --mount=type=secret,id=ca echo $http_proxy >/leak; cat"
        " /run/secrets/ca >>/leak\n"
    )
    (outpost.home / "leaking").mkdir()
    (outpost.home / "leaking/Dockerfile").write_text(recipe)
    secret = f"id=ca,src={outpost.home}/build-secrets/ca"
    outpost.docker(
        "build",
        "--quiet",
        "--build-arg",
        "http_proxy",
        "--secret",
        secret,
        "-t",
        "leaking",
        str(outpost.home / "leaking"),
    )
    found = found_in_images(outpost, "leaking")
    outpost.docker("image", "rm", "leaking")
    assert found == {
        "the address of proxy and mirror",
        "the proxy's password",
        "the proxy's user",
        "its certificate",
    }


def python_packages(outpost: Outpost) -> None:
    """What installs Python packages in builds, with what it reads from the host's settings, on one small
    package: pip fetches uv, uv the package."""
    secrets = [f"--secret=id={file.name},src={file}" for file in (outpost.home / "build-secrets").iterdir()]
    folder = outpost.home / "python-packages"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(
        "FROM os-builder:small\n"
        "RUN --mount=type=secret,id=uv --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache \\\n"
        " /opt/uv/bin/uv-run pip install --target /opt/x iso8601\n"
    )
    project = recipes.frozen(Paths(PROJECT, outpost.home)).project  # where the engine sees it
    lines = (
        [
            "--target=os-builder",
            "--build-arg=DEBIAN=osbox-debian:trixie",
            f"--file={project}/images/base/Dockerfile",
            "--tag=os-builder:small",
            str(project),
        ],
        ["--tag=python-packages", str(folder)],
    )
    for words in lines:
        outpost.docker("build", "--network=host", "--quiet", *secrets, *words)


@pytest.mark.full
def test_settings_of_apt_and_pip_do_as_well(outpost: Outpost, proxy: None, by_files: dict[str, str]) -> None:
    """No variable names the proxy: apt.conf and pip.conf do, as people have them."""
    outpost.forget()
    outpost.settings, seen = by_files, len(outpost.world.log("access.log"))
    outpost.osbox("build", "memcached")
    python_packages(outpost)
    fetched = "\n".join(outpost.world.log("access.log")[seen:])
    for what in (r"/memcached_.*\.deb 200", r"/uv-.*whl 200", r"/iso8601-.*\.whl 200"):
        assert re.search(what, fetched), what
    assert found_in_images(outpost) == set()


@pytest.mark.full
def test_from_private_mirrors(outpost: Outpost, mirror: None, tmp_path: Path) -> None:
    outpost.forget()
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = {outpost.world.mirror}/our-simple/\ntrusted-host = {HERE}\n"
    )
    outpost.settings = {
        "OSBOX_MIRROR": f"{outpost.world.mirror}/our-debian",
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
    }
    outpost.osbox("build", "memcached")
    python_packages(outpost)
    fetched = "\n".join(outpost.world.log("mirror.log"))
    for what in (
        r"/our-debian/.*/memcached_.*\.deb 200",
        r"/our-files/.*/uv-.*whl 200",
        r"/our-files/.*/iso8601-.*\.whl 200",
    ):
        assert re.search(what, fetched), what
    assert found_in_images(outpost) == set()
