"""Building: what an image is made of, what a failure means; and the images themselves, with the engine."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osbox import run
from osbox.board import Board
from osbox.build import dockerfile, images
from osbox.build import pool as builder
from osbox.build.pool import Outcome, Task
from osbox.engine import docker, engine
from osbox.engine.engine import Engine
from osbox.errors import Error
from osbox.fault import explain
from osbox.images import catalogue, oslo, runspec
from osbox.images.catalogue import IMAGES
from osbox.images.runspec import RunSpec
from osbox.imagetests import check as imagetests
from osbox.imagetests.check import Report
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests import records, samples
from tests.conftest import PROJECT, write_all
from tests.deadlines import waited
from tests.home import prepare

RECIPE = """
ARG BASE=ground:latest  # comments after an instruction are part of it; this one is never seen
FROM ${BASE} AS lists
RUN fetch
FROM ${BASE} AS tools
ARG RELEASE=1
COPY releases/${RELEASE}/lock /lock
FROM ${BASE} AS final
RUN --mount=type=bind,from=lists,source=/x,target=/x \\
    # a comment inside
    --mount=type=bind,source=images/a/packages.txt,target=/p \\
    install
COPY --from=tools /opt /opt
COPY ["images/a/etc", "/etc/"]
RUN <<EOT
COPY not/an/instruction /
EOT
FROM ${BASE} AS other
COPY images/b /b
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_all(
        tmp_path,
        {
            "images/a/Dockerfile": RECIPE,
            "images/a/packages.txt": "x",
            "images/a/etc/conf": "y",
            "images/b/file": "z",
            "releases/1/lock": "1",
            "releases/2/lock": "2",
            "images/a/etc/__pycache__/x.pyc": "cache",
        },
    )
    return tmp_path


def digest(project: Path, base: str = "ground", **arguments: str) -> str:
    return dockerfile.digest(project, Path("images/a/Dockerfile"), "final", arguments, {"BASE": base})


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda project: (project / name).write_text(text)


