"""The state directory of the tests that need an engine: of their own, with names and subnets of its own.

What is dear and can be made again (the engine's root, images, ramdisk, guest image) stays there for the next
run. Where two lanes run side by side (tests/lanes.py), the second one has another.
"""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

LANES = "OSBOX_CHECK_LANES"
"""Set in the environment of xdist's workers when they are lanes."""
LANE = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) + 1 if os.environ.get(LANES) else 1
BASE = Path(os.environ.get("OSBOX_CHECK_HOME", "/var/lib/osbox-check"))
SUFFIX = "" if LANE == 1 else f"-{LANE}"
HOME = BASE.with_name(BASE.name + SUFFIX)
NAME = f"check{SUFFIX}"
NET = 30 + 10 * (LANE - 1)  # 10.29.30 to 10.29.32, 10.29.40 to 10.29.42
ADDRESS = f"10.29.{NET + 1}.1"
LOOPBACK = f"127.0.29.{LANE}"
APIS = f"https://{LOOPBACK}"
TRUSTED = HOME / "tls" / "trusted" / "ca.pem"
"""What the APIs there are verified by."""
SITE = f"""\
name = "{NAME}"
bridge = "prov-{NAME}"
veth = ["ext0-{NAME}", "ext1-{NAME}"]
subnet = "10.29.{NET + 1}.0/24"
control_subnet = "10.29.{NET}.0/24"
control_bridge = "osbx-{NAME}"
engine_bridge = "osbox-{NAME}-e"
engine_subnet = "10.29.{NET + 2}.0/24"
loopback = "{LOOPBACK}"
engine = "private"
"""


def prepare() -> Path:
    """Have the directory, and in it the names that whatever runs there goes by."""
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "site.toml").write_text(SITE)
    return HOME
