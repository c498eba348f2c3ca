"""The machine's own Docker: whether it may be used, and why not."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from osbox import environment, run
from osbox.engine import asking
from osbox.errors import Error, UserError

MINIMUM = 25  # Docker 25 brought `--start-interval` of health checks
HERE = ("unix://", "npipe://")
"""How the address of an engine on this machine begins."""
SOCKET = "unix:///var/run/docker.sock"
"""Where a machine's Docker answers, whatever the client is set to (dockerd(8), --host)."""
ANSWER_SECONDS = 20
DAEMON_JSON = Path("/etc/docker/daemon.json")


def server_version(kind: str, prefix: tuple[str, ...], *options: str) -> str:
    """The version of the engine that the client behind a prefix reaches; "" when none is there.

    Raises SilentError when one is, and says nothing for ANSWER_SECONDS.
    """
    if not prefix and not shutil.which("docker"):
        return ""
    words = [*prefix, *environment.client(kind), "docker", *options]
    argv = [*words, "version", "--format", "{{json .Server.Version}}"]
    result = asking.ask(argv, check=False, seconds=ANSWER_SECONDS)
    try:
        return str(json.loads(result.out)) if result.code == 0 else ""
    except ValueError:
        return ""


def usable() -> str:
    """The version of the machine's Docker when it is recent enough, whole and on this machine; else ""."""
    if not _is_here():
        return ""
    try:
        version = server_version("host", ())
    except asking.SilentError as silent:
        raise asking.SilentError(
            f"the machine's own Docker gave no answer within {ANSWER_SECONDS} s",
            evidence=silent.evidence,
            hint="systemctl status docker; journalctl -u docker -n 50; it may have to be restarted",
        ) from silent
    return version if version and _is_recent(version) and _has_plugins() else ""


def refusal() -> UserError:
    """Why the machine's Docker cannot be used although it was asked for."""
    if not _is_here():
        return UserError(
            f"--engine host: Docker's client is set to {_endpoint()}, which is another machine's engine",
            hint="unset DOCKER_HOST and DOCKER_CONTEXT (docker context use default), or use --engine private",
        )
    return UserError(
        f"--engine host: no Docker engine ≥ {MINIMUM} with Buildx and Compose v2 answers",
        evidence=_says(),
        hint="start or upgrade Docker, or use --engine private",
    )


def refuse_beside_old() -> None:
    """A second dockerd in the same network namespace rewrites the first one's firewall chains: never do that
    to a stranger.

    It is looked for at its own socket, too: a client that is set to another machine's engine does not tell of
    the one here.
    """
    versions = [server_version("host", ())] if _is_here() else []
    versions.append(server_version("private", (), "--host", SOCKET))
    for version in dict.fromkeys(filter(None, versions)):
        if _is_recent(version) and _has_plugins():
            continue
        raise Error(
            f"Docker {version} runs on this machine: too old for osbox, and a second engine beside it would"
            " rewrite its firewall chains",
            hint=(
                f"upgrade it to Docker ≥ {MINIMUM} with Buildx and Compose v2, or stop it, and run the"
                " command again"
            ),
        )


def manages_iptables() -> bool:
    """Whether the machine's Docker is to write rules with iptables: by default it does."""
    lines = [_command_line(pid) for pid in Path("/proc").iterdir() if pid.name.isdigit()]
    words = [word for line in lines if line and line[0].rpartition("/")[2] == "dockerd" for word in line]
    if {"--iptables=false", "--firewall-backend=nftables"} & set(words):
        return False
    with suppress(OSError, ValueError, AttributeError):
        settings = json.loads(DAEMON_JSON.read_text())
        return settings.get("iptables") is not False and settings.get("firewall-backend") != "nftables"
    return True


def _command_line(process: Path) -> list[str]:
    with suppress(OSError):
        return (process / "cmdline").read_text(errors="replace").split("\0")
    return []


def _endpoint() -> str:
    """The address of the engine that the client is set to, by a variable or by a context."""
    if not shutil.which("docker"):
        return ""
    return run.run(
        ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"],
        check=False,
        timeout=ANSWER_SECONDS,
    ).out.strip()


def _is_here() -> bool:
    endpoint = _endpoint()
    return not endpoint or endpoint.startswith(HERE)


def _is_recent(version: str) -> bool:
    major = version.split(".", maxsplit=1)[0]
    return major.isdigit() and int(major) >= MINIMUM


def _has_plugins() -> bool:
    return all(
        asking.ask(["docker", plugin, "version"], check=False, seconds=ANSWER_SECONDS).code == 0
        for plugin in ("buildx", "compose")
    )


def _says() -> str:
    if not shutil.which("docker"):
        return "docker: command not found"
    result = asking.ask(["docker", "version"], check=False, seconds=ANSWER_SECONDS)
    return run.tail(result.out + result.err)
