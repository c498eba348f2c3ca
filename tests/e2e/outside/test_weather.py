"""Bad weather while images are built: one clear message, no half image, and the same command goes on when it
has cleared up."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from osbox import run
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.e2e.conftest import Tool
from tests.e2e.outside import world
from tests.e2e.outside.conftest import SIZE, Outpost
from tests.e2e.outside.world import HERE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
DEFAULT_SIGNALS = (
    "setsid",
    "env",
    "--default-signal=INT,TERM",
)  # in a group of its own, and not deaf where pytest was started with &
STEP = "apt-install /tmp/packages.txt"


@pytest.fixture(scope="module")
def mirror(outpost: Outpost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The private mirrors, and patience for two seconds."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / "apt.conf").write_text('Acquire::http::Timeout "2";\nAcquire::Retries "0";\n')
    (folder / "pip.conf").write_text(f"[global]\ntimeout = 2\ntrusted-host = {HERE}\n")
    with world.proxy(outpost.world):
        outpost.settings = {"http_proxy": outpost.world.proxy}
        with waited("engine behind the proxy", within=600):
            outpost.osbox("engine", "start")  # there already, unless these tests run alone
    with world.mirror(outpost.world):
        outpost.settings = {
            "OSBOX_MIRROR": f"{outpost.world.mirror}/our-debian",
            "PIP_INDEX_URL": f"{outpost.world.mirror}/our-simple/",
            "APT_CONFIG": str(folder / "apt.conf"),
            "PIP_CONFIG_FILE": str(folder / "pip.conf"),
        }
        yield outpost.world.mirror


def tags(outpost: Outpost, version: str) -> set[str]:
    return set(
        outpost.docker("images", "--filter", f"reference=*:{version}", "--format", "{{.Repository}}").split()
    )


def builds(outpost: Outpost) -> list[int]:
    """Processes that build something for this state directory."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes()
        except OSError:
            continue
        if b"buildx" in words and str(outpost.home).encode() in words:
            found.append(int(file.parent.name))
    return found


