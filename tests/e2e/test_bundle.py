"""A bundle goes from the state directory of the checks to an empty machine: a network namespace without a way
out, a home of its own.

The machine has what Debian has at its smallest: the checkout, the tool and all the rest come from the file.
"""

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from osbox import run
from osbox.engine import processes as leftovers
from osbox.errors import Error, UserError
from osbox.site.site import Paths, Site
from osbox.supply import manifest as bundle
from osbox.supply import unbundle
from tests import lanes, namespaces, samples
from tests.deadlines import waited
from tests.e2e.conftest import Tool, remove
from tests.home import HOME, prepare

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces, bridges and an engine: run as root"),
]
PLANTED = secrets.token_hex(16)
"""Stands in all places of the creating site that hold secrets."""
REACH = "import socket; socket.create_connection(('{}', 443), 5)"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for the file and for the other machine; on the disk of the checks, which has the room."""
    directory = HOME.with_name(HOME.name + "-bundle")
    leftovers.end(Paths(directory / "osbox", directory / "home"))  # of a run that was killed
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


PLACES = (
    "secrets/planted",
    "build-secrets/planted",
    "ledger.planted",
    "id_ed25519.planted",
    "engine/root/root/.docker/planted",
    "engine/root/etc/docker/planted",
    "engine/root/tmp/planted",
    "artifacts/planted",
)


@pytest.fixture(scope="module")
def file(supplies: Tool, place: Path) -> Path:
    osbox = supplies  # before the lane leaves the host: what comes after this file needs them, too
    osbox("engine", "start")
    for name in PLACES:
        (HOME / name).parent.mkdir(parents=True, exist_ok=True)
        (HOME / name).write_text(PLANTED)
    begin = time.monotonic()
    try:
        with waited("bundle", within=1800):
            text = osbox("bundle", "create", str(place / "osbox.tar"), timeout=1800)
    finally:
        for name in PLACES:
            (HOME / name).unlink()
        # The other tests find their engine stopped, as they would without this one.
        remove(osbox)
        prepare()
        lanes.leave_the_host()  # the other machine is in a namespace of its own
    print(f"create: {time.monotonic() - begin:.1f} s, {(place / 'osbox.tar').stat().st_size / 1e6:.0f} MB")
    assert hashlib.sha256((place / "osbox.tar").read_bytes()).hexdigest() in text
    return place / "osbox.tar"


@pytest.fixture(scope="module")
def cut() -> Iterator[None]:
    """A network namespace with nothing but lo, for all that is started from here."""
    with namespaces.alone():
        yield


class Machine:
    """The other machine: a directory with a home, and a checkout when it was loaded."""

    def __init__(self, place: Path) -> None:
        self.checkout, self.home = place / "osbox", place / "home"
        keep = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "UV_", "OSBOX_", "VIRTUAL_ENV", "PYTHON"))
        }
        self.environment = keep | {"OSBOX_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "200"}

    def __call__(
        self, *words: str, code: int | None = 0, timeout: float = 600, cwd: Path | None = None
    ) -> str:
        """What the command printed; fails the test when its exit code is another one than `code`."""
        argv = ["env", "-i", *(f"{name}={value}" for name, value in self.environment.items()), *words]
        result = run.run(argv, check=False, timeout=timeout, cwd=cwd)
        print(f"$ {' '.join(words)}\n{result.out}{result.err}")
        assert code in (None, result.code), (
            f"{words}: exit code {result.code}\n{result.out[-3000:]}\n{result.err[-3000:]}"
        )
        return result.out + result.err

    def osbox(self, *words: str, code: int | None = 0, timeout: float = 600) -> str:
        return self(str(self.checkout / ".venv/bin/osbox"), *words, code=code, timeout=timeout)


@pytest.fixture(scope="module")
def machine(place: Path, file: Path, cut: None) -> Iterator[Machine]:
    found = Machine(place)
    yield found
    if (found.checkout / ".venv/bin/osbox").exists():
        found.osbox("down", "--purge")


# --- the file
# --------------------------------------------------------------------------------


def test_plain_tools_check_it(file: Path, tmp_path: Path) -> None:
    names = [name.removeprefix("osbox-bundle/") for name in run.run(["tar", "-tf", str(file)]).out.split()]
    order = [*names[:4], *sorted(names[4:-4]), *names[-4:]]
    assert names == order
    assert names[:4] == ["load", "SHA256SUMS", "manifest.json", "checkout.tar"]
    assert [name.split("-")[0] for name in names[-4:]] == [
        "engine.tar.zst",
        "artifacts/guest",
        "artifacts/ramdisk",
        "images.tar.zst",
    ]
    run.run(["tar", "-C", str(tmp_path), "-xf", str(file)])
    run.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / "osbox-bundle")


def test_no_secret_is_in_it(file: Path, tmp_path: Path) -> None:
    """Neither what was planted, nor the site's settings, nor the name of the machine."""
    with unbundle.checked(file) as opened:
        members = {member.name for member in opened.manifest.members}
        parts = {"checkout.tar", "provenance", "wheels", "engine.tar.zst", "artifacts", "images.tar.zst"}
        assert {name.partition("/")[0] for name in members} == parts
        for name in (
            "engine.tar.zst",
            "checkout.tar",
            *(member.name for member in opened.manifest.artifacts()),
        ):
            with tarfile.open(fileobj=plain(opened, name, tmp_path)) as tar:
                listed = tar.getnames()
                texts = [
                    tar.extractfile(info)
                    for info in tar.getmembers()
                    if info.isfile() and info.size < 1 << 20
                ]
                assert not any(PLANTED.encode() in text.read() for text in texts if text), name
            wrong = [
                item
                for item in listed
                if item.endswith(
                    ("site.toml", "ledger.json", "etc/hostname", "etc/resolv.conf", "config.json")
                )
            ]
            assert wrong == []
            assert [item for item in listed if item.startswith(("./root/", "./tmp/", f".{HOME}"))] == []


