"""What the suites' projects have in Swift: once a project is gone nobody finds it, for an account has no name
but the project's id."""

from collections.abc import Collection
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from osbox import answers, waiting
from osbox.cloud import sessions
from osbox.judges import people
from osbox.judges.people import Clouds, Person
from osbox.site.site import Paths, Site

if TYPE_CHECKING:
    from keystoneauth1.session import Session

PERSON = Person("osbox-judge-sweeper", "osbox-judge-sweeper", ("ResellerAdmin",))
"""Whoever has this role may remove in all accounts. The administrator has it not, and shall not keep it when
we are killed: this user bears our mark and goes with the others."""
PREFIXES = ("AUTH", "SERVICE")
WITHIN_SECONDS = 3
PAUSE_SECONDS = 1  # a container may count an object a moment longer than that is there
DONE = (HTTPStatus.OK, HTTPStatus.NO_CONTENT)
"""Not 404: what is listed and not there any more may stay listed."""


def remove(clouds: Clouds, paths: Paths, site: Site, projects: Collection[str]) -> dict[str, list[str]]:
    """Remove all containers of the projects; returns those that are kept all the same, by the project's id.

    Raises Error when Swift does not say what there is.
    """
    login = people.make(clouds.project, (PERSON,))[PERSON.user]
    session = sessions.log_in(paths, site, PERSON.user, login.password, {"project_id": login.project_id})
    kept = {
        project: [
            f"container {name}"
            for prefix in PREFIXES
            for name in empty(session, f"{site.api(8080)}/v1/{prefix}_{project}")
        ]
        for project in projects
    }
    return {project: names for project, names in kept.items() if names}


def empty(session: "Session", account: str) -> list[str]:
    """Remove the containers of an account with all versions of what is in them; returns the names of those
    that stay."""

    def is_empty() -> bool:
        names = [one["name"] for one in _listed(session, account)]
        for name in names:
            _remove(session, f"{account}/{quote(name, safe='')}")
        return not names

    if waiting.happens(is_empty, WITHIN_SECONDS, poll=PAUSE_SECONDS):
        return []
    return [one["name"] for one in _listed(session, account)]


def _remove(session: "Session", container: str) -> None:
    # With it each removal brings an older version back, or writes one more into another container.
    session.post(container, headers={"X-Remove-Versions-Location": "all"}, raise_exc=False)
    while found := _listed(session, container, "&versions=true"):
        removed = [_deleted(session, _path(container, one)) for one in found]
        if not any(removed):
            break
    _deleted(session, container)


def _path(container: str, one: dict[str, Any]) -> str:
    """Of a version; of what was never versioned it is "null"."""
    return f"{container}/{quote(one['name'], safe='')}?version-id={one.get('version_id', 'null')}"


def _listed(session: "Session", place: str, more: str = "") -> list[dict[str, Any]]:
    """The first thousand: what is listed is removed before more is asked for."""
    answer = session.get(f"{place}?format=json&limit=1000{more}", raise_exc=False)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return []
    return answers.rows(answer, "Swift did not list what is there")


def _deleted(session: "Session", path: str) -> bool:
    return session.delete(path, raise_exc=False).status_code in DONE