def until(what: str, condition: object, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def step_runs(outpost: Outpost, image: str) -> bool:
    """Whether the build of an image is at an installation of packages."""
    file = outpost.home / f"logs/build/{image}.log"
    found = (
        re.search(rf"^#(\d+) \[\S+ \d+/\d+\] RUN .*{STEP}$", file.read_text(), re.MULTILINE)
        if file.exists()
        else None
    )
    return bool(found) and f"#{found[1]} DONE" not in file.read_text()  # type: ignore[index]


def shrunk(place: Path) -> bool:
    """Take all but a megabyte or two of the free space from a tmpfs; False if something was written
    meanwhile."""
    usage = shutil.disk_usage(place)
    return (
        run.run(["mount", "-o", f"remount,size={(usage.used >> 20) + 2}m", str(place)], check=False).code == 0
    )


@pytest.mark.full
def test_two_builds_at_once(outpost: Outpost, mirror: str) -> None:
    """The second waits, says so, and finds everything made."""
    outpost.forget()
    argv = outpost.argv(Tool.program, "build", "memcached")
    with run.spawn(argv, stdout=-1, stderr=-2) as one, run.spawn(argv, stdout=-1, stderr=-2) as two:
        said = [process.communicate(timeout=300)[0] for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], said
    assert ["Another build is running here (process " in text for text in said].count(True) == 1, said
    assert all("🔨  os-memcached:latest - Done" in text for text in said)


@pytest.mark.full
def test_a_mirror_that_never_answers_is_named(outpost: Outpost, mirror: str) -> None:
    good = outpost.settings
    with world.silence() as silent:
        outpost.settings = {**good, "OSBOX_MIRROR": f"{silent}/debian"}
        said = outpost.osbox("build", "--version", "silent", "--no-cache", "memcached", code=1)
    outpost.settings = good
    assert (
        f"Error: Debian packages could not be fetched from {silent}: it did not answer; 2 of 2 images failed"
        in said
    )
    assert "try 3 of 3" in said
    assert tags(outpost, "silent") == set()


@pytest.mark.full
def test_an_index_that_never_answers_is_named(outpost: Outpost, mirror: str) -> None:
    good = outpost.settings
    with world.silence() as silent:
        outpost.settings = {**good, "PIP_INDEX_URL": f"{silent}/simple/"}
        said = outpost.osbox("build", "placement", code=1)
    outpost.settings = good
    assert (
        f"Python packages could not be fetched from {silent.removeprefix('http://')}: it did not answer"
        in said
    )
    assert "try 3 of 3" in said
    assert tags(outpost, "latest") & {"os-openstack", "os-placement"} == set()


@pytest.mark.full
def test_a_wheel_of_another_hash(outpost: Outpost, mirror: str) -> None:
    """The lock's hash is the authority, whatever the index says."""
    version = re.search(
        r"^iso8601==(\S+)", (PROJECT / "releases/2026.1/common.lock").read_text(), re.MULTILINE
    )
    assert version
    page = run.run(["curl", "--silent", "--fail", f"{mirror}/our-simple/iso8601/"]).out
    found = re.search(rf'href="{mirror}(/our-files/[^"#]+/iso8601-{re.escape(version[1])}-[^"#]+\.whl)', page)
    assert found
    world.alter(outpost.world, found[1])
    said = outpost.osbox("build", "placement", code=1)
    assert f"Error: iso8601=={version[1]} is not what the lock says: its hash is another" in said
    assert "try 2" not in said
    assert tags(outpost, "latest") & {"os-openstack", "os-placement"} == set()
    (outpost.world.folder / "altered" / found[1].lstrip("/")).unlink()


@pytest.mark.full
def test_a_package_of_another_hash(outpost: Outpost, mirror: str) -> None:
    """Debian's signed lists are the authority. When the mirror is whole again, the same command goes on."""
    outpost.osbox("build", "memcached")  # there already, unless this test runs alone
    paths = re.findall(
        r"GET (/our-debian/\S*/memcached_\S+\.deb) 200", "\n".join(outpost.world.log("mirror.log"))
    )
    world.alter(outpost.world, paths[-1])
    outpost.forget()
    said = outpost.osbox("build", "memcached", code=1)
    assert (
        f"Error: Debian packages could not be fetched from {mirror.rstrip('/')}: what it has is not what its"
        " list says; 1 of 2" in said
    )
    assert tags(outpost, "latest") == {"os-base-image"}
    (outpost.world.folder / "altered" / paths[-1].lstrip("/")).unlink()
    assert "🔨  os-memcached:latest - Done" in outpost.osbox("build", "memcached")


def test_a_disk_that_fills_up_in_the_middle(outpost: Outpost, mirror: str) -> None:
    build = ["build", "--version", "full", "--no-cache", "memcached"]
    with run.spawn(outpost.argv(Tool.program, *build), stdout=-1, stderr=-2) as process:
        until("the installation", lambda: step_runs(outpost, "os-base-image"))
        until("no space", lambda: shrunk(outpost.home), 10)
        said = process.communicate(timeout=300)[0]
    try:
        assert process.returncode == 1, said
        assert "the disk is full" in said
        assert "Traceback" not in said
        assert tags(outpost, "full") == set()
    finally:
        run.run(["mount", "-o", f"remount,size={SIZE}", str(outpost.home)])
    assert "🔨  os-memcached:full - Done" in outpost.osbox(*build)


def test_a_build_that_is_ended_goes_on(outpost: Outpost, mirror: str) -> None:
    """By Ctrl-C, which goes to the whole group of processes; and by SIGKILL, which nothing can catch."""
    build = ["build", "--version", "ended", "--no-cache", "memcached"]
    for number in (signal.SIGINT, signal.SIGKILL):
        (outpost.home / "logs/build/os-base-image.log").unlink(missing_ok=True)
        with run.spawn(
            [*DEFAULT_SIGNALS, *outpost.argv(Tool.program, *build)], stdout=-1, stderr=-2
        ) as process:
            until("the installation", lambda: step_runs(outpost, "os-base-image"))
            assert builds(outpost)
            os.killpg(process.pid, number) if number == signal.SIGINT else os.kill(process.pid, number)
            said = process.communicate(timeout=60)[0]
        assert (process.returncode, "Interrupted; run the same command again" in said) == (
            (130, True) if number == signal.SIGINT else (-signal.SIGKILL, False)
        )
        until("the end of all builds", lambda: not builds(outpost), 10)
        assert tags(outpost, "ended") == set()
    assert "🔨  os-memcached:ended - Done" in outpost.osbox(*build)


@pytest.mark.full
def test_a_tag_of_other_content_is_replaced_only_when_asked(outpost: Outpost, mirror: str) -> None:
    for version in ("1.0", "latest"):
        outpost.docker("tag", "os-base-image:latest", f"os-memcached:{version}")
    said = outpost.osbox("build", "--version", "1.0", "memcached", code=2)
    assert "Error: these images are there already and were made of something else: os-memcached:1.0\n" in said
    assert "osbox build --replace --version 1.0" in said
    assert identity(outpost, "os-memcached:1.0") == identity(outpost, "os-base-image:latest")
    outpost.osbox("build", "--replace", "--version", "1.0", "memcached")
    assert identity(outpost, "os-memcached:1.0") != identity(outpost, "os-base-image:latest")
    outpost.osbox("build", "--version", "1.0", "memcached")
    outpost.osbox("build", "memcached")
    assert identity(outpost, "os-memcached:latest") != identity(outpost, "os-base-image:latest")


def identity(outpost: Outpost, tag: str) -> str:
    return outpost.docker("image", "inspect", "--format", "{{.Id}}", tag).strip()