def plain(opened: unbundle.Bundle, name: str, scratch: Path):  # type: ignore[no-untyped-def]
    """A member, decompressed where it is compressed."""
    import zstandard  # noqa: PLC0415

    target = scratch / "member"
    with opened.read(opened.manifest.member(name)) as source, target.open("wb") as sink:
        if name.endswith(".zst"):
            zstandard.ZstdDecompressor().copy_stream(source, sink)
        else:
            shutil.copyfileobj(source, sink)
    return target.open("rb")


def test_damaged_and_foreign_files_are_refused(file: Path, tmp_path: Path) -> None:
    here, site = Paths(tmp_path / "checkout", tmp_path / "home"), Site()
    with unbundle.checked(file) as opened:
        at = opened.tar.getmember("osbox-bundle/images.tar.zst").offset_data + 1000
        early = opened.tar.getmember("osbox-bundle/manifest.json").offset_data + 100
    wrong = tmp_path / "wrong.tar"
    shutil.copy(file, wrong)
    for offset, name in ((at, "images.tar.zst"), (early, "manifest.json")):
        flip(wrong, offset)
        with pytest.raises(Error, match=f"is damaged: {name} is not what it was"):
            unbundle.load(here, site, wrong)
        flip(wrong, offset)
    os.truncate(wrong, wrong.stat().st_size - (1 << 20))
    with pytest.raises(Error, match="is damaged"):
        unbundle.load(here, site, wrong)
    os.truncate(wrong, 3000)
    with pytest.raises(Error, match="is damaged"):
        unbundle.load(here, site, wrong)
    for content in (b"", b"x" * 20000, b"\x1f\x8b" + b"x" * 1000):
        wrong.write_bytes(content)
        with pytest.raises(UserError, match="is no osbox bundle"):
            unbundle.load(here, site, wrong)
    with tarfile.open(wrong, "w") as tar:
        tar.add(__file__, "osbox-bundle/other")
    with pytest.raises(UserError, match="is no osbox bundle"):
        unbundle.load(here, site, wrong)
    assert not here.home.exists(), "nothing was changed"


def flip(file: Path, offset: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        old = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([old ^ 1]))


def test_another_machine_and_a_small_disk_are_told(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    run.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(disk)])
    try:
        with pytest.raises(Error, match=r"only \d+ MiB free under .*: loading this bundle needs \d+ MiB"):
            unbundle.load(Paths(tmp_path, disk / "home"), Site(), file)
        assert list(disk.iterdir()) == []
    finally:
        run.run(["umount", str(disk)])
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(UserError, match="is for x86_64, this machine is riscv64"):
        unbundle.load(Paths(tmp_path, tmp_path / "home"), Site(), file)


# --- the other machine
# --------------------------------------------------------------------------------


