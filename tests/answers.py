"""Answers of `docker … inspect`, as Docker 26 gives them (tests/cases/docker)."""

import json
from typing import Any

from tests.conftest import PROJECT

CASES = PROJECT / "tests" / "cases" / "docker"


def answer(name: str) -> list[dict[str, Any]]:
    return list(json.loads((CASES / f"{name}.json").read_text()))
