"""What Ironic's tests leave behind: templates, runbooks, nodes of fake hardware.

By what was there before, for their names are like anybody's.
"""

import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osbox import answers
from osbox.judges.notes import Note

if TYPE_CHECKING:
    from openstack.connection import Connection

BEFORE = "before.json"
PAGE = 1000
"""Ironic answers no more at once (max_limit)."""
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
    Note(place / BEFORE).begin({kind: _listed(system, kind) for kind in LISTS})


def remove(system: "Connection", place: Path) -> list[str]:
    """Remove what has come since and is the tests'; returns what could not be removed.

    The note goes, too, or names what is left: nothing that is made later goes by it.
    """
    note = Note(place / BEFORE)
    if not note.file.exists():
        return []
    kept = [
        (kind, key)
        for kind in LISTS
        for key, one in _listed(system, kind).items()
        if note.has_come(kind, key) and _is_of_a_test(kind, one) and not _deleted(system, kind, key)
    ]
    note.end(kept)
    return [f"{kind}/{key}" for kind, key in kept]


def _is_of_a_test(kind: str, one: dict[str, Any]) -> bool:
    if kind == "nodes":
        return one["driver"] == "fake-hardware" and not one["name"]
    return bool(NAMES.fullmatch(str(one["name"])))


def _listed(system: "Connection", kind: str) -> dict[str, dict[str, Any]]:
    """All of a kind by the word that they are known by; none where the release does not know the kind."""
    fields = "&fields=uuid,name,driver" if kind == "nodes" else ""
    found, more = dict[str, dict[str, Any]](), ""
    while True:
        answer = system.baremetal.get(f"/{kind}?limit={PAGE}{fields}{more}", microversion=RUNBOOKS)
        if answer.status_code in UNKNOWN:
            return {}
        said = answers.read(answer, f"Ironic did not list its {kind}")
        found |= {str(one[LISTS[kind]]): one for one in said[kind]}
        if not said.get("next") or not said[kind]:
            return found
        more = f"&marker={said[kind][-1]['uuid']}"


def _deleted(system: "Connection", kind: str, key: str) -> bool:
    answer = system.baremetal.delete(f"/{kind}/{key}", microversion=RUNBOOKS)
    return answer.status_code in GONE
