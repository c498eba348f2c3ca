"""Text without what is for terminals only. Pure."""

import re

CONTROL = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()].|[=>c])|[\x00-\x08\x0b-\x1f\x7f]")
"""Control sequences, and control characters but tab and newline."""


def text(text: str, instead: str = "") -> str:
    """The same text with something else instead of each of them."""
    return CONTROL.sub(instead, text)