CHANGES = {
    "a file it copies": write("images/a/etc/conf", "new"),
    "a file more in a folder it copies": write("images/a/etc/more", ""),
    "a file it mounts": write("images/a/packages.txt", "new"),
    "a file that a stage before reads": write("releases/1/lock", "new"),
    "its mode": lambda project: (project / "images/a/etc/conf").chmod(0o755),
    "its recipe": write("images/a/Dockerfile", RECIPE.replace("    install", "    install more")),
    "the recipe of a stage before": write("images/a/Dockerfile", RECIPE.replace("fetch", "fetch more")),
}
INDIFFERENT = {
    "nothing": lambda _: None,
    "a file of another target": write("images/b/file", "new"),
    "the recipe of another target": write("images/a/Dockerfile", RECIPE + "RUN something\n"),
    "a comment": write("images/a/Dockerfile", "# new\n" + RECIPE),
    "Python's cache": write("images/a/etc/__pycache__/x.pyc", "new"),
    "a time stamp": lambda project: os.utime(project / "images/a/etc/conf", (1, 1)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_changes_an_image(project: Path, change: Callable[[Path], object]) -> None:
    before = digest(project)
    change(project)
    assert digest(project) != before


@pytest.mark.parametrize("change", INDIFFERENT.values(), ids=INDIFFERENT.keys())
def test_what_does_not_change_an_image(project: Path, change: Callable[[Path], object]) -> None:
    before = digest(project)
    change(project)
    assert digest(project) == before


def test_base_and_release_change_an_image_the_name_of_its_base_does_not(project: Path) -> None:
    assert digest(project) == digest(project, RELEASE="1", BASE="ground:1.0")
    assert len({digest(project), digest(project, base="another"), digest(project, RELEASE="2")}) == 3


def test_an_unknown_target_names_the_known_ones(project: Path) -> None:
    with pytest.raises(Error, match="no target os-x") as caught:
        dockerfile.digest(project, Path("images/a/Dockerfile"), "os-x", {}, {})
    assert caught.value.hint == "its targets: lists, tools, final, other"


UV = (
    "#9 4.1 error: Request failed after 1 retry in 3.7s\n#9 4.1   cause: Failed to fetch:"
    " http://i:9931/simple/six/\n#9 4.1   cause: "
)
PIP = (
    "#9 3.1 WARNING: Retrying (Retry(total=0)) after connection broken by"
    """ '{}("HTTPConnectionPool(host='i', port=9931): {}")': /simple/uv/"""
)
FAULTS = {
    "apt cannot resolve": (
        "#9 1.2 E: Failed to fetch http://u:p@m/x  Temporary failure resolving 'm'",
        "Debian packages could not be fetched from http://m: its name could not be resolved",
        True,
    ),
    "apt is reset": (
        "#9 1.2 Err:3 http://m x\n#9 1.2 E: Connection reset by peer",
        "Debian packages could not be fetched from http://m",
        True,
    ),
    "a mirror in change": (
        "#9 1.2 E: Failed to fetch http://m:81/x  Hash Sum mismatch",
        "Debian packages could not be fetched from http://m:81: what it has is not what its list says",
        True,
    ),
    "a silent mirror": (
        (
            "#9 61.2 E: Failed to fetch http://m/dists/trixie/InRelease  Could not connect to m:80"
            " (10.0.0.1), connection timed out"
        ),
        "Debian packages could not be fetched from http://m: it did not answer",
        True,
    ),
    "apt and a private CA": (
        (
            "#9 1.2 Err:1 https://m trixie InRelease\n#9 1.2   Certificate verification failed: The"
            " certificate is NOT trusted."
        ),
        "Debian packages could not be fetched from https://m: its certificate is not trusted here",
        False,
    ),
    "uv, a silent index": (
        UV + "operation timed out",
        "Python packages could not be fetched from http://i:9931: it did not answer",
        True,
    ),
    "uv and a private CA": (
        UV + "invalid peer certificate: UnknownIssuer",
        "Python packages could not be fetched from http://i:9931: its certificate is not trusted here",
        False,
    ),
    "uv and a proxy": (
        UV + "tunnel error: unsuccessful\n#9 4.1  HTTP/1.1 407 Proxy Authentication Required",
        "Python packages could not be fetched from http://i:9931: the proxy wants a user and a password",
        False,
    ),
    "uv, another wheel": (
        (
            "#9 4.1 error: Failed to download `six==1.17.0`\n#9 4.1   cause: Hash mismatch for"
            " `six==1.17.0`\n#9 4.1 \n#9 4.1   Expected:"
        ),
        "six==1.17.0 is not what the lock says: its hash is another",
        False,
    ),
    "uv, a damaged wheel": (
        (
            "#9 1.3 error: Failed to download `six==1.17.0`\n#9 1.3   cause: Failed to extract archive:"
            " six-1.17.0-py2.py3-none-any.whl"
        ),
        "six==1.17.0 came damaged",
        True,
    ),
    "pip, a silent index": (
        PIP.format("ReadTimeoutError", "Read timed out. (read timeout=1.0)"),
        "Python packages could not be fetched from i:9931: it did not answer",
        True,
    ),
    "pip, another wheel": (
        (
            "#9 3 ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If …\n#9 3    "
            " uv==0.13.9 from https://i/uv.whl#sha256=4:"
        ),
        "uv==0.13.9 is not what the lock says: its hash is another",
        False,
    ),
    "a registry": (
        '#3 ERROR: failed to do request: Head "https://r/v2/x": dial tcp: lookup r: no such host',
        (
            "the base image from the container registry could not be fetched from https://r: its name could"
            " not be resolved"
        ),
        True,
    ),
    "engine": (
        "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
        "the engine stopped while it was building",
        False,
    ),
    "disk": ("#9 5.0 cp: error writing '/x': No space left on device", "the disk is full", False),
}
OWN = {
    "a compiler": "#9 8.1 error: command 'gcc' failed",
    "a quoted recipe that says timeout": (
        '  12 | >>> HEALTHCHECK --timeout=15s CMD x\nERROR: failed to solve: process "/bin/sh -c curl'
        ' --timeout 5 && connection reset" did not complete successfully'
    ),
    "a package that does not exist": "#9 1.2 E: Unable to locate package nonsense",
}


@pytest.mark.parametrize(("output", "message", "transient"), FAULTS.values(), ids=FAULTS.keys())
def test_weather_is_told_from_defects(output: str, message: str, transient: bool) -> None:
    fault = explain(f"#1 0.1 fine\n{output}\n")
    assert fault
    assert (fault.message, fault.transient) == (message, transient)


@pytest.mark.parametrize("output", OWN.values(), ids=OWN.keys())
def test_a_defect_is_no_weather(output: str) -> None:
    assert explain(output) is None


def task(name: str, folder: Path, script: str) -> Task:
    return Task(catalogue.find(name), f"{name}:t", ("sh", "-c", script), folder / "logs" / f"{name}.log")


def run_tasks(*tasks: Task, jobs: int = 2) -> list[Outcome]:
    with Board() as board:
        return builder.Builder(board, jobs).run(tasks)


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_others_go_on(tmp_path: Path, jobs: int, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = run_tasks(
        task("os-base-image", tmp_path, "true"),
        task("os-mysql", tmp_path, "echo why; exit 1"),
        task("os-rack", tmp_path, "true"),
        jobs=jobs,
    )
    lines = capsys.readouterr().out.splitlines()
    assert {"🔨  os-base-image:t - Done", "❌  os-mysql:t - Failed", "🔨  os-rack:t - Done"} <= set(lines)
    assert lines[lines.index("❌  os-mysql:t - Failed") + 1].strip() == "$ sh -c 'echo why; exit 1'"
    with pytest.raises(Error, match="1 of 3 images failed: os-mysql") as caught:
        images.raise_for(outcomes)
    assert caught.value.hint.endswith("run: osbox build os-mysql")


@pytest.mark.parametrize("jobs", [1, 4])
def test_what_stands_on_a_failed_one_is_skipped(
    tmp_path: Path, jobs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["os-base-image", "os-openstack", "os-mysql", "os-keystone"]
    outcomes = run_tasks(
        *(task(name, tmp_path, "test $0 = x" if name == "os-base-image" else "exit 1") for name in names),
        jobs=jobs,
    )
    said = capsys.readouterr().out
    assert "❌  os-mysql:t - Skipped: os-base-image failed" in said
    assert "❌  os-keystone:t - Skipped: os-openstack failed" in said
    with pytest.raises(Error) as caught:
        images.raise_for(outcomes)
    assert caught.value.hint.endswith("run: osbox build os-base-image")


def test_weather_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(builder, "PAUSE_SECONDS", 0)
    script = (
        f"echo >>{tmp_path}/tries; echo '#9 1.2 E: Failed to fetch x  Connection timed out'; test $(wc -l"
        f" <{tmp_path}/tries) = 3"
    )
    [outcome] = run_tasks(task("os-mysql", tmp_path, script))
    assert not outcome.reason
    assert capsys.readouterr().out.splitlines() == [
        "🔁  os-mysql:t - Debian packages could not be fetched: it did not answer; try 2 of 3",
        "🔁  os-mysql:t - Debian packages could not be fetched: it did not answer; try 3 of 3",
        "🔨  os-mysql:t - Done",
    ]


def test_weather_that_stays_is_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "PAUSE_SECONDS", 0)
    outcomes = run_tasks(
        task("os-mysql", tmp_path, "echo '#9 1 error: Failed to fetch: http://i/simple/x: timed out'; exit 1")
    )
    with pytest.raises(
        Error,
        match=r"^Python packages could not be fetched from http://i: it did not answer; 1 of 1 images failed",
    ):
        images.raise_for(outcomes)


def test_what_cannot_be_tried_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_tasks(Task(catalogue.find("mysql"), "os-mysql:t", (), tmp_path / "log", problem="no recipe"))
    assert capsys.readouterr().out.split("\n")[:2] == ["❌  os-mysql:t - Failed", "      no recipe"]


def test_a_second_build_waits_for_the_first(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    went_on = threading.Event()

    def second() -> None:
        with builder.alone(paths):
            went_on.set()

    thread = threading.Thread(target=second)
    with builder.alone(paths):
        thread.start()
        assert not went_on.wait(0.3)
    thread.join(10)
    assert went_on.is_set()
    assert f"Another build is running here (process {os.getpid()})" in capsys.readouterr().err


def test_a_proxys_password_is_on_no_command_line(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://person:hunter-of-layers@proxy.example:3128")
    argv = docker.build_argv(
        Engine("host", "26"), paths, Path("images/base/Dockerfile"), target="os-base-image", tag="x"
    )
    assert argv[argv.index("https_proxy") - 1] == "--build-arg"
    assert "hunter" not in run.line(argv)
    assert docker.environment()["https_proxy"].endswith("@proxy.example:3128")


def test_the_step_that_a_build_is_at() -> None:
    log = "#8 [os-mysql 2/6] RUN apt-install x\n#8 0.3 Get:1\n#9 [internal] load metadata\n#9 DONE 0.1s\n"
    assert images.current_step(log) == "[os-mysql 2/6] RUN apt-install x"
    assert images.current_step("") == ""


def test_compose_says_how_an_image_is_started(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "services:\n  a: {image: 'os-a:${V:-latest}', cap_add: [NET_ADMIN], devices: [/dev/x], init: true,"
        " tmpfs: [/tmp],\n    environment: {A: '${B:-c}'}, volumes: ['data:/data:ro', {source: r, target: /r,"
        " volume: {nocopy: true}}]}\n  holder: {image: 'os-b:latest', entrypoint: [sleep]}\n"
    )
    found = runspec.load(tmp_path)
    assert list(found) == ["os-a"]
    assert set(found["os-a"].options()) == {
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges:true",
        "--cap-add=NET_ADMIN",
        "--device=/dev/x",
        "--tmpfs=/tmp",
        "--volume=/data",
        "--env=A=c",
        "--init",
    }


def test_what_the_validator_cannot_know_is_left_out() -> None:
    output = (
        "INFO:root:Ignoring missing option\nERROR:root:nova/auth_url is not part of the sample config\n"
        "ERROR:root:api/nonsense is not part of the sample config\n"
    )
    assert oslo.problems(output) == ["[api] nonsense is no option"]


def test_a_failed_image_test_is_an_error() -> None:
    imagetests.raise_for([Report("os-a", "t", ())])
    with pytest.raises(Error, match="1 of 2 images failed their tests: os-b"):
        imagetests.raise_for([Report("os-a", "t", ()), Report("os-b", "t", ("why",))])


# --- with the engine
# --------------------------------------------------------------------------------

VERSION = os.environ.get("BUILD_VERSION", "latest")


@pytest.fixture(scope="module")
def at() -> tuple[Paths, Engine]:
    with waited("engine", within=600):
        paths = Paths(PROJECT, prepare())
        return paths, engine.start(paths, load_site(paths.home))


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest, at: tuple[Paths, Engine]) -> dict[str, Report]:
    with waited("images", within=1800):
        images.build(*at, version=VERSION)
    with waited("their tests", within=900):
        wanted = records.wanted(request)  # none when only broken images are tested
        return {
            report.image: report
            for report in (imagetests.check(*at, wanted, version=VERSION) if wanted else [])
        }


@pytest.mark.images
@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_image(image: catalogue.Image, reports: dict[str, Report]) -> None:
    assert reports[image.name].problems == ()


BROKEN = sorted((PROJECT / "tests" / "broken").glob("*.dockerfile"))
BROKEN_AT_ONCE = 4
"""So many in `make check`: they show that the tests of images can fail; all took 114 s."""


@pytest.fixture(scope="module")
def broken(
    request: pytest.FixtureRequest, at: tuple[Paths, Engine], reports: dict[str, Report]
) -> Iterator[dict[str, Report]]:
    """Those of tests/broken whose turn it is, built and tested in one go: what was found, by file."""
    paths, running = at
    wanted = BROKEN if request.config.getoption("--full") else samples.turn(BROKEN, BROKEN_AT_ONCE)
    secret = paths.secrets / "of-the-test"
    paths.secrets.mkdir(exist_ok=True)
    secret.write_text(
        "of-no-other-use"
    )  # the same in every run: BuildKit does not look at secrets when it takes a layer from its cache
    tags = {f"broken-{file.stem}-{os.getpid()}": file for file in wanted}
    images_of = {
        version: catalogue.find(re.findall(r"^FROM ([\w-]+):", file.read_text(), re.MULTILINE)[0])
        for version, file in tags.items()
    }
    options = [
        "--quiet",
        "--build-arg",
        f"VERSION={VERSION}",
        "--build-arg",
        f"PLACE={PROJECT}/",
        "--secret",
        f"id={secret.name},src={secret}",
    ]
    try:
        with waited("broken images", within=600):
            for version, file in tags.items():
                argv = running.argv(
                    "docker", "build", *options, "--tag", images_of[version].tag(version), "-"
                )
                run.run(argv, input=file.read_text())
            found = imagetests.check_tags(
                paths, running, [(image, image.tag(version)) for version, image in images_of.items()]
            )
        yield {tags[report.version].stem: report for report in found}
    finally:
        secret.unlink()
        docker.docker(
            running, "image", "rm", *(image.tag(version) for version, image in images_of.items()), check=False
        )


@pytest.mark.images
@pytest.mark.parametrize("file", samples.params(BROKEN, BROKEN_AT_ONCE, ids=lambda file: file.stem))
def test_a_broken_image_fails(file: Path, broken: dict[str, Report]) -> None:
    """A test that cannot fail proves nothing: break an image and see it told."""
    expected = [
        line.replace("PLACE", str(PROJECT))
        for line in re.findall(r"^# expect: (.*)", file.read_text(), re.MULTILINE)
    ]
    missing = [
        line
        for line in expected
        if not any(problem.startswith(line) for problem in broken[file.stem].problems)
    ]
    assert expected
    assert missing == [], broken[file.stem].problems


@pytest.mark.images
def test_a_root_that_can_be_written_to_is_told(
    at: tuple[Paths, Engine], reports: dict[str, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RunSpec.options
    monkeypatch.setattr(
        RunSpec, "options", lambda spec: [word for word in options(spec) if word != "--read-only"]
    )
    [report] = imagetests.check(*at, [catalogue.find("memcached")], version=VERSION)
    assert report.problems == ("its root file system could be written to",)
