"""Runs inside an image, with the image's Python: who runs it, whether its root is read-only, and its
configuration; as JSON."""

import glob
import json
import os
from pathlib import Path

CONFIGURATION = ("/etc/*/*.conf", "/etc/*/*.conf.d/*.conf", "/etc/*/*/*.conf", "/etc/osbox/bootstrap.toml")


def text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


paths = sorted(path for pattern in CONFIGURATION for path in glob.glob(pattern))  # noqa: PTH207 - absolute patterns
read_only = bool(os.statvfs("/").f_flag & os.ST_RDONLY)
print(json.dumps({"uid": os.getuid(), "read_only": read_only, "files": {path: text(path) for path in paths}}))
