"""Site options: names, types, what osbox keeps for itself, and how values are written for Compose."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from osbox.build import provenance
from osbox.cli import execute
from osbox.cloud import envfile
from osbox.cloud.options import known as options
from osbox.cloud.options.names import PROJECT_OF, Address, Known, Option, Type, allowed, refused, text
from osbox.engine import engine
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo
from osbox.errors import UserError
from osbox.images import facts
from osbox.site.load import find_paths
from osbox.site.site import Paths, Site

INTEGER, BOOLEAN, STRING = Type("integer value", min=1, max=9), Type("boolean value"), Type("string value")
KNOWN = Known(
    "nova",
    {
        (option.group, option.name): option
        for option in (
            Option("DEFAULT", "debug", BOOLEAN, "False"),
            Option("DEFAULT", "state_path", STRING, "$pybasedir"),
            Option("DEFAULT", "transport_url", STRING, secret=True),
            Option("DEFAULT", "log_levels", Type("list value", item=STRING)),
            Option("DEFAULT", "many", Type("multi valued"), multi=True),
            Option("conductor", "workers", INTEGER),
            Option("scheduler", "workers", INTEGER, old=(("DEFAULT", "scheduler_workers"),)),
            Option("neutron", "url", STRING),
        )
    },
    frozenset({"neutron"}),
)


def test_the_services_of_a_word() -> None:
    assert Address.parse("nova.DEFAULT.debug").services == (
        "nova-api",
        "nova-conductor",
        "nova-scheduler",
        "nova-compute",
    )
    assert Address.parse("nova-scheduler.DEFAULT.debug").services == ("nova-scheduler",)
    assert Address.parse("keystone.token.expiration").services == ("keystone",)
    assert Address.parse("neutron.DEFAULT.dns-domain") == Address("neutron", "DEFAULT", "dns_domain")
    assert "openvswitch" not in Address.parse("neutron.DEFAULT.debug").services
    assert Address.parse("nova.oslo_policy.enforce_scope").variable == "OS_OSLO_POLICY__ENFORCE_SCOPE"


WORDS = {
    "debug": "debug does not name an option",
    "nova.debug": "nova.debug does not name an option",
    "nova..debug": "nova..debug does not name an option",
    "nova.a.b.c": "nova.a.b.c does not name an option",
    "nvoa.DEFAULT.debug": "no project or service is called nvoa | did you mean nova?",
    "swift.DEFAULT.debug": "swift has no options to set: it does not read oslo.config",
    "mysql.mysqld.x": "mysql has no options to set",
    "openvswitch.DEFAULT.debug": "openvswitch has no options to set",
    "swift-proxy.DEFAULT.debug": "swift-proxy has no options to set",
}


@pytest.mark.parametrize(("name", "said"), WORDS.items())
def test_a_wrong_word_is_told(name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        Address.parse(name)
    assert said in f"{error.value.message} | {error.value.hint}"


NEAREST = {
    "nova.DEFAULT.debgu": "nova has no option [DEFAULT] debgu | did you mean nova.DEFAULT.debug?",
    "nova.DEFAULT.Debug": "did you mean nova.DEFAULT.debug?",
    "nova.default.debug": "did you mean nova.DEFAULT.debug?",
    "nova.DEFAULT.workers": "did you mean nova.conductor.workers or nova.scheduler.workers?",
    "nova.conducter.worker": "did you mean nova.conductor.workers?",
    "nova-scheduler.DEFAULT.scheduler_workers": "it is called nova-scheduler.scheduler.workers now",
    "nova.xyz.qqqqqqqq": "the options of nova: https://docs.openstack.org/nova/",
}


@pytest.mark.parametrize(("name", "said"), NEAREST.items())
def test_an_unknown_option_names_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        KNOWN.find(Address.parse(name))
    assert said in f"{error.value.message} | {error.value.hint}"


def test_options_of_plug_ins_and_of_named_groups_are_known() -> None:
    assert KNOWN.find(Address.parse("nova.neutron.auth_url")).name == "auth_url"
    assert KNOWN.find(Address.parse("nova.neutron.password")).secret
    with pytest.raises(UserError):
        KNOWN.find(Address.parse("nova.conductor.auth_url"))
    glance = Known(
        "glance",
        {
            ("glance_store", "swift_store_multi_tenant"): Option(
                "glance_store", "swift_store_multi_tenant", BOOLEAN
            )
        },
    )
    address = Address.parse("glance.swift.swift_store_multi_tenant")
    assert glance.find(address)
    assert address.variable == "OS_SWIFT__SWIFT_STORE_MULTI_TENANT"


TAKEN = [
    ("DEFAULT.debug", True, "true"),
    ("DEFAULT.debug", "Yes", "Yes"),
    ("conductor.workers", 3, "3"),
    ("conductor.workers", "3", "3"),
    ("DEFAULT.log_levels", ["a=INFO", "b"], "a=INFO,b"),
    ("DEFAULT.state_path", "/a b$$'\"\\", "/a b$$'\"\\"),
    ("DEFAULT.state_path", "$state_path/${conductor.workers}", "$state_path/${conductor.workers}"),
    ("DEFAULT.state_path", "", ""),
]


@pytest.mark.parametrize(("name", "value", "written"), TAKEN)
def test_a_value_that_is_taken(name: str, value: Any, written: str) -> None:
    address = Address.parse(f"nova.{name}")
    assert text(address, KNOWN.find(address), value, KNOWN) == written


REFUSED = [
    ("DEFAULT.debug", "maybe", "cannot be 'maybe': it is neither true nor false | it takes true or false"),
    ("conductor.workers", "many", "it is no whole number | it takes an integer value from 1 up to 9"),
    ("conductor.workers", 1.5, "it is no whole number"),
    ("conductor.workers", 0, "it is too small"),
    ("conductor.workers", 10, "it is too large"),
    ("conductor.workers", "", "it is no whole number"),
    ("conductor.workers", True, "it is no whole number"),
    ("conductor.workers", [1], "is no list"),
    ("DEFAULT.log_levels", ["a,b"], "cannot have a comma"),
    ("DEFAULT.many", "x", "may stand several times in a file"),
    ("DEFAULT.transport_url", "rabbit://", "is a secret"),
    ("DEFAULT.state_path", "a\0b", "it has a NUL character"),
    ("DEFAULT.state_path", "caf\udce9", "the value is not UTF-8"),
    (
        "DEFAULT.state_path",
        "$home/x",
        "$home stands for an option that nova does not have | a $ itself is written $$",
    ),
]


@pytest.mark.parametrize(("name", "value", "said"), REFUSED)
def test_a_value_that_is_refused(name: str, value: Any, said: str) -> None:
    address = Address.parse(f"nova.{name}")
    with pytest.raises(UserError) as error:
        text(address, KNOWN.find(address), value, KNOWN)
    assert said in f"{error.value.message} | {error.value.hint}"


TYPES = [
    (Type("string value", choices=("a", "B")), "a", True),
    (Type("string value", choices=("a", "B")), "b", False),
    (Type("string value", choices=("a", "B"), ignore_case=True), "b", True),
    (Type("string value", regex="^a+$"), "ab", False),
    (Type("string value", max_length=2), "abc", False),
    (Type("port value", min=0, max=65535), "65536", False),
    (Type("floating point value"), "1e3", True),
    (Type("floating point value"), "x", False),
    (Type("IP address value"), "::1", True),
    (Type("IP address value"), "1.2.3", False),
    (Type("dict value"), "a:1, b:2", True),
    (Type("dict value"), "a", False),
    (Type("list value", item=Type("string value", choices=("x", "y"))), "x, y", True),
    (Type("list value", item=INTEGER), "1,x", False),
    (Type("list value", item=INTEGER), "", True),
    (Type("unknown value"), "anything", True),
    (Type("uri value"), "http://x", True),
]


@pytest.mark.parametrize(("kind", "value", "well"), TYPES)
def test_types(kind: Type, value: str, well: bool) -> None:
    assert (refused(kind, value) == "") == well
    assert allowed(kind)


# --- read from an image
# --------------------------------------------------------------------------------

ROWS = [
    [
        {
            "group": "DEFAULT",
            "name": "debug",
            "type": {"name": "boolean value", "choices": [], "item": None},
            "multi": False,
            "secret": False,
            "default": "False",
            "old": [],
        },
        {
            "group": "DEFAULT",
            "name": "host",
            "type": {"name": "string value"},
            "multi": False,
            "secret": False,
            "default": None,
            "old": [],
        },
        {
            "group": "conductor",
            "name": "workers",
            "type": {"name": "integer value", "min": 1},
            "multi": False,
            "secret": False,
            "default": None,
            "old": [],
        },
        {
            "group": "database",
            "name": "connection",
            "type": {"name": "string value"},
            "multi": False,
            "secret": True,
            "default": None,
            "old": [],
        },
    ],
    {
        "/etc/nova/nova.conf": "[conductor]\nworkers = 1\n[neutron]\nauth_type = password\nusername = nova\n",
        "/etc/nova/nova.conf.d/00-openstack.conf": "[DEFAULT]\nlog_color = false\n",
    },
]
IMAGES = {"os-nova-api:latest": ImageInfo("sha256:1")}
ENGINE = Engine("host", "26")


@pytest.fixture
def read(home: Path) -> Paths:
    paths = find_paths()
    facts.keep(paths, "sha256:1", options.WHAT, ROWS)
    return paths


def site(**words: Any) -> Site:
    return Site(options={word.replace("_", "-"): groups for word, groups in words.items()})


def test_variables_of_services(read: Paths) -> None:
    chosen = site(
        nova_scheduler={"conductor": {"workers": 3}},
        nova={"DEFAULT": {"debug": True}, "conductor": {"workers": 2}},
    )
    found = options.of_services(read, ENGINE, chosen, IMAGES)
    assert set(found) == {name for name, project in PROJECT_OF.items() if project == "nova"}
    assert found["nova-api"] == {"OS_DEFAULT__DEBUG": "true", "OS_CONDUCTOR__WORKERS": "2"}
    assert found["nova-scheduler"]["OS_CONDUCTOR__WORKERS"] == "3", (
        "one service's own wins over its project's"
    )
    assert options.of_services(read, ENGINE, Site(), IMAGES) == {}


OWNED = {
    "nova.database.connection": "it is made from a secret",
    "nova.DEFAULT.host": "compose/stack.yaml sets it for nova-compute",
    "nova.neutron.password": "it is made from a secret",
}


@pytest.mark.parametrize(("name", "why"), OWNED.items())
def test_what_osbox_sets_itself_is_refused(read: Paths, name: str, why: str) -> None:
    with pytest.raises(UserError, match=f"{name} is not yours to set: {why}"):
        options.project(read, ENGINE, "nova", IMAGES).check(Address.parse(name), "x")


def test_where_a_value_comes_from(read: Paths) -> None:
    def now(name: str, at: Site) -> tuple[str | None, str]:
        chosen = {str(address): value for address, value in options.addresses(at)}
        found = options.project(read, ENGINE, "nova", IMAGES).setting(Address.parse(name), chosen)
        return found.value, found.source

    chosen = site(nova={"DEFAULT": {"debug": True}}, nova_api={"conductor": {"workers": 5}})
    assert now("nova.DEFAULT.debug", Site()) == ("False", "default")
    assert now("nova.DEFAULT.debug", chosen) == ("true", "site.toml (nova.DEFAULT.debug)")
    assert now("nova-api.DEFAULT.debug", chosen) == ("true", "site.toml (nova.DEFAULT.debug)")
    assert now("nova-api.conductor.workers", chosen) == ("5", "site.toml (nova-api.conductor.workers)")
    assert now("nova.conductor.workers", chosen) == ("1", "/etc/nova/nova.conf of the image")
    assert now("nova-compute.DEFAULT.host", Site()) == (
        "nova-compute",
        "compose/stack.yaml, for nova-compute",
    )
    assert now("nova.database.connection", Site()) == (
        None,
        "a secret, in /run/osbox/secrets.conf of the container",
    )


def test_an_image_that_is_not_built_is_told(read: Paths) -> None:
    with pytest.raises(UserError, match="the image os-keystone is not built, so its options are not known"):
        options.project(read, ENGINE, "keystone", IMAGES)


# --- the commands, without an engine
# --------------------------------------------------------------------------------


@pytest.fixture
def idle(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No engine runs, and none is to be started; returns site.toml."""
    monkeypatch.setattr(engine, "find", lambda *_: None)
    monkeypatch.setattr(engine, "start", lambda *_: pytest.fail("the engine was started"))
    home.mkdir(exist_ok=True)
    (home / "site.toml").write_text("[options.nova.DEFAULT]\ndebug = true\n")
    return home / "site.toml"