def test_there_is_no_network(machine: Machine) -> None:
    assert [link["ifname"] for link in json.loads(run.run(["ip", "-json", "link"]).out)] == ["lo"]
    assert run.run(["ip", "route"]).out == ""
    with pytest.raises(OSError, match="Network is unreachable"):
        socket.create_connection(("192.0.2.1", 443), 5)
    assert "Network is unreachable" in machine("python3", "-c", REACH.format("192.0.2.1"), code=1)


def test_load_killed_and_loaded(machine: Machine, file: Path) -> None:
    """The documented lines, killed twice on the way: in the middle of the engine and of the images."""
    machine("tar", "-C", str(machine.home.parent), "-xf", str(file), "osbox-bundle/load")
    script = machine.home.parent / "osbox-bundle/load"
    line = [str(script), str(file), str(machine.checkout)]
    for after in ("Check ", "Unpack the private engine", "Start the private engine"):
        killed_after(machine, after, line)
    begin = time.monotonic()
    text = machine(*line, timeout=900)
    print(f"load, the rest of it: {time.monotonic() - begin:.1f} s")
    manifest = bundle.parse((machine.checkout / ".from-bundle").read_bytes())
    # A quick machine was done before the last kill.
    assert "Nothing to load" in text or all(tag in text for tag in manifest.images)
    assert "Nothing to load" in machine(*line)
    assert not (machine.checkout / ".unpacked").exists()
    other = machine.home.parent / "used"
    other.mkdir()
    (other / "file").touch()
    assert "has other files in it" in machine(str(script), str(file), str(other), code=2)


def killed_after(machine: Machine, line: str, argv: list[str]) -> None:
    """Start a command and kill it with all that it started in the foreground, a moment after it prints a line
    with this text."""
    words = ["env", "-i", *(f"{name}={value}" for name, value in machine.environment.items()), *argv]
    with run.spawn(words, stdout=-1, stderr=-2) as process:
        assert process.stdout is not None
        for text in process.stdout:
            print(text, end="")
            if line in text:
                time.sleep(1)
                for pid in session(process.pid):
                    with suppress(ProcessLookupError):  # it may have ended by itself
                        os.kill(pid, signal.SIGKILL)
                process.wait()
                return


def session(top: int) -> list[int]:
    """The processes below one and itself left out."""
    found = []
    for child in run.run(["ps", "--no-headers", "-o", "pid", "--ppid", str(top)], check=False).out.split():
        found += [int(child), *session(int(child))]
    return found


def test_everything_is_found_without_a_network(machine: Machine) -> None:
    begin = time.monotonic()
    text = machine.osbox("build")
    assert "Done" in text
    assert "Failed" not in text
    assert time.monotonic() - begin < 30, "nothing was built"
    machine("make", "setup", cwd=machine.checkout)  # finds that it was done


@samples.scene("a cloud without a network")
@pytest.mark.timeout(2700)
def test_cloud_without_a_network(machine: Machine) -> None:
    """Comes up and has what nodes and servers boot: nothing was fetched, nothing was built."""
    machine.osbox("up", timeout=600)
    begin = time.monotonic()
    assert "image debian-13" in machine.osbox("setup")
    assert time.monotonic() - begin < 60, "ramdisk and image came with the bundle"


@pytest.mark.full
def test_demo_without_a_network(machine: Machine) -> None:
    """A machine that is busy otherwise lets a request time out; the same command again goes on."""
    for code in (None, None, 0):
        text = machine.osbox("demo", code=code, timeout=2400)
        if "timed out" not in text:
            break
    assert "bm-node-1 login:" in text
    assert "ACTIVE" in text


def test_bundle_of_the_loaded_machine(machine: Machine, file: Path, place: Path) -> None:
    """What was loaded can be handed on, again without a network, and is the same."""
    machine.osbox("bundle", "create", str(place / "again.tar"), timeout=900)
    with unbundle.checked(file) as first, unbundle.checked(place / "again.tar") as second:
        one, two = first.manifest, second.manifest
    assert (one.images, one.files, one.revision, one.wheels()) == (
        two.images,
        two.files,
        two.revision,
        two.wheels(),
    )
    (place / "again.tar").unlink()


def test_purge_leaves_nothing(machine: Machine) -> None:
    machine.osbox("down", "--purge")
    assert not machine.home.exists()
    assert leftovers.find(Paths(machine.checkout, machine.home)) == []
    assert [link["ifname"] for link in json.loads(run.run(["ip", "-json", "link"]).out)] == ["lo"]
    assert run.run(["ip", "route"]).out == ""
