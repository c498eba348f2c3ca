"""What a plan says of a wish and of what lives, as data; no engine needed."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from osbox.cli import execute
from osbox.cloud import applied, compose, stack
from osbox.cloud import plan as planning
from osbox.cloud.applied import Applied
from osbox.cloud.changes import Change, Live, Start, Wanted, containers, differences, networks, observed
from osbox.engine import docker, engine, rules
from osbox.engine.engine import Engine
from osbox.engine.info import ImageInfo, NetworkInfo
from osbox.errors import UserError
from osbox.images.catalogue import IMAGES
from osbox.network import connect as network
from osbox.site import secrets
from osbox.site.site import LABEL, Paths, Site
from osbox.tls import store

CONFIG = {
    "image": "os-nova-api:latest",
    "container_name": "nova-api.os-in-a-box",
    "environment": {"OSBOX_WORKERS": "1"},
    "ports": [
        {"mode": "ingress", "host_ip": "127.0.0.1", "target": 8774, "published": "8774", "protocol": "tcp"}
    ],
}


def wanted(service: str = "nova-api", **other: Any) -> Wanted:
    return Wanted(
        **{
            "service": service,
            "image": f"os-{service}:latest",
            "image_id": "sha256:1",
            "digest": "a",
            "config": CONFIG,
            **other,
        }
    )


def live(service: str = "nova-api", **other: Any) -> Live:
    fields = {
        "container": "c1",
        "state": "running",
        "started": "2026-11-23T08:00:00.5Z",
        "image_id": "sha256:1",
        "digest": "a",
    }
    return Live(**{"service": service, **fields, **other})


def plan(
    *wishes: Wanted, there: tuple[Live, ...], before: dict[str, Any] | None = None
) -> list[tuple[str, str, str]]:
    starts = {"nova-api": Start(4.2, 0)}
    found = containers(wishes, {item.service: item for item in there}, before or {}, starts)
    return [(change.name, change.action, "; ".join(change.reasons)) for change in found]


def test_a_network_with_another_subnet_is_made_anew_with_who_is_in_it() -> None:
    def of(name: str, subnet: str) -> dict[str, Any]:
        return {"name": f"x-{name}", "ipam": {"config": [{"subnet": subnet}]}}

    file = {
        "control": of("control", "10.1.0.128/25"),
        "bus": of("bus", "10.1.0.32/27"),
        "cache": of("cache", "10.1.0.64/27"),
    }
    there = [
        NetworkInfo("x-control", ("10.1.0.0/24",), bridge="x"),
        # Of an engine with IPv6 on by default.
        NetworkInfo("x-bus", ("10.1.0.32/27", "fd00:1::/64"), bridge="x-mq"),
        NetworkInfo("theirs", ("10.9.0.0/24",)),
    ]
    changes, anew = networks(file, there)
    assert changes == [
        Change("network", "x-cache", "create", ("it is not there",)),
        Change("network", "x-control", "recreate", ("subnet: 10.1.0.0/24 → 10.1.0.128/25",)),
    ]
    assert anew == ["control"]
    file["bus"]["driver_opts"] = {"com.docker.network.bridge.name": "y-mq"}
    twice = [NetworkInfo(one["name"], (one["ipam"]["config"][0]["subnet"],)) for one in file.values()]
    found, anew = networks(file, [*there[1:2], *twice[:1] * 2, *twice[2:]])
    assert {one.name: one.reasons for one in found} == {
        "x-bus": ("bridge: x-mq → y-mq",),
        "x-control": ("2 networks have this name",),
    }
    assert anew == ["bus", "control"]
    assert plan(wanted(moves=("control",)), there=(live(),), before={"nova-api": CONFIG}) == [
        ("nova-api", "recreate", "its network control is made anew")
    ]


GOLDEN = {
    "nothing": (wanted(), live(), CONFIG, None),
    "no container": (wanted(), None, None, ("create", "there is no container")),
    "stopped": (wanted(), live(state="exited", exit_code=137), CONFIG, ("start", "exited, exit code 137")),
    "never started": (wanted(), live(state="created"), CONFIG, ("start", "created")),
    "built anew": (
        wanted(image_id="sha256:2"),
        live(),
        CONFIG,
        ("recreate", "os-nova-api:latest was built anew"),
    ),
    "another version": (
        wanted(
            image="os-nova-api:1.0",
            image_id="sha256:2",
            digest="b",
            config={**CONFIG, "image": "os-nova-api:1.0"},
        ),
        live(),
        CONFIG,
        ("recreate", "image: os-nova-api:latest → os-nova-api:1.0"),
    ),
    "an option": (
        wanted(
            digest="b", config={**CONFIG, "environment": {"OSBOX_WORKERS": "1", "OS_DEFAULT__DEBUG": "true"}}
        ),
        live(),
        CONFIG,
        ("recreate", "option [DEFAULT] debug: not set → true"),
    ),
    "a port": (
        wanted(digest="b", config={**CONFIG, "ports": []}),
        live(),
        CONFIG,
        ("recreate", "ports: without 127.0.0.1:8774:8774"),
    ),
    "nobody knows why": (
        wanted(digest="b"),
        live(),
        None,
        ("recreate", "its settings are not those it was started with"),
    ),
    "started by hand with other settings": (
        wanted(digest="b"),
        live(),
        CONFIG,
        ("recreate", "its settings are not those it was started with"),
    ),
    "stopped, and to be replaced": (
        wanted(digest="b"),
        live(state="exited"),
        None,
        ("recreate", "its settings are not those it was started with"),
    ),
}


@pytest.mark.parametrize(("wish", "here", "before", "expected"), GOLDEN.values(), ids=GOLDEN.keys())
def test_a_container(wish: Wanted, here: Live | None, before: Any, expected: tuple[str, str] | None) -> None:
    found = plan(wish, there=(here,) if here else (), before={"nova-api": before} if before else None)
    assert found == ([("nova-api", *expected)] if expected else [])


def test_an_orphan_is_removed() -> None:
    assert plan(wanted(), there=(live(), live("old"))) == [
        ("old", "remove", "no service of the Compose files has this container")
    ]


OWNER = wanted("neutron-network")
FOLLOWER = wanted("openvswitch", follows="neutron-network")
SHARING = {
    "all is well": (live("neutron-network"), live("openvswitch", started="2026-11-23T08:00:00.51Z"), []),
    "the same moment but for zeros": (
        live("neutron-network", started="2026-11-23T08:00:00.51Z"),
        live("openvswitch", started="2026-11-23T08:00:00.513Z"),
        [],
    ),
    "the owner is gone": (None, live("openvswitch"), ["neutron-network create", "openvswitch recreate"]),
    "the owner is replaced": (
        live("neutron-network", digest="b"),
        live("openvswitch"),
        ["neutron-network recreate", "openvswitch recreate"],
    ),
    "the owner stopped": (
        live("neutron-network", state="exited"),
        live("openvswitch"),
        ["neutron-network start", "openvswitch restart"],
    ),
    "both stopped": (
        live("neutron-network", state="exited"),
        live("openvswitch", state="exited"),
        ["neutron-network start", "openvswitch start"],
    ),
    "the owner was started again": (
        live("neutron-network", started="2026-11-23T08:00:01Z"),
        live("openvswitch"),
        ["openvswitch restart"],
    ),
}


@pytest.mark.parametrize(("owner", "follower", "expected"), SHARING.values(), ids=SHARING.keys())
def test_who_shares_a_network_goes_with_it(owner: Live | None, follower: Live, expected: list[str]) -> None:
    found = plan(FOLLOWER, OWNER, there=tuple(item for item in (owner, follower) if item))
    assert [f"{name} {action}" for name, action, _ in found] == expected


def test_the_outage_is_what_was_measured() -> None:
    [change] = containers([wanted(digest="b")], {"nova-api": live()}, {}, {"nova-api": Start(4.2, 0)})
    assert change.outage == Start(4.2, 0)
    [change] = containers([wanted()], {"nova-api": live(state="exited")}, {}, {"nova-api": Start(4.2, 0)})
    assert change.outage is None, "what does not answer now has no outage to come"


def test_differences_name_fields_and_hide_secrets() -> None:
    old = {
        "environment": {"OS_LDAP__PASSWORD": "one", "A": "$$x", "OS_OSLO_CACHE__TTL": "1"},
        "read_only": True,
        "depends_on": {"x": 1},
    }
    new = {"environment": {"OS_LDAP__PASSWORD": "two", "A": ""}, "read_only": False, "tmpfs": ["/tmp"]}
    assert list(differences(old, new)) == [
        'variable A: $x → ""',
        "option [ldap] password: (not shown) → (not shown)",
        "option [oslo_cache] ttl: 1 → not set",
        "read_only: True → False",
        "tmpfs: with /tmp",
    ]


def test_what_is_observed_has_the_words_of_a_plan() -> None:
    before = {
        item.service: item for item in (live("a"), live("b"), live("c"), live("d", state="exited"), live("e"))
    }
    after = {
        item.service: item
        for item in (
            live("a"),
            live("b", container="c2"),
            live("c", started="later"),
            live("d", started="later"),
            live("f"),
        )
    }
    assert observed(before, after) == [
        Change("container", "b", "recreate"),
        Change("container", "c", "restart"),
        Change("container", "d", "start"),
        Change("container", "e", "remove"),
        Change("container", "f", "create"),
    ]


def test_what_was_applied_is_read_back(paths: Paths) -> None:
    paths.home.mkdir()
    assert applied.read(paths) == Applied()
    applied.write(paths, Applied({"nova-api": CONFIG}, {"nova-api": Start(4.2, 1)}))
    assert applied.read(paths) == Applied({"nova-api": CONFIG}, {"nova-api": Start(4.2, 1)})
    assert (paths.applied).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", json.dumps({"format": 0}), json.dumps({"format": 1, "services": {}, "starts": {"a": 1}})],
)
def test_a_record_that_cannot_be_read_is_no_record(paths: Paths, text: str) -> None:
    paths.home.mkdir()
    Path(paths.applied).write_text(text)
    assert applied.read(paths) == Applied()


# --- read from the system
# --------------------------------------------------------------------------------

ENGINE = Engine("host", "26")


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, paths: Paths) -> Paths:
    """A machine with all images, one service, and nothing of a cloud."""
    entries = {
        image.tag("latest"): ImageInfo(f"sha256:{number}", (image.tag("latest"),))
        for number, image in enumerate(IMAGES)
    }
    model = {
        "services": {"nova-api": CONFIG},
        "networks": {"control": {"name": "x-control", "ipam": {"config": [{"subnet": "10.29.28.128/25"}]}}},
        "volumes": {"mysql-data": {"name": "mysql-data"}},
    }
    monkeypatch.setattr(docker, "images", lambda *_: entries)
    monkeypatch.setattr(docker, "containers", lambda *_: [])
    monkeypatch.setattr(docker, "ids", lambda *_: [])
    monkeypatch.setattr(docker, "networks", lambda *_: ())
    monkeypatch.setattr(compose, "render", lambda *_, **__: model)
    monkeypatch.setattr(compose, "digests", lambda *_: {"nova-api": "a"})
    return paths


def test_an_empty_machine_is_planned_and_nothing_is_written(system: Paths) -> None:
    found = planning.read(system, Site(), ENGINE, "latest")
    assert {(change.kind, change.name, change.action) for change in found.changes} == {
        ("container", "nova-api", "create"),
        ("network", "x-control", "create"),
        ("volume", "mysql-data", "create"),
        ("certificate", "of the entrance", "create"),
        ("file", "stack.env", "write"),
        *(("secret", name, "create") for name in (*secrets.NAMES, *secrets.OWN)),
    }
    assert not system.home.exists()


@pytest.mark.parametrize("former", ["OSBOX_TAG_MYSQL=one\n", "OSBOX_VERSION=one\n"])
@pytest.mark.parametrize(
    ("other", "tag"),
    [
        ({}, "one"),
        ({"config": '{"Labels": {"io.osbox.inputs": "x"}, "Image": "sha256:2"}', "created": "today"}, "one"),
        ({"layers": ("sha256:y",)}, "two"),
        ({"config": '{"StopSignal": "SIGKILL"}'}, "two"),
        (None, "two"),
    ],
)
def test_what_no_release_changes_keeps_its_tag_while_the_image_is_the_same(
    system: Paths, monkeypatch: pytest.MonkeyPatch, former: str, other: dict[str, Any] | None, tag: str
) -> None:
    """MariaDB, the entrance and the rack were replaced with every version, and nodes lost their power."""
    image = ImageInfo("sha256:1", layers=("sha256:x",), config="{}")
    there = {found.tag("two"): image for found in IMAGES}
    if other is not None:
        there["os-mysql:one"] = replace(image, id="sha256:2", **other)
    monkeypatch.setattr(docker, "images", lambda _, *tags: {one: there[one] for one in tags if one in there})
    system.home.mkdir(parents=True)
    system.stack_env.write_text(former)
    text = planning.read(system, Site(), ENGINE, "two").files[system.stack_env]
    assert f"OSBOX_TAG_MYSQL={tag}\n" in text
    assert "OSBOX_VERSION=two\n" in text


def test_a_strangers_container_in_a_network_that_is_made_anew_is_told_first(
    system: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of ours were removed, then the network could not be, and so again each time."""
    members = ("nova-api.os-in-a-box", "theirs")
    old = NetworkInfo("x-control", ("10.29.28.0/24",), {LABEL: "os-in-a-box"}, containers=members)
    monkeypatch.setattr(docker, "networks", lambda *_: (old,))
    monkeypatch.setattr(docker, "ids", lambda _, kind, *__: [*members[:1]] if kind == "container" else [])
    with pytest.raises(UserError, match="x-control has to be made anew") as error:
        planning.read(system, Site(), ENGINE, "latest")
    assert error.value.evidence == "theirs"
    assert error.value.hint == "osbox engine shell -- docker network disconnect x-control theirs"


