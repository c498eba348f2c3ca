"""Users, projects, domains and roles of a suite: what is made, found again, left alone, removed."""

from collections.abc import Iterator

import pytest
from openstack.connection import Connection

from osbox.errors import UserError
from osbox.judges import people, sdk, swift, tempest
from osbox.judges.people import MARK, Login, Person
from tests.judges.fakeidentity import Identity, speaking

TEAM = (
    Person("tester", "test", ("member",)),
    Person("tester2", "test", ("judge-nobody",)),
    Person("tester3", "test3", ("member",), "judge-domain"),
    Person("osbox-judge", "osbox-judge", ("admin", "member"), system=("admin",)),
)


@pytest.fixture
def keystone() -> Identity:
    """As a cloud has it: a domain, the administrator, roles."""
    made = Identity()
    default = made.put("domains", "Default")
    made.put("users", "admin", domain_id=default)
    made.put("projects", "admin", domain_id=default)
    for role in ("admin", "member", "reader"):
        made.put("roles", role)
    return made


@pytest.fixture
def cloud(keystone: Identity) -> Iterator[Connection]:
    with speaking(keystone) as connection:
        yield connection


def test_all_that_is_made_bears_the_mark(keystone: Identity, cloud: Connection) -> None:
    logins = people.make(cloud, TEAM)
    assert keystone.done == [
        "make domain-judge-domain",
        "make role-judge-nobody",
        "make project-test-of-domain-Default",
        "make user-tester-of-domain-Default",
        "make user-tester2-of-domain-Default",
        "make project-test3-of-domain-judge-domain",
        "make user-tester3-of-domain-judge-domain",
        "make project-osbox-judge-of-domain-Default",
        "make user-osbox-judge-of-domain-Default",
    ]
    marked = sorted(
        one["name"] for kind in keystone.has.values() for one in kind.values() if one["description"] == MARK
    )
    ours = ["judge-domain", "judge-nobody", "osbox-judge", "osbox-judge"]
    assert marked == [*ours, "test", "test3", "tester", "tester2", "tester3"]
    assert keystone.assigned == [
        "/projects/project-test-of-domain-Default/users/user-tester-of-domain-Default/roles/role-member",
        "/projects/project-test-of-domain-Default/users/user-tester2-of-domain-Default/roles/role-judge-nobody",
        "/projects/project-test3-of-domain-judge-domain/users/user-tester3-of-domain-judge-domain/roles/role-member",
        "/projects/project-osbox-judge-of-domain-Default/users/user-osbox-judge-of-domain-Default/roles/role-admin",
        "/projects/project-osbox-judge-of-domain-Default/users/user-osbox-judge-of-domain-Default/roles/role-member",
        "/system/users/user-osbox-judge-of-domain-Default/roles/role-admin",
    ]
    assert [one.person for one in logins.values()] == list(TEAM)
    assert {one.user_id: one.password for one in logins.values()} == passwords(keystone)
    assert len(set(passwords(keystone).values())) == len(TEAM)


def passwords(keystone: Identity) -> dict[str, str]:
    """Of our users, by id."""
    return {key: one["password"] for key, one in keystone.has["users"].items() if one["description"] == MARK}


def test_who_is_there_is_found_again_with_a_new_password(keystone: Identity, cloud: Connection) -> None:
    """The former one is nowhere written down."""
    before = people.make(cloud, TEAM)
    keystone.done.clear()
    again = people.make(cloud, TEAM)
    assert keystone.done == [f"change {one.user_id}: password" for one in again.values()]
    assert [one.user_id for one in again.values()] == [one.user_id for one in before.values()]
    assert {one.user_id: one.password for one in again.values()} == passwords(keystone)
    assert not {one.password for one in again.values()} & {one.password for one in before.values()}


@pytest.mark.parametrize(
    ("kind", "name", "more"),
    [
        ("users", "osbox-judge", {"domain_id": "domain-Default"}),
        ("users", "tester", {"domain_id": "domain-Default", "description": ""}),
        ("projects", "test", {"domain_id": "domain-Default", "description": "tests of our own"}),
        ("projects", "osbox-judge", {"domain_id": "domain-Default"}),
        ("domains", "judge-domain", {}),
    ],
)
def test_names_of_somebody_else_are_refused(
    keystone: Identity, cloud: Connection, kind: str, name: str, more: dict[str, str]
) -> None:
    """And nothing is made: who was refused has nothing to tidy up."""
    keystone.put(kind, name, **more)
    with pytest.raises(UserError, match=f"needs a {kind[:-1]} called {name}, and there is one") as refused:
        people.make(cloud, TEAM)
    assert f"osbox openstack {kind[:-1]} show {name}" in refused.value.hint
    assert keystone.done == []
    assert keystone.assigned == []


def test_the_same_name_in_another_domain_is_no_hindrance(keystone: Identity, cloud: Connection) -> None:
    keystone.put("users", "tester", domain_id=keystone.put("domains", "theirs"))
    assert people.make(cloud, TEAM)["tester"].user_id == "user-tester-of-domain-Default"


def test_what_is_marked_is_removed_and_nothing_else(keystone: Identity, cloud: Connection) -> None:
    theirs = keystone.put("domains", "theirs")
    keystone.put("users", "tester", domain_id=theirs, description="made by hand")
    before = {kind: keystone.named(kind) for kind in keystone.has}
    people.make(cloud, TEAM)
    assert len(people.left(cloud)) == 9
    keystone.done.clear()
    people.remove(cloud)
    assert {kind: keystone.named(kind) for kind in keystone.has} == before
    assert people.left(cloud) == []
    at = keystone.done.index
    assert at("change domain-judge-domain: enabled") < at("remove domain-judge-domain")


def test_a_project_that_has_something_stays_for_the_next_run(keystone: Identity, cloud: Connection) -> None:
    """With its domain, in which it would go; nobody else could find what it has."""
    logins = people.make(cloud, TEAM)
    guest = next(one for one in logins.values() if one.person.domain != people.DEFAULT)
    people.remove(cloud, [guest.project_id])
    assert people.left(cloud) == [f"project {guest.person.project}", f"domain {guest.person.domain}"]
    people.remove(cloud)
    assert people.left(cloud) == []


def test_removing_what_is_not_there_changes_nothing(keystone: Identity, cloud: Connection) -> None:
    people.remove(cloud)
    assert keystone.done == []


def test_what_is_left_is_named(keystone: Identity, cloud: Connection) -> None:
    keystone.put("users", "tempest-x", domain_id="domain-Default", description=MARK)
    keystone.put("roles", "judge-nobody", description=MARK)
    assert people.left(cloud) == ["user tempest-x", "role judge-nobody"]


def test_keys_for_s3(cloud: Connection) -> None:
    login = Login(TEAM[0], "x", "user-1", "project-1")
    assert people.ec2(cloud, login) == ("key of user-1", "secret in project-1")
    assert people.ec2(cloud, login, "project-2") == ("key of user-1", "secret in project-2")


@pytest.mark.parametrize("team", [tempest.PEOPLE, swift.PEOPLE, sdk.PEOPLE])
def test_users_of_a_suite_are_known_by_their_names(team: tuple[Person, ...]) -> None:
    assert len({one.user for one in team}) == len(team)
