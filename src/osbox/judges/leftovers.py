"""What Ironic's tests leave behind: templates, runbooks, nodes of fake hardware.

By what was there before, for their names are like anybody's.
"""

import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osbox import answers, files

if TYPE_CHECKING:
    from openstack.connection import Connection

BEFORE = "before.json"
RUNBOOKS = "1.92"
"""Ironic's first API with them (docs.openstack.org/ironic/latest/contributor/webapi-version-history.html)"""
LISTS = {"deploy_templates": "name", "runbooks": "name", "nodes": "uuid"}
"""What Ironic lists, and by which word each is known."""
NAMES = re.compile(r"CUSTOM_(\d+|TEMPLATE_\d+|TEST(_\d+)?|(DEPLOY_TEMPLATE|RUNBOOK)\d*)")
"""What the tests call templates and runbooks (ironic_tempest_plugin/tests/api, and the SDK's
functional/baremetal); others are somebody's."""
UNKNOWN = (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_ACCEPTABLE)  # to an older release
GONE = (HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND)


def note(system: "Connection", place: Path) -> None:
    """Write down what is there. What was written before a run that did not end is as it was before that.

    Raises Error when Ironic does not say.
    """
    if not (place / BEFORE).exists():
        files.write(place / BEFORE, json.dumps({kind: list(_listed(system, kind)) for kind in LISTS}))


def remove(system: "Connection", place: Path) -> list[str]:
    """Remove what has come since and is the tests'; returns what could not be removed.

    Only when nothing is left the note goes, too.
    """
    file = place / BEFORE
    if not file.exists():
        return []
    before, kept = json.loads(file.read_text()), list[str]()
    for kind in before:
        for key, one in _listed(system, kind).items():
            if key not in before[kind] and _is_of_a_test(kind, one) and not _deleted(system, kind, key):
                kept.append(f"{kind}/{key}")
    if not kept:
        file.unlink()
    return kept


def _is_of_a_test(kind: str, one: dict[str, Any]) -> bool:
    if kind == "nodes":
        return one["driver"] == "fake-hardware" and not one["name"]
    return bool(NAMES.fullmatch(str(one["name"])))


def _listed(system: "Connection", kind: str) -> dict[str, dict[str, Any]]:
    """All of a kind by the word that they are known by; none where the release does not know the kind."""
    fields = "&fields=uuid,name,driver" if kind == "nodes" else ""
    answer = system.baremetal.get(f"/{kind}?limit=1000{fields}", microversion=RUNBOOKS)
    if answer.status_code in UNKNOWN:
        return {}
    found = answers.read(answer, f"Ironic did not list its {kind}")[kind]
    return {str(one[LISTS[kind]]): one for one in found}


def _deleted(system: "Connection", kind: str, key: str) -> bool:
    answer = system.baremetal.delete(f"/{kind}/{key}", microversion=RUNBOOKS)
    return answer.status_code in GONE
