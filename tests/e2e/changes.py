"""Plans of `osbox up` held against what it then does to the containers, as Docker itself tells it."""

import json
import time
from pathlib import Path
from typing import Any

from osbox import run
from osbox.cloud.changes import Change, Live, observed
from tests.e2e.asking import engine
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import HOME, NAME

UNSEEN = ("engine", "inventory")  # of the state directory: Docker's own, and what was read of images


def containers() -> dict[str, Live]:
    """The containers by service, read with Docker's client and none of the tool's code."""
    names = engine(
        "docker", "ps", "-a", "--filter", f"label=com.docker.compose.project={NAME}", "--format", "{{.Names}}"
    ).split()
    return {
        item["Config"]["Labels"]["com.docker.compose.service"]: Live(
            item["Config"]["Labels"]["com.docker.compose.service"],
            item["Id"],
            item["State"]["Status"],
            item["State"]["StartedAt"],
            item["Image"],
            "",
        )
        for item in json.loads(engine("docker", "inspect", *names))
    }


def plan(*words: str) -> list[dict[str, Any]]:
    """What `osbox plan` lists; its exit code must say whether there is anything."""
    result = run.run([Tool.program, "plan", *words, "--json"], env=ENVIRONMENT, check=False, timeout=120)
    print(result.out, result.err)
    assert result.code in (0, 2), result.err
    changes: list[dict[str, Any]] = json.loads(result.out)["changes"]
    assert result.code == (2 if changes else 0)
    return changes


def of_containers(changes: list[dict[str, Any]]) -> dict[str, str]:
    """Service and action of a plan's containers."""
    return {change["name"]: change["action"] for change in changes if change["kind"] == "container"}


def up_does_what_is_planned(osbox: Tool) -> tuple[dict[str, str], dict[str, Any], float]:
    """Plan, act, and compare; returns what was done, the reasons by service, and the seconds that `osbox up`
    took.

    Everything that the plan does not name must be the same container, started at the same time.
    """
    planned = plan()
    before, begin = containers(), time.monotonic()
    said = osbox("up")
    took = time.monotonic() - begin
    done: dict[str, str] = {change.name: change.action for change in observed(before, containers())}
    assert done == of_containers(planned)
    assert _told(said) == done
    return done, {change["name"]: change["reasons"] for change in planned}, took


def _told(said: str) -> dict[str, str]:
    """What `osbox up` itself says that it did to containers."""
    found: dict[str, str] = {}
    for line in said.splitlines():
        what, colon, names = line.partition(": ")
        if colon and what.endswith(" container"):
            found |= dict.fromkeys(names.split(), what.split()[0])
    return found


def state() -> dict[str, int]:
    """The files of the state directory with the times of their last changes."""
    files = (path for path in HOME.rglob("*") if path.relative_to(HOME).parts[0] not in UNSEEN)
    return {str(path): path.lstat().st_mtime_ns for path in files}


def token_seconds(client: Any) -> float:
    """For how long a token that is issued now is good."""
    expires = json.loads(client("token", "issue", "-f", "json"))["expires"]
    return time.mktime(time.strptime(expires, "%Y-%m-%dT%H:%M:%S%z")) - time.mktime(time.gmtime())


def build_anew(service: str, image: str) -> str:
    """Give the tag of an image another id, as a new build does; returns the old id."""
    old = engine("docker", "image", "inspect", "--format", "{{.Id}}", image).strip()
    container = f"{service}.{NAME}"
    engine("docker", "commit", "--change", "LABEL io.osbox.check=anew", container, image)
    return old


def through_compose(values: dict[str, str], text: str, folder: Path) -> dict[str, str]:
    """What Compose makes of an env_file: the environment of a service as `docker compose config` prints
    it."""
    folder.mkdir(exist_ok=True)
    (folder / "test.env").write_text(text)
    (folder / "test.yaml").write_text(
        "services: {x: {image: x, env_file: [{path: ./test.env, required: false}]}}\n"
    )
    out = engine("docker", "compose", "-f", str(folder / "test.yaml"), "config", "--format", "json")
    found = json.loads(out)["services"]["x"]["environment"]
    return {name: found[name].replace("$$", "$") for name in values}


__all__ = [
    "Change",
    "build_anew",
    "containers",
    "of_containers",
    "plan",
    "state",
    "through_compose",
    "token_seconds",
    "up_does_what_is_planned",
]