@pytest.mark.usefixtures("own_user")
def test_a_certificate_that_ends_is_planned(system: Paths) -> None:
    ours = Site()

    def planned(site: Site = ours) -> list[tuple[str, str]]:
        changes = planning.read(system, site, ENGINE, "latest").changes
        return [(one.action, one.reasons[0]) for one in changes if one.kind == "certificate"]

    now = datetime.now(UTC)
    assert planned() == [("create", "there is none")]
    store.ensure(system, Site(), store.names_here(Site()), now - timedelta(days=800))
    [(action, why)] = planned()
    assert action == "change"
    assert why.startswith("it ends at ")
    store.ensure(system, Site(), store.names_here(Site()), now)
    assert planned() == []
    [(action, why)] = planned(Site().model_copy(update={"loopback": IPv4Address("127.0.0.9")}))
    assert (action, "127.0.0.9" in why) == ("change", True)
    assert planned(Site(tls=False)) == []


def test_files_that_are_as_they_should_be_are_no_change(system: Paths) -> None:
    wanted = planning.read(system, Site(), ENGINE, "latest").files
    system.home.mkdir()
    compose.write(system, wanted)
    (system.home / "options").mkdir()
    (system.home / "options" / "nova-api.env").write_text("OS_DEFAULT__DEBUG='true'\n")
    files = [
        change for change in planning.read(system, Site(), ENGINE, "latest").changes if change.kind == "file"
    ]
    assert files == [
        Change("file", "options/nova-api.env", "remove", ("no option of this service is set any more",))
    ]
    compose.write(system, wanted)
    assert not list((system.home / "options").iterdir())


