"""Users, projects, domains and roles for the suites, which name some of them literally.

They are known by their description: what an interrupted run left is found by the next one, and nothing of the
operator's is taken or removed.
"""

import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from osbox.contents import s3
from osbox.errors import UserError

if TYPE_CHECKING:
    from openstack.connection import Connection

MARK = "made by osbox judge"
DEFAULT = "Default"
PASSWORD_BYTES = 16


@dataclass(frozen=True)
class Clouds:
    """The administrator's connections: within the project `admin`, and to the whole system."""

    project: "Connection"
    system: "Connection"


@dataclass(frozen=True)
class Person:
    """A user with roles in a project, both of a domain. system: roles in the whole system besides."""

    user: str
    project: str
    roles: tuple[str, ...]
    domain: str = DEFAULT
    system: tuple[str, ...] = ()


@dataclass(frozen=True)
class Login:
    """A person, as Keystone knows it now."""

    person: Person
    password: str
    user_id: str
    project_id: str


def make(cloud: "Connection", people: Sequence[Person]) -> dict[str, Login]:
    """All of them with new passwords, by the name of the user. Raises UserError when a name is somebody
    else's."""
    identity: Any = cloud.identity
    require_ours(cloud, people)
    domains = {name: _domain(identity, name) for name in dict.fromkeys(one.domain for one in people)}
    wanted = dict.fromkeys(role for one in people for role in (*one.roles, *one.system))
    roles = {name: _role(identity, name) for name in wanted}
    logins = dict[str, Login]()
    for one in people:
        domain, password = domains[one.domain], secrets.token_urlsafe(PASSWORD_BYTES)
        project = _named(identity.projects(domain_id=domain, name=one.project), "project", one.project)
        project = project or identity.create_project(name=one.project, domain_id=domain, description=MARK)
        user = _named(identity.users(domain_id=domain, name=one.user), "user", one.user)
        if user:
            identity.update_user(user, password=password)
        else:
            user = identity.create_user(name=one.user, domain_id=domain, password=password, description=MARK)
        for role in one.roles:
            identity.assign_project_role_to_user(project, user, roles[role])
        for role in one.system:
            identity.assign_system_role_to_user(user, roles[role], "all")
        logins[one.user] = Login(one, password, user.id, project.id)
    return logins


def ec2(cloud: "Connection", login: Login, project: str = "") -> tuple[str, str]:
    """Access key and secret of a user in its own project, or in another one by its id."""
    made = s3.new_credentials(cloud.identity, login.user_id, project or login.project_id)
    return made["access"], made["secret"]


def remove(cloud: "Connection", kept: Collection[str] = ()) -> None:
    """All that bears the mark.

    kept: ids of projects that services still have something of. They stay, so that the next run finds them;
    nobody else could.
    """
    identity: Any = cloud.identity
    ours = [one for one in identity.projects() if one.description == MARK]
    holding = {one.domain_id for one in ours if one.id in kept}
    domains = [one for one in identity.domains() if one.description == MARK and one.id not in holding]
    for user in [one for one in identity.users() if one.description == MARK]:
        identity.delete_user(user, ignore_missing=True)
    for project in ours:
        if project.id not in kept:
            identity.delete_project(project, ignore_missing=True)
    for domain in domains:
        identity.update_domain(domain, is_enabled=False)
        identity.delete_domain(domain, ignore_missing=True)
    for role in [one for one in identity.roles() if one.description == MARK]:
        identity.delete_role(role, ignore_missing=True)


def left(cloud: "Connection") -> list[str]:
    """Names of what a run has left in Keystone."""
    identity: Any = cloud.identity
    kinds: Iterable[tuple[str, Any]] = (
        ("user", identity.users()),
        ("project", identity.projects()),
        ("domain", identity.domains()),
        ("role", identity.roles()),
    )
    return [f"{kind} {one.name}" for kind, found in kinds for one in found if one.description == MARK]


def require_ours(cloud: "Connection", people: Sequence[Person]) -> None:
    """Before anything is made: who is refused has nothing to tidy up."""
    identity: Any = cloud.identity
    for name in dict.fromkeys(one.domain for one in people):
        for domain in identity.domains(name=name):
            if name != DEFAULT and domain.description != MARK:
                raise taken("domain", name)
            for one in [one for one in people if one.domain == name]:
                _named(identity.projects(domain_id=domain.id, name=one.project), "project", one.project)
                _named(identity.users(domain_id=domain.id, name=one.user), "user", one.user)


def _domain(identity: Any, name: str) -> str:
    found = next(iter(identity.domains(name=name)), None)
    made = found or identity.create_domain(name=name, description=MARK, is_enabled=True)
    return str(made.id)


def _role(identity: Any, name: str) -> Any:
    return next(iter(identity.roles(name=name)), None) or identity.create_role(name=name, description=MARK)


def _named(found: Iterable[Any], kind: str, name: str) -> Any | None:
    one = next(iter(found), None)
    if one and one.description != MARK:
        raise taken(kind, name)
    return one


def taken(kind: str, name: str) -> UserError:
    return UserError(
        f"the suite needs a {kind} called {name}, and there is one that osbox did not make",
        hint=f"in a cloud of its own: osbox --name judge up; osbox openstack {kind} show {name}",
    )
