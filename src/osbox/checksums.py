"""SHA256SUMS, as `sha256sum` writes and reads it: a digest and a name a line. Pure."""

import re
from collections.abc import Mapping

FILE = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def render(digests: Mapping[str, str]) -> str:
    """The file's text; digests by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def parse(text: str) -> dict[str, str]:
    """Digest by name; raises ValueError for what sha256sum did not write."""
    lines = [LINE.fullmatch(line) for line in text.splitlines()]
    if not all(lines):
        raise ValueError("its checksums cannot be read")
    return {line[2]: line[1] for line in lines if line}
