"""How compose/ starts an image: what a test of the image needs to start it in the same way."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

GRACE_SECONDS = 10  # Docker's own
SECONDS = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class RunSpec:
    capabilities: tuple[str, ...] = ()
    security: tuple[str, ...] = ("no-new-privileges:true",)
    """Options of the kernel's own restraints, as `--security-opt` takes them."""
    devices: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = (
        "/tmp",  # noqa: S108 - inside a container
        "/run/osbox:uid=42400,gid=42400,mode=0700",
    )
    volumes: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    init: bool = False
    grace: int = GRACE_SECONDS
    """Seconds between SIGTERM and SIGKILL."""

    def options(self) -> list[str]:
        """The options of `docker run`; what compose/ does not grant is not there."""
        words = ["--read-only", "--cap-drop=ALL"]
        words += [f"--security-opt={name}" for name in self.security]
        words += [f"--cap-add={name}" for name in self.capabilities]
        words += [f"--device={name}" for name in self.devices]
        words += [f"--tmpfs={name}" for name in self.tmpfs]
        words += [f"--volume={path}" for path in self.volumes]
        words += [f"--env={name}={value}" for name, value in self.environment]
        return words + (["--init"] if self.init else [])


def load(directory: Path) -> dict[str, RunSpec]:
    """The run specification of every image that a Compose file in the directory starts, by image name."""
    found: dict[str, RunSpec] = {}
    for file in sorted(directory.glob("*.yaml")):
        for service in (yaml.safe_load(file.read_text()).get("services") or {}).values():
            image = str(service.get("image", "")).partition(":")[0]
            if image and "entrypoint" not in service:
                found.setdefault(image, _spec(service))
    return found


def _spec(service: dict[str, object]) -> RunSpec:
    environment = service.get("environment") or {}
    pairs = environment.items() if isinstance(environment, dict) else []
    return RunSpec(
        capabilities=_words(service.get("cap_add")),
        security=_words(service.get("security_opt")) or RunSpec.security,
        devices=_words(service.get("devices")),
        tmpfs=_words(service.get("tmpfs")) or RunSpec.tmpfs,
        volumes=_volumes(service.get("volumes")),
        environment=tuple(
            (name, VARIABLE.sub(lambda match: match[2] or "", str(value))) for name, value in pairs
        ),
        init=bool(service.get("init")),
        grace=_seconds(str(service.get("stop_grace_period", ""))) or GRACE_SECONDS,
    )


def _seconds(text: str) -> int:
    """A duration such as 15s or 1m30s; 0 for what is none."""
    match = SECONDS.fullmatch(text)
    return int(match[1] or 0) * 60 + int(match[2] or 0) if match else 0


def _volumes(value: object) -> tuple[str, ...]:
    """Where volumes are mounted; a test has new, empty ones.

    A volume that takes nothing from the image is left out: in the cloud another container fills it, in a test
    the image's own files stand in.
    """
    found = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, str):
            found.append(item.split(":")[1])
        elif not (item.get("volume") or {}).get("nocopy"):
            found.append(str(item["target"]))
    return tuple(found)


def _words(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
