#!/usr/bin/env python3
"""Swift's storage policies and rings.

    swift-rings run COMMAND…    write the policies into swift.conf, have a ring for each, become COMMAND
    swift-rings make            make the rings that are missing
    swift-rings show            the rings, as JSON
    swift-rings rebalance       move what is to be moved, in all of them; what moved, as JSON

OSBOX_SWIFT_POLICIES has the policies' names, with commas between; the first is the default. Number N has
the ring object-N, number 0 the ring object. A ring is made with one device, one replica, 64 partitions, and
what is there is left as it is. One container may write to the rings' volume; the others wait for it. Host
names stand in place of addresses, so that containers may change theirs.
"""

import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn

RINGS, CONF = Path("/var/lib/swift-rings"), Path("/run/osbox/swift.conf")
SECTION = "[storage-policy:"
POLL_SECONDS = 0.25
NOTICED = 1.0
"""Swift's own measure, in per cent: for less it keeps no new ring."""


def main(words: list[str]) -> int:
    if words[:1] == ["run"] and words[1:]:
        become(words[1:])
    if words == ["make"]:
        make()
    elif words == ["show"]:
        print(json.dumps([shown(file) for file in builders()]))
    elif words == ["rebalance"]:
        print(json.dumps([rebalance(file) for file in builders()]))
    else:
        print((__doc__ or "").partition("\n\n")[2].partition("\n\n")[0], file=sys.stderr)
        return 2
    return 0


def policies() -> list[str]:
    return os.environ.get("OSBOX_SWIFT_POLICIES", "Policy-0").split(",")


def wanted() -> dict[str, str]:
    """The service that each ring leads to, by the ring's name."""
    objects = ["object", *(f"object-{number}" for number in range(1, len(policies())))]
    return {"account": "account", "container": "container", **dict.fromkeys(objects, "object")}


# --- at the start of a container
# --------------------------------------------------------------------------------


def become(command: list[str]) -> NoReturn:
    # A container's first process is sent only the signals that it handles.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    configure()
    if missing() and os.access(RINGS, os.W_OK):
        make()
    deadline = time.monotonic() + float(os.environ.get("OSBOX_WAIT_SECONDS", "180"))
    while missing():
        if time.monotonic() >= deadline:
            names = ", ".join(missing())
            sys.exit(f"swift-rings: nobody made {names} in {RINGS}; look at swift-proxy's log")
        time.sleep(POLL_SECONDS)
    os.execvp(command[0], command)  # noqa: S606 - this is what it is for


def configure() -> None:
    """The policies behind what bootstrap wrote; whole, for passes and health read it meanwhile."""
    text = CONF.read_text(encoding="utf-8").partition(SECTION)[0]
    for number, name in enumerate(policies()):
        text += f"{SECTION}{number}]\nname = {name}\n" + "default = yes\n" * (number == 0)
    new = CONF.with_name(f"{CONF.name}.{os.getpid()}.new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.rename(CONF)


def missing() -> list[str]:
    return [f"{name}.ring.gz" for name in wanted() if not (RINGS / f"{name}.ring.gz").exists()]


def make() -> None:
    """The rings that are missing: of their builders, where these are there."""
    from swift.common.ring import RingBuilder  # noqa: PLC0415 - most starts need none

    for name, service in wanted().items():
        ring, builder = RINGS / f"{name}.ring.gz", RINGS / f"{name}.builder"
        if not builder.exists() and not ring.exists():
            save(new_builder(name, service), builder)
        if not ring.exists():
            RingBuilder.load(str(builder)).get_ring().save(str(ring))


def new_builder(name: str, service: str) -> Any:
    from swift.common.ring import RingBuilder  # noqa: PLC0415

    host, port = f"swift-{service}", {"account": 6202, "container": 6201, "object": 6200}[service]
    place = {
        "region": 1,
        "zone": 1,
        "ip": host,
        "port": port,
        "replication_ip": host,
        "replication_port": port,
    }
    builder = RingBuilder(part_power=6, replicas=1, min_part_hours=1)
    builder.add_dev({**place, "device": "d1", "weight": 1.0, "meta": ""})
    builder.rebalance(seed=0)
    # The same rings from every build: the builder would draw an id, and remember when it moved partitions.
    number = uuid.uuid5(uuid.NAMESPACE_DNS, f"swift-{name}").hex
    builder.copy_from({**builder.to_dict(), "id": number, "_last_part_moves_epoch": 0})
    return builder


def save(builder: Any, file: Path) -> None:
    """Whole or not at all: Swift writes into the file that is there."""
    new = file.with_name(f"{file.name}.new")
    builder.save(str(new))
    new.rename(file)


# --- what there is
# --------------------------------------------------------------------------------


def builders() -> list[Path]:
    """Those that are there, as people count."""

    def place(file: Path) -> tuple[str, int]:
        name, _, number = file.stem.partition("-")
        return name, int(number) if number.isdigit() else 0

    return sorted(RINGS.glob("*.builder"), key=place)


def named(file: Path) -> dict[str, str]:
    """A ring and its policy; "" for the rings of accounts and containers, and of a policy that is not
    named."""
    found = {f"object-{number}" if number else "object": name for number, name in enumerate(policies())}
    return {"ring": file.stem, "policy": found.get(file.stem, "")}


def shown(file: Path) -> dict[str, Any]:
    """rebalanced: when partitions were moved last, in seconds since 1970; 0 when never."""
    from swift.common.ring import RingBuilder  # noqa: PLC0415

    builder = RingBuilder.load(str(file))
    data = builder.to_dict()
    devices = [
        {key: one[key] for key in ("region", "zone", "ip", "port", "device", "weight", "parts")}
        for one in builder.devs
        if one
    ]
    return {
        **named(file),
        "replicas": builder.replicas,
        "partitions": builder.parts,
        "balance": builder.get_balance(),
        "min_part_hours": builder.min_part_hours,
        "rebalanced": data["_last_part_moves_epoch"],
        "devices": devices,
    }


def rebalance(file: Path) -> dict[str, Any]:
    """As swift-ring-builder does, and what it would say as data.

    outcome: `moved`; `balanced`, nothing is to be moved; `early`, what is to be moved was moved within
    min_part_hours, of which `left` seconds are left; `small`, it would get better by less than 1 %.
    """
    from swift.common.ring import RingBuilder  # noqa: PLC0415

    builder = RingBuilder.load(str(file))
    left, changed = builder.min_part_seconds_left, builder.devs_changed
    before, dispersed = builder.get_balance(), builder.dispersion
    moved, after, removed = builder.rebalance()
    said = {**named(file), "partitions": builder.parts, "moved": moved, "before": before, "after": after}
    if not moved and not removed:
        full = any(one["parts_wanted"] < 0 for one in builder.devs if one)
        return {
            **said,
            "outcome": "early" if full and left > 0 else "balanced",
            "left": left,
            "after": before,
        }
    better = abs(before - after) >= NOTICED or abs((dispersed or 0) - builder.dispersion) >= NOTICED
    if not changed and not removed and not better:
        return {**said, "outcome": "small", "left": left, "moved": 0, "after": before}
    builder.validate()
    # The ring first: should we be killed in between, the next rebalance writes both. The other way round it
    # would find nothing to move, and services would keep the old ring.
    builder.get_ring().save(str(file.with_suffix(".ring.gz")))
    save(builder, file)
    return {**said, "outcome": "moved", "left": 0}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
