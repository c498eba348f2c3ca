"""Docker's rules, put back after somebody flushed them while dockerd lived."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from osbox import run, waiting
from osbox.engine import firewall, footprint, host, processes, rules
from osbox.engine.engine import Engine
from osbox.engine.firewall import Table
from osbox.errors import Error
from osbox.site.site import Paths, Site
from tests.engine.test_footprint import DOCKER, OWN, simulate

BRIDGES = {"osbox", "osbox-engine", "lo", "eth0"}
PUBLISHED = {("tcp", "10.29.29.1", "8080"): "10.29.28.2", ("tcp", "0.0.0.0", "8081"): "10.29.28.3"}
MINE = "-A DOCKER-USER -s 192.0.2.1/32 -j DROP"


def emptied(text: str, *tables: str) -> str:
    """As after `iptables -t TABLE -F`: chains stay, rules go."""
    name, kept = "", []
    for line in text.splitlines():
        name = line[1:] if line.startswith("*") else name
        if not (line.startswith("-A") and name in tables):
            kept.append(line)
    return "\n".join(kept)


def without(text: str, *tables: str) -> str:
    """As after `nft delete table ip TABLE`."""
    return "".join(
        f"*{part}" for part in text.split("*")[1:] if not any(part.startswith(name) for name in tables)
    )


def of_chains(tables: dict[str, Table]) -> dict[str, list[str]]:
    """The rules of each chain, in their order: between chains there is none."""
    found: dict[str, list[str]] = {}
    for name, table in tables.items():
        for rule in table.rules:
            found.setdefault(f"{name} {rule.split()[1]}", []).append(rule)
    return found


KEPT = firewall.dockers(firewall.parse(DOCKER), OWN)
FLUSHES = {
    "nft flush ruleset": "",
    "iptables -F": emptied(DOCKER, "filter"),
    "iptables -t nat -F": emptied(DOCKER, "nat"),
    "both": emptied(DOCKER, "filter", "nat"),
    "the filter's table": without(DOCKER, "filter"),
    "the jump to it alone": DOCKER.replace("-A FORWARD -j DOCKER-USER\n", ""),
    "a neighbour's dockerd that started": "\n".join(
        line for line in DOCKER.splitlines() if not (line.startswith("-A") and "osbox" in line)
    ),
}


@pytest.mark.parametrize("text", FLUSHES.values(), ids=FLUSHES)
def test_after_a_flush_everything_of_docker_is_as_it_was(text: str) -> None:
    now = firewall.parse(text)
    assert firewall.swept(KEPT, now, BRIDGES)
    back = simulate(text, firewall.restore(KEPT, now, BRIDGES, PUBLISHED))
    assert of_chains(back) == of_chains(firewall.parse(DOCKER))
    assert not firewall.swept(KEPT, back, BRIDGES)
    assert firewall.restore(KEPT, back, BRIDGES, PUBLISHED) == "", "done twice"


def test_all_of_docker_alone_is_kept() -> None:
    assert of_chains(KEPT) == of_chains(firewall.parse(DOCKER))
    assert {name: set(table.chains) for name, table in KEPT.items()} == {
        "filter": {"DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "DOCKER-USER"},
        "nat": {"DOCKER"},
    }


def test_what_others_have_there_is_not_kept() -> None:
    """Whoever flushed their rules meant it, or puts them back."""
    others = [
        MINE,
        "-A FORWARD -i tun0 -o eth0 -j ACCEPT",
        "-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
        "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
    ]
    text = DOCKER.replace(
        "-A FORWARD -j DOCKER-USER\n", "\n".join(["-A FORWARD -j DOCKER-USER", *others, ""])
    )
    assert firewall.dockers(firewall.parse(text), OWN) == KEPT


def test_what_others_have_put_there_meanwhile_stays() -> None:
    text = emptied(DOCKER, "filter", "nat").replace(
        "COMMIT", f"{MINE}\n-A FORWARD -i tun0 -j ACCEPT\nCOMMIT", 1
    )
    back = of_chains(simulate(text, firewall.restore(KEPT, firewall.parse(text), BRIDGES, PUBLISHED)))
    assert back["filter DOCKER-USER"] == [MINE, "-A DOCKER-USER -j RETURN"], "not behind a RETURN"
    assert back["filter FORWARD"][0] == "-A FORWARD -j DOCKER-USER"
    assert back["filter FORWARD"][-1] == "-A FORWARD -i tun0 -j ACCEPT"


def test_a_policy_is_whose_who_flushed() -> None:
    assert "FORWARD DROP" not in firewall.restore(KEPT, {}, BRIDGES, PUBLISHED)


CHANGED = {
    "nothing": DOCKER,
    "a container went, with its rules": "\n".join(
        line for line in DOCKER.splitlines() if "10.29.28.2/32" not in line and "10.29.28.2:" not in line
    ),
    "somebody's rules came": DOCKER.replace("-A DOCKER-USER -j RETURN", f"{MINE}\n-A DOCKER-USER -j RETURN"),
}


@pytest.mark.parametrize("text", CHANGED.values(), ids=CHANGED)
def test_what_changes_in_peace_is_no_flush(text: str) -> None:
    assert not firewall.swept(KEPT, firewall.parse(text), BRIDGES)


def test_a_network_that_was_removed_is_no_flush_and_does_not_come_back() -> None:
    text = "\n".join(line for line in DOCKER.splitlines() if not (line.startswith("-A") and "osbox" in line))
    assert not firewall.swept(KEPT, firewall.parse(text), {"lo"})
    assert "osbox" not in firewall.restore(KEPT, {}, {"lo"}, PUBLISHED)


def test_a_container_that_has_another_address_by_now_gets_its_rules_with_that() -> None:
    """It was started again between `osbox up` and the flush."""
    published = {**PUBLISHED, ("tcp", "10.29.29.1", "8080"): "10.29.28.7"}
    back = simulate("", firewall.restore(KEPT, {}, BRIDGES, published))
    moved = DOCKER.replace("10.29.28.2/32", "10.29.28.7/32").replace("10.29.28.2:8080", "10.29.28.7:8080")
    assert of_chains(back) == of_chains(firewall.parse(moved))


def test_a_port_that_is_not_published_any_more_stays_away() -> None:
    back = simulate("", firewall.restore(KEPT, {}, BRIDGES, {}))
    assert not [
        rule for table in back.values() for rule in table.rules if "10.29.28.2" in rule or "DNAT" in rule
    ]
    assert "-A POSTROUTING -s 10.29.28.0/24 ! -o osbox -j MASQUERADE" in back["nat"].rules


# --- by the engine's own tools, which stand here for themselves
# --------------------------------------------------------------------------------

PRIVATE = Engine("private", "26.1", ("nsenter",), os.getpid())


class Filter:
    """A packet filter of memory."""

    def __init__(self) -> None:
        self.text, self.restored = DOCKER, 0

    def tables(self, _: Paths, family: str) -> dict[str, Table]:
        return firewall.parse(self.text) if family == "ip" else {}

    def run(self, _: Paths, *words: str, text: str | None = None) -> str:
        assert words == ("iptables-restore", "--noflush", "--wait")
        found = simulate(self.text, text or "")
        lines = list[str]()
        for name, table in found.items():
            chains = [f":{chain} {policy} [0:0]" for chain, policy in table.chains.items()]
            lines += [f"*{name}", *chains, *table.rules, "COMMIT"]
        self.text, self.restored = "\n".join(lines), self.restored + 1
        return ""


@pytest.fixture
def packets(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Filter:
    found = Filter()
    monkeypatch.setattr(footprint, "tables", found.tables)
    monkeypatch.setattr(footprint, "run_tool", found.run)
    monkeypatch.setattr(footprint, "own", lambda *_: OWN)
    monkeypatch.setattr(rules, "_interfaces", lambda: BRIDGES)
    monkeypatch.setattr(rules, "_published", lambda _: PUBLISHED)
    monkeypatch.setattr(rules, "_running", lambda _: ["c1"])
    monkeypatch.setattr(processes, "others", lambda _: [])
    paths.engine.mkdir(parents=True)
    return found


def test_osbox_up_puts_back_what_it_kept(paths: Paths, packets: Filter) -> None:
    rules.keep(paths, Site(), PRIVATE)
    assert not rules.swept(paths, PRIVATE)
    assert rules.put_back(paths, PRIVATE) == []
    packets.text = ""
    assert rules.swept(paths, PRIVATE)
    told = rules.lost(paths, PRIVATE)
    assert told
    assert told.hint == "osbox up puts them back"
    assert rules.put_back(paths, PRIVATE) == [
        "Docker's iptables rules, which somebody had flushed (policies are as they were left)"
    ]
    assert of_chains(firewall.parse(packets.text)) == of_chains(firewall.parse(DOCKER))
    assert rules.put_back(paths, PRIVATE) == []
    assert packets.restored == 1


def test_a_flush_is_not_kept(paths: Paths, packets: Filter) -> None:
    rules.keep(paths, Site(), PRIVATE)
    packets.text = ""
    rules.keep(paths, Site(), PRIVATE)
    assert rules.put_back(paths, PRIVATE)


def test_what_is_not_there_before_anything_runs_is_not_kept(
    paths: Paths, packets: Filter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush that nobody could tell would stand there as what Docker has."""
    monkeypatch.setattr(rules, "_running", lambda _: [])
    packets.text = ""
    rules.keep(paths, Site(), PRIVATE)
    assert not rules.is_kept(paths, PRIVATE)


