"""What `osbox up` would change, and why: a comparison of the wish with what lives. Pure.

The wish is our Compose files as Compose itself reads them; whether a container fits is told by Compose's own
hash of a service's settings and by the image's id. What was applied last is only asked for the reason, never
for the decision.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from osbox.engine.info import BRIDGE_NAME, NetworkInfo

Kind = Literal["container", "network", "volume", "secret", "file", "certificate", "engine", "host", "cloud"]
Action = Literal["create", "recreate", "start", "restart", "remove", "write", "change"]
Config = Mapping[str, Any]
"""A service's settings, as `docker compose config --format json` has them."""

SECRET = re.compile(r"PASSWORD|SECRET|_KEY$|CONNECTION|TRANSPORT_URL|TOKEN$")
OPTION = re.compile(r"OS_([A-Z0-9_]+?)__([A-Z0-9_]+)")
SHARED = "service:"  # network_mode: service:NAME


@dataclass(frozen=True)
class Wanted:
    """A service as it should be.

    digest: Compose's hash of its settings; follows: whose network namespace it lives in; moves: those of its
    networks that are made anew.
    """

    service: str
    image: str
    image_id: str
    digest: str
    config: Config
    follows: str = ""
    moves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Live:
    """A service's container as it is.

    started: ISO 8601, as Docker says it; exit_code: of one that does not run. release: of OpenStack, "" of
    what has none.
    """

    service: str
    container: str
    state: str
    started: str
    image_id: str
    digest: str
    exit_code: int = 0
    release: str = ""


@dataclass(frozen=True)
class Start:
    """The last start that was measured: seconds until the service answered, and how many others were started
    with it."""

    seconds: float
    others: int


@dataclass(frozen=True)
class Change:
    """One thing that is not as it should be, what would be done, why, and the outage to expect (measured;
    None: not known)."""

    kind: Kind
    name: str
    action: Action
    reasons: tuple[str, ...] = ()
    outage: Start | None = None


def containers(
    wanted: Sequence[Wanted],
    live: Mapping[str, Live],
    applied: Mapping[str, Config],
    starts: Mapping[str, Start],
) -> list[Change]:
    """The changes of containers, by service.

    applied: the settings that the containers were last started with, where known.
    """
    found: dict[str, Change] = {}
    # Whose network namespace others live in comes before those.
    for item in sorted(wanted, key=lambda item: (bool(item.follows), item.service)):
        here = live.get(item.service)
        action, reasons = _container(
            item, here, live.get(item.follows), found.get(item.follows), applied.get(item.service)
        )
        if action:
            outage = starts.get(item.service) if here and here.state == "running" else None
            found[item.service] = Change("container", item.service, action, reasons, outage)
    names = {item.service for item in wanted}
    for service in sorted(set(live) - names):
        found[service] = Change(
            "container", service, "remove", ("no service of the Compose files has this container",)
        )
    return [found[name] for name in sorted(found)]


def _container(
    item: Wanted, here: Live | None, owner: Live | None, change: Change | None, applied: Config | None
) -> tuple[Action | None, tuple[str, ...]]:
    """What is to be done with one container; change is that of the service whose network it shares."""
    if here is None:
        return "create", ("there is no container",)
    reasons = list(_stale(item, here, applied))
    if change and change.action in ("create", "recreate"):
        reasons.append(f"it shares the network of {item.follows}, whose container is new")
    if reasons:
        return "recreate", tuple(reasons)
    if here.state != "running":
        return "start", (
            f"{here.state}, exit code {here.exit_code}" if here.state == "exited" else here.state,
        )
    if (change and change.action == "start") or (owner and earlier(here.started, owner.started)):
        return "restart", (f"{item.follows}, whose network it shares, was started after it",)
    return None, ()


def networks(
    declared: Mapping[str, Config], existing: Sequence[NetworkInfo]
) -> tuple[list[Change], list[str]]:
    """The changes of networks, and the keys of those that are made anew: Docker changes none in its place.

    declared: those of the Compose file, by key; existing: those of this deployment that are there.
    """
    found, anew = list[Change](), list[str]()
    for key, item in sorted(declared.items(), key=lambda entry: str(entry[1]["name"])):
        name = str(item["name"])
        here = [one for one in existing if one.name == name]
        if not here:
            found.append(Change("network", name, "create", ("it is not there",)))
        elif reasons := tuple(_other(item, here)):
            found.append(Change("network", name, "recreate", reasons))
            anew.append(key)
    return found, anew


