"""The state directory of the tests that need an engine: of their own, with names and subnets of its own.

What is dear and can be made again (the engine's root, images, ramdisk, guest image) stays there for the next
run.
"""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

HOME = Path(os.environ.get("OSBOX_CHECK_HOME", "/var/lib/osbox-check"))
NAME = "check"
ADDRESS = "10.29.31.1"
LOOPBACK = "127.0.29.1"
SITE = f"""\
name = "{NAME}"
bridge = "prov-check"
veth = ["ext0-check", "ext1-check"]
subnet = "10.29.31.0/24"
control_subnet = "10.29.30.0/24"
control_bridge = "osbox-check"
engine_bridge = "osbox-check-e"
engine_subnet = "10.29.32.0/24"
loopback = "{LOOPBACK}"
engine = "private"
"""


def prepare() -> Path:
    """Have the directory, and in it the names that whatever runs there goes by."""
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "site.toml").write_text(SITE)
    return HOME