FOREIGN: dict[str, Callable[[str], str]] = {
    "nothing was kept": lambda _: "",
    "of another dockerd": lambda text: text.replace(rules._dockerd(PRIVATE), "another 1 2"),
    "cut off": lambda text: text[:50],
    "something else": lambda _: '{"dockerd": 7}',
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_without_a_record_of_this_dockerd_it_says_what_helps(
    paths: Paths, packets: Filter, change: Callable[[str], str]
) -> None:
    rules.keep(paths, Site(), PRIVATE)
    file = paths.engine / "rules.json"
    file.write_text(change(file.read_text()))
    assert rules.put_back(paths, PRIVATE) == [], "as long as nobody flushed"
    assert rules.lost(paths, PRIVATE) is None
    packets.text = ""
    told = rules.lost(paths, PRIVATE)
    assert told
    assert told.hint.startswith("osbox engine stop"), "the doctor says what helps"
    with pytest.raises(Error, match="something flushed the packet filter") as caught:
        rules.put_back(paths, PRIVATE)
    assert caught.value.hint == "osbox engine stop (it ends every container), then osbox up"
    assert "nft flush ruleset" in caught.value.evidence


def test_an_engine_that_has_nothing_yet_is_not_taken_for_a_flushed_one(
    paths: Paths, packets: Filter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first `osbox up` of a machine."""
    monkeypatch.setattr(rules, "_running", lambda _: [])
    packets.text = ""
    assert rules.put_back(paths, PRIVATE) == []


@pytest.mark.parametrize("given_back", [True, False])
def test_a_neighbour_that_starts_is_waited_for(
    paths: Paths, packets: Filter, monkeypatch: pytest.MonkeyPatch, *, given_back: bool
) -> None:
    """Its dockerd empties Docker's chains, and who started it fills them again."""
    monkeypatch.setattr(processes, "others", lambda _: [7])
    monkeypatch.setattr(rules, "NEIGHBOUR_SECONDS", 0.3)
    monkeypatch.setattr(waiting, "happens", partial(waiting.happens, poll=0.1))
    rules.keep(paths, Site(), PRIVATE)
    looks, emptied_by = iter(range(100)), FLUSHES["a neighbour's dockerd that started"]
    real = packets.tables

    def tables(at: Paths, family: str) -> dict[str, Table]:
        packets.text = DOCKER if given_back and next(looks) > 3 else packets.text
        return real(at, family)

    packets.text = emptied_by
    monkeypatch.setattr(footprint, "tables", tables)
    assert bool(rules.put_back(paths, PRIVATE)) is not given_back


def test_the_machines_own_docker_is_left_alone(paths: Paths, packets: Filter) -> None:
    own = replace(PRIVATE, kind="host", prefix=(), pid=0)
    packets.text = ""
    rules.keep(paths, Site(), own)
    assert rules.put_back(paths, own) == []
    assert not (paths.engine / "rules.json").exists()


DAEMON = {
    "nothing said": (None, True),
    "other things": ('{"log-level": "warn"}', True),
    "iptables": ('{"iptables": false}', False),
    "nftables": ('{"firewall-backend": "nftables"}', False),
    "no JSON": ("{", True),
    "no object": ("[]", True),
}


@pytest.mark.parametrize(("text", "expected"), DAEMON.values(), ids=DAEMON)
def test_whether_the_machines_docker_writes_rules_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, *, expected: bool
) -> None:
    monkeypatch.setattr(host, "DAEMON_JSON", tmp_path / "daemon.json")
    if text is not None:
        (tmp_path / "daemon.json").write_text(text)
    assert host.manages_iptables() is expected


def test_a_dockerd_that_is_told_on_its_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "DAEMON_JSON", tmp_path / "daemon.json")
    with run.spawn(["bash", "-c", "exec -a dockerd bash -c 'read _' --iptables=false"], stdin=-1) as process:
        while b"dockerd" not in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0]:
            pass
        assert not host.manages_iptables()