def _other(wanted: Config, here: Sequence[NetworkInfo]) -> Iterator[str]:
    """In what a network is not as it should be. An IPv6 subnet is the engine's own doing."""
    if len(here) > 1:
        yield f"{len(here)} networks have this name"
    subnets = [str(part["subnet"]) for part in wanted["ipam"]["config"]]
    bridge = wanted.get("driver_opts", {}).get(BRIDGE_NAME, here[0].bridge)
    for what, before, after in (
        ("subnet", " ".join(one for one in here[0].subnets if ":" not in one), " ".join(subnets)),
        ("bridge", here[0].bridge, str(bridge)),
    ):
        if before != after:
            yield f"{what}: {before} → {after}"


def earlier(one: str, other: str) -> bool:
    """Whether a moment, as Docker says it, is earlier than another one. A container that was started before
    the one whose network it shares lives in a namespace that is gone."""
    # Docker cuts trailing zeros of the fraction: without the Z the shorter one sorts first.
    return one.rstrip("Z") < other.rstrip("Z")


def owner(config: Config) -> str:
    """Whose network namespace a service lives in; "" when it has its own."""
    mode = str(config.get("network_mode", ""))
    return mode.removeprefix(SHARED) if mode.startswith(SHARED) else ""


def _stale(item: Wanted, here: Live, applied: Config | None) -> Iterator[str]:
    """Why a container must be replaced; nothing when it need not."""
    if here.digest != item.digest:
        found = list(differences(applied, item.config)) if applied else []
        yield from found or ["its settings are not those it was started with"]
    if here.image_id != item.image_id and (not applied or applied.get("image") == item.image):
        yield f"{item.image} was built anew"
    yield from (f"its network {name} is made anew" for name in item.moves)


def differences(old: Config, new: Config) -> Iterator[str]:
    """The fields in which two settings of a service differ, in words; options by their oslo names."""
    for key in sorted({*old, *new} - {"depends_on"}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key == "environment":
            yield from _variables(before or {}, after or {})
        elif isinstance(before or [], list) and isinstance(after or [], list):
            gone = [_short(entry) for entry in before or [] if entry not in (after or [])]
            come = [_short(entry) for entry in after or [] if entry not in (before or [])]
            yield f"{key}: " + ", ".join(
                [*(f"without {entry}" for entry in gone), *(f"with {entry}" for entry in come)]
            )
        else:
            yield f"{key}: {_short(before)} → {_short(after)}"


def _variables(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            option = OPTION.fullmatch(name)
            what = f"option [{_group(option[1])}] {option[2].lower()}" if option else f"variable {name}"
            yield f"{what}: {_shown(name, old.get(name))} → {_shown(name, new.get(name))}"


def _group(name: str) -> str:
    return name if name == "DEFAULT" else name.lower()


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "not set"
    return "(not shown)" if SECRET.search(name) else str(value).replace("$$", "$") or '""'


def _short(value: Any) -> str:
    """A setting in a few words: a port as ADDRESS:PORT:PORT, a volume or secret as SOURCE:TARGET."""
    if isinstance(value, Mapping):
        if "published" in value:
            return f"{value.get('host_ip', '')}:{value['published']}:{value['target']}"
        if "source" in value:
            return f"{value['source']}:{value.get('target', '')}"
        named = (key if item is None else f"{key}={_short(item)}" for key, item in value.items())
        return ", ".join(named) or "nothing"
    if isinstance(value, list):
        return " ".join(map(_short, value)) or "nothing"
    return "not set" if value is None else str(value)


def observed(before: Mapping[str, Live], after: Mapping[str, Live]) -> list[Change]:
    """What happened to the containers between two looks, in the words of a plan."""
    found = []
    for service in sorted({*before, *after}):
        old, new = before.get(service), after.get(service)
        action: Action | None = None
        if old is None or new is None:
            action = "create" if new else "remove"
        elif old.container != new.container:
            action = "recreate"
        elif old.started != new.started:
            action = "restart" if old.state == "running" else "start"
        if action:
            found.append(Change("container", service, action))
    return found