STRANGERS = {
    "nothing": ({}, ""),
    "a volume": ({"volume": ["mysql-data", "theirs"]}, "the volume mysql-data"),
    "a network": ({"network": ["bridge", "x-control"]}, "the network x-control"),
    "a container": ({"container": ["nova-api.os-in-a-box"]}, "the container nova-api.os-in-a-box"),
    "what the rack will need": (
        {"volume": ["rack-data"], "container": ["rack.os-in-a-box"]},
        "the container rack.os-in-a-box, the volume rack-data",
    ),
    "two": (
        {"volume": ["mysql-data"], "network": ["x-control"]},
        "the network x-control, the volume mysql-data",
    ),
    "names that only begin so": ({"volume": ["mysql-data2"], "container": ["nova-api.os-in-a-box-2"]}, ""),
}


@pytest.mark.parametrize(("there", "named"), STRANGERS.values(), ids=STRANGERS)
def test_what_others_made_under_a_name_of_ours_is_refused(
    system: Paths, monkeypatch: pytest.MonkeyPatch, there: dict[str, list[str]], named: str
) -> None:
    """A mysql-data of the machine's own Docker was mounted, and filled anew, while the plan said "create"."""
    monkeypatch.setattr(docker, "ids", lambda _, kind, *label: [] if label else there.get(kind, []))
    if not named:
        planning.read(system, Site(), ENGINE, "latest")
        return
    with pytest.raises(UserError) as caught:
        planning.read(system, Site(), ENGINE, "latest")
    assert caught.value.message.endswith(f"under names that the cloud needs: {named}")
    assert "io.osbox.deployment=os-in-a-box" in caught.value.evidence
    assert "osbox --name lab up" in caught.value.hint
    assert not system.home.exists()


