"""Docker's answers as values.

tests/cases/docker has answers as Docker 26 gives them; the bare ones lack all that may be left out.
"""

from dataclasses import replace

import pytest

from osbox.engine import info
from osbox.engine.info import Binding, NetworkInfo, State
from tests.answers import answer


def test_an_image() -> None:
    found = info.image(answer("image")[0])
    assert found.id.startswith("sha256:3f45684e")
    assert found.tags == ("os-keystone:latest", "os-keystone:1.0")
    assert (found.created[:19], found.architecture, found.size) == ("2026-11-23T04:13:00", "amd64", 143489160)
    assert [one[:11] for one in found.layers] == ["sha256:2c58", "sha256:facd", "sha256:773c"]
    assert [one.split("/")[3] for one in found.directories] == [
        "vkox6xmb11rdqr4rhp1afb3zi",
        "xgxcbqv95kxduquffuniivd9w",
        "dd9d012fcc88",
    ]
    assert found.labels == {"io.osbox.inputs": "5d0da3dc976460b7", "io.osbox.release": "2026.1"}
    assert (found.user, found.entrypoint, found.cmd[0]) == ("42400", ("bootstrap",), "gunicorn")
    assert found.env[1] == "OSBOX_WSGI=keystone.wsgi.api:application"
    assert found.healthcheck == ("CMD", "bootstrap", "health")
    assert '"WorkingDir": "/var/lib/keystone"' in found.config


def test_a_bare_image() -> None:
    found = info.image(answer("image-bare")[0])
    assert found == info.ImageInfo(found.id, architecture="amd64", config="{}")
    assert info.image({**answer("image-bare")[0], "RepoTags": None, "Config": None}) == found


def test_another_storage_driver_has_no_directories() -> None:
    entry = answer("image")[0]
    assert info.image({**entry, "GraphDriver": {**entry["GraphDriver"], "Name": "btrfs"}}).directories == ()
    assert info.image({**entry, "GraphDriver": {"Name": "overlay2", "Data": None}}).directories == ()


def test_a_container() -> None:
    found = info.container(answer("container")[0])
    assert (found.id[:4], found.name, found.image) == ("36ed", "keystone.os-in-a-box", "os-keystone:latest")
    assert found.image_id == info.image(answer("image")[0]).id
    assert found.state == State(
        "running",
        running=True,
        pid=24878,
        started_at="2026-11-23T09:12:02.304529396Z",
        health="unhealthy",
        health_log=("", "no answer on port 5000\n"),
    )
    assert found.labels["com.docker.compose.service"] == "keystone"
    assert found.restart_count == 4
    assert found.ports == (
        Binding("5000/tcp", "127.0.2.1", "5000"),
        Binding("5000/tcp", "10.29.90.1", "15000"),
    )


def test_a_container_that_was_paused_is_as_its_last_check_found_it() -> None:
    entry = answer("container")[0]
    health = {**entry["State"]["Health"], "Status": "unhealthy", "FailingStreak": 0}
    state = {**entry["State"], "Health": health}
    assert info.container({**entry, "State": state}).state.health == "healthy"
    ended = {**state, "Running": False, "Status": "exited"}
    assert info.container({**entry, "State": ended}).state.health == "unhealthy"
    health["FailingStreak"] = 2
    assert info.container({**entry, "State": state}).state.health == "unhealthy"


def test_a_bare_container() -> None:
    found = info.container(answer("container-bare")[0])
    assert (found.labels, found.ports) == ({}, ())
    assert found.state == State(
        "exited", exit_code=137, oom_killed=True, started_at="2026-11-23T09:12:02.304529396Z"
    )


def test_networks() -> None:
    assert [replace(info.network(entry), id="") for entry in answer("network")] == [
        NetworkInfo(
            "os-in-a-box-control",
            ("10.29.90.0/24",),
            {"io.osbox.deployment": "os-in-a-box"},
            "br-7d86d31b1478",
        ),
        NetworkInfo("bare"),
        NetworkInfo("bridge", ("172.17.0.0/16",), {}, "docker0"),
        NetworkInfo("ingress", ("10.0.0.0/24",), {}, scope="swarm"),
    ]


def test_who_is_in_a_network() -> None:
    entry = answer("network")[0] | {"Containers": {"c1": {"Name": "mysql.x"}, "c2": {"Name": "theirs"}}}
    assert info.network(entry).containers == ("mysql.x", "theirs")


@pytest.mark.parametrize("lacking", ["Id", "RepoTags", "Config", "Size", "RootFS"])
def test_an_image_without_what_every_image_has_is_a_wrong_answer(lacking: str) -> None:
    entry = answer("image")[0]
    del entry[lacking]
    with pytest.raises(LookupError):
        info.image(entry)


@pytest.mark.parametrize("lacking", ["Id", "Name", "Image", "State", "Config", "NetworkSettings"])
def test_a_container_without_what_every_container_has_is_a_wrong_answer(lacking: str) -> None:
    entry = answer("container")[0]
    del entry[lacking]
    with pytest.raises(LookupError):
        info.container(entry)


ABSENT = {
    "image": "Error response from daemon: No such image: {}\n",
    "container": "Error response from daemon: No such container: {}\n",
    "network": "Error response from daemon: network {} not found\n",
    "image of an old client": "Error: No such image: {}\n",
    "image of no image's name": "Error response from daemon: invalid reference format: {}\n",
}


@pytest.mark.parametrize(("kind", "line"), ABSENT.items(), ids=list(ABSENT))
def test_what_is_denied_is_left_out(kind: str, line: str) -> None:
    kind = kind.split(maxsplit=1)[0]
    assert info.entries(kind, ["a", "b"], "[]\n", line.format("a") + line.format("b")) == []
    assert info.entries(kind, ["a", "b"], '[{"Id": "b"}]', "WARNING: x\n" + line.format("a")) == [{"Id": "b"}]
    assert info.entries(kind, ["a"], "", line.format("a")) == []


@pytest.mark.parametrize(
    ("out", "err"),
    [
        ("[]\n", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?\n"),
        ('[{"Id": "a"}]\n', "error during connect: Get http://docker/v1.45/images/b/json: EOF\n"),
        ("[]\n", "Error response from daemon: No such image: a\nerror during connect: EOF\n"),
        ("[]\n", "Error response from daemon: No such container: a\n" * 2),
        ("", ""),
        ("[", ""),
        ("null", ""),
        ('{"message": "page not found"}', ""),
    ],
)
def test_a_name_of_which_nothing_is_said_is_no_answer(out: str, err: str) -> None:
    with pytest.raises(ValueError, match=r"asked for 2|a list was to come|Expecting"):
        info.entries("image", ["a", "b"], out, err)