@pytest.mark.parametrize("words", [["set", "nova.DEFAULT.debug=false"], ["get", "nova.DEFAULT.debug"]])
def test_no_engine_is_started_to_look_at_options(
    idle: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """On a new machine one was made, for minutes, to say that the image is not built."""
    before = idle.read_text()
    assert execute(words) == 2
    assert "no engine runs, so the options of nova cannot be checked" in capsys.readouterr().err
    assert idle.read_text() == before


def test_what_is_set_is_shown_without_an_engine(idle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["get"]) == 0
    said = capsys.readouterr()
    assert "nova.DEFAULT.debug" in said.out
    assert "true" in said.out
    assert "as site.toml has them" in said.err


def test_what_is_known_of_an_image_is_checked_without_an_engine(
    idle: Path, read: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    statement = provenance.file(read, "os-nova-api:latest")
    statement.parent.mkdir(parents=True)
    facts.keep(read, f"sha256:{'1' * 64}", options.WHAT, ROWS)
    statement.write_text(json.dumps({"subject": [{"digest": {"sha256": "1" * 64}}]}))
    assert execute(["set", "nova.DEFAULT.debg=true"]) == 2
    assert "nova has no option" in capsys.readouterr().err
    assert execute(["set", "nova.conductor.workers=2"]) == 0
    assert "workers = 2" in idle.read_text()
    capsys.readouterr()
    assert execute(["get", "nova.conductor.workers"]) == 0
    assert capsys.readouterr().out == "nova.conductor.workers = 2  (site.toml (nova.conductor.workers))\n"


# --- for Compose
# --------------------------------------------------------------------------------


def test_a_file_of_variables() -> None:
    values = {"B": "it's $x", "A": "$x #y", "C": 'say "\\"', "D": "", "E": "two\nlines"}
    assert envfile.text(values) == 'A=\'$x #y\'\nB="it\'s $$x"\nC="say \\"\\\\\\""\nD=\'\'\nE="two\\nlines"\n'


AWKWARD = [
    "$HOME",
    "${HOME}",
    "$$",
    "'",
    '"',
    "\\",
    "\\'",
    "a\\",
    "'\\",
    "#",
    " a ",
    "=",
    "\t",
    "ü☝",
    "%(x)s",
    "`id`",
    "\\n'",
    "'\\x41",
    "x\ny'",
]
"""Values that Compose might take otherwise than they are; the end-to-end tests send them through Compose."""


def awkward() -> list[str]:
    """These, and some that nobody thought of; the same ones each time."""
    dice = random.Random(4)  # noqa: S311 - not for secrets
    return AWKWARD + [
        "".join(dice.choice("ab '\"\\$#{}=0nx\t%`-:\n") for _ in range(dice.randint(1, 12)))
        for _ in range(300)
    ]