def test_the_way_out_names_all_of_a_kind_with_its_command(
    system: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It named the first alone, and `docker container rm` of one that runs is refused."""
    there = {
        "volume": ["mysql-data", "rack-data"],
        "network": ["x-control"],
        "container": ["rack.os-in-a-box", "nova-api.os-in-a-box"],
    }
    monkeypatch.setattr(docker, "ids", lambda _, kind, *label: [] if label else there.get(kind, []))
    with pytest.raises(UserError) as caught:
        planning.read(system, Site(), ENGINE, "latest")
    _, _, way = caught.value.hint.partition("if nobody needs them: ")
    assert way.split(" && ") == [
        "osbox engine shell -- docker rm --force nova-api.os-in-a-box rack.os-in-a-box",
        "osbox engine shell -- docker network rm x-control",
        "osbox engine shell -- docker volume rm mysql-data rack-data",
    ]


def test_what_is_ours_is_no_stranger(system: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "ids", lambda _, kind, *label: ["mysql-data"] if kind == "volume" else [])
    assert ("volume", "mysql-data") not in {
        (change.kind, change.name) for change in planning.read(system, Site(), ENGINE, "latest").changes
    }


def test_what_was_removed_meanwhile_is_no_stranger(system: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, that an `osbox down` took away between the two questions."""
    answers = iter([["mysql-data"]])
    monkeypatch.setattr(
        docker, "ids", lambda _, kind, *label: next(answers, []) if kind == "volume" and not label else []
    )
    planning.read(system, Site(), ENGINE, "latest")


def test_images_that_are_not_built_are_told(system: Paths) -> None:
    with pytest.raises(UserError) as error:
        planning.read(system, Site(), ENGINE, "1.0")
    assert "os-keystone:1.0" in error.value.message
    assert error.value.hint == "osbox build --version 1.0"


def test_the_exit_code_says_whether_there_is_anything(
    monkeypatch: pytest.MonkeyPatch, system: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = (
        Change("container", "nova-api", "recreate", ("option [x] y: 1 → 2",), Start(4.2, 3)),
        Change("container", "mysql", "recreate"),
    )
    monkeypatch.setattr(engine, "find", lambda *_: ENGINE)
    monkeypatch.setattr(rules, "swept", lambda *_: False)
    monkeypatch.setattr(docker, "networks", lambda *_: ())
    monkeypatch.setattr(network, "pending", lambda *_, **__: [])
    monkeypatch.setattr(stack, "plan", lambda *_: planning.Plan(changes, {}, {}, {}, rack=False))
    assert execute(["plan"]) == 2
    said = capsys.readouterr().out
    assert "4.2 s last time, with 3 others" in said
    assert "unknown" in said
    assert "option [x] y: 1 → 2" in said
    assert execute(["up", "--plan", "--json"]) == 2, "no such option"
    monkeypatch.setattr(stack, "plan", lambda *_: planning.Plan((), {}, {}, {}, rack=False))
    capsys.readouterr()
    assert execute(["up", "--plan"]) == 0
    assert "Nothing to change" in capsys.readouterr().out


def test_without_an_engine_the_plan_is_to_start_one(
    monkeypatch: pytest.MonkeyPatch, system: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "find", lambda *_: None)
    assert execute(["plan", "--json"]) == 2
    [change] = json.loads(capsys.readouterr().out)["changes"]
    assert (change["kind"], change["action"]) == ("engine", "start")
    assert not system.home.exists()
