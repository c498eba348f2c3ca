"""Swift's rings, as its own program in the container that may write them tells of them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from osbox import plain, run
from osbox.engine import docker
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.site.site import Site

SERVICE, PROGRAM = "swift-proxy", "swift-rings"
NOTICED = "every service of Swift reads a new ring by itself within 15 s"
NO_PROGRAM = (126, 127)
"""Exit codes of `docker exec` of what is not there."""
SECONDS = 60
MINUTE = 60

Outcome = Literal["moved", "balanced", "early", "small"]


@dataclass(frozen=True)
class Device:
    region: int
    zone: int
    address: str
    port: int
    device: str
    weight: float
    partitions: int


@dataclass(frozen=True)
class Ring:
    """policy: "" of the rings of accounts and containers. balance: by how many per cent a device has more or
    less than its weight would give it, at most. rebalanced: when partitions were moved last, in seconds since
    1970; None when never."""

    name: str
    policy: str
    replicas: float
    partitions: int
    balance: float
    min_part_hours: int
    rebalanced: int | None
    devices: tuple[Device, ...]


@dataclass(frozen=True)
class Move:
    """What a rebalance of a ring came to (images/swift/rings.py).

    before, after: its balance. left: seconds of min_part_hours.
    """

    name: str
    policy: str
    outcome: Outcome
    partitions: int
    moved: int
    before: float
    after: float
    left: int


def show(engine: Engine, site: Site) -> list[Ring]:
    """The rings that there are; raises Error when Swift's container does not say them."""
    words = ("exec", f"{SERVICE}.{site.name}", PROGRAM, "show")
    return read(_said(docker.ask(engine, *words, check=False, seconds=SECONDS), "show its rings"))


def rebalance(engine: Engine, site: Site) -> list[Move]:
    """Move what is to be moved; raises Error when Swift's container fails."""
    words = ("exec", f"{SERVICE}.{site.name}", PROGRAM, "rebalance")
    return moves(_said(docker.docker(engine, *words, check=False, timeout=10 * SECONDS), "move partitions"))


def _said(result: run.Result, doing: str) -> str:
    if result.code == 0:
        return result.out
    raise Error(
        f"Swift could not {doing}",
        evidence=run.tail(result.err or result.out),
        hint="osbox build swift, then osbox up: the image has no such program"
        if result.code in NO_PROGRAM
        else "osbox logs swift-proxy, then the same command again",
    )


def read(text: str) -> list[Ring]:
    """The program's answer as values."""
    return [
        Ring(
            plain.text(one["ring"]),
            plain.text(one["policy"]),
            one["replicas"],
            one["partitions"],
            round(one["balance"], 2),
            one["min_part_hours"],
            one["rebalanced"] or None,
            tuple(map(_device, one["devices"])),
        )
        for one in _list(text)
    ]


def _device(one: dict[str, Any]) -> Device:
    place = (one["region"], one["zone"], plain.text(one["ip"]), one["port"], plain.text(one["device"]))
    return Device(*place, one["weight"], one["parts"])


def moves(text: str) -> list[Move]:
    """The program's answer as values."""
    return [
        Move(
            plain.text(one["ring"]),
            plain.text(one["policy"]),
            one["outcome"],
            one["partitions"],
            one["moved"],
            round(one["before"], 2),
            round(one["after"], 2),
            one["left"],
        )
        for one in _list(text)
    ]


def _list(text: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(text)
    except ValueError as error:
        raise Error(
            "Swift's program gave no answer that can be read",
            evidence=run.tail(text),
            hint="osbox build swift, then osbox up",
        ) from error
    return found


def told(move: Move) -> str:
    """What became of a ring, for people."""
    said = {
        "moved": f"{move.moved} of {move.partitions} partitions moved; balance {move.before:g} % before,"
        f" {move.after:g} % now",
        "balanced": "nothing to move",
        "early": f"too early: what is to be moved was moved less than min_part_hours ago,"
        f" {math.ceil(move.left / MINUTE)} min are left",
        "small": f"left as it is: it would get better by less than 1 % (balance {move.before:g} %)",
    }
    return f"{move.name}{f' ({move.policy})' if move.policy else ''}: {said[move.outcome]}"


def require_time(found: Sequence[Move]) -> None:
    """Raises UserError when a ring could not be rebalanced for what was moved a short while ago."""
    early = [move for move in found if move.outcome == "early"]
    if early:
        wait = math.ceil(max(move.left for move in early) / MINUTE)
        raise UserError(
            f"too early for {', '.join(move.name for move in early)}: a partition is moved once in"
            " min_part_hours, so that no two replicas of it are under way at a time",
            evidence="\n".join(map(told, early)),
            hint=f"osbox swift rings --rebalance in {wait} min",
        )
