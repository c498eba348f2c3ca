"""Make Swift's rings in a directory: one device, one replica, 64 partitions.

Host names stand in place of addresses, so that containers may change theirs.
"""

import sys
import uuid
from pathlib import Path

from swift.common.ring import RingBuilder

PORTS = {"account": 6202, "container": 6201, "object": 6200}


def main(directory: Path) -> None:
    for name, port in PORTS.items():
        host = f"swift-{name}"
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
        # The same rings from every build: the builder would draw an id, and remember when it moved
        # partitions.
        builder.copy_from(
            {**builder.to_dict(), "id": uuid.uuid5(uuid.NAMESPACE_DNS, host).hex, "_last_part_moves_epoch": 0}
        )
        builder.get_ring().save(str(directory / f"{name}.ring.gz"))
        builder.save(str(directory / f"{name}.builder"))


main(Path(sys.argv[1]))
