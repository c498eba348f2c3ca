"""Which firewall rules are ours, what is recorded and kept, and that removing files stops at a mount."""

import ipaddress
import re
import signal
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from osbox import run
from osbox.engine import engine, firewall, footprint, host, processes
from osbox.engine import root as engine_root
from osbox.engine.engine import Engine
from osbox.engine.firewall import Own
from osbox.errors import Error, UserError
from osbox.site.ledger import Entry, ledger
from osbox.site.site import STATE, Paths, Site

OWN = Own(
    frozenset({"osbox-engine", "osbox"}),
    (ipaddress.ip_network("10.29.27.0/24"), ipaddress.ip_network("10.29.28.0/24")),
)
# As `iptables-save` printed it with Docker 26.1, one network and one published port.
DOCKER = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [20:5235]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o osbox -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o osbox -j DOCKER
-A FORWARD -i osbox ! -o osbox -j ACCEPT
-A FORWARD -i osbox -o osbox -j ACCEPT
-A DOCKER -d 10.29.28.2/32 ! -i osbox -o osbox -p tcp -m tcp --dport 8080 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i osbox ! -o osbox -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o osbox -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.29.28.0/24 ! -o osbox -j MASQUERADE
-A POSTROUTING -s 10.29.28.2/32 -d 10.29.28.2/32 -p tcp -m tcp --dport 8080 -j MASQUERADE
-A DOCKER -i osbox -j RETURN
-A DOCKER -d 10.29.29.1/32 ! -i osbox -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.29.28.2:8080
-A DOCKER ! -i osbox -p tcp -m tcp --dport 8081 -j DNAT --to-destination 10.29.28.3:81
COMMIT
"""


def after(text: str, *extra: str) -> str:
    """The rules with others' added behind a line that each of these names: `LINE => NEW`."""
    for pair in extra:
        line, _, new = pair.partition(" => ")
        assert line in text
        text = text.replace(line, f"{line}\n{new}")
    return text


def simulate(text: str, commands: str) -> dict[str, firewall.Table]:
    """What `iptables-restore --noflush` makes of these commands; strict about deleting what is not there."""
    tables = {name: (dict(table.chains), list(table.rules)) for name, table in firewall.parse(text).items()}
    name = ""
    for line in commands.splitlines():
        words = line.split()
        if line.startswith("*"):
            name = line[1:]
            tables.setdefault(name, (dict.fromkeys(footprint.BUILT_IN, "ACCEPT"), []))
            continue
        chains, rules = tables[name]
        if line.startswith(":"):
            assert words[0][1:] not in chains, "it would be emptied"
            chains[words[0][1:]] = words[1]
        match words[0]:
            case "-A":
                assert words[1] in chains
                rules.append(line)
            case "-D":
                rules.remove(line.replace("-D", "-A", 1))
            case "-F":
                rules[:] = [rule for rule in rules if rule.split()[1] != words[1]]
            case "-X":
                del chains[words[1]]
                used = [rule for rule in rules if words[1] in rule.split()]
                assert not used
            case "-P":
                chains[words[1]] = words[2]
            case "-I":
                assert words[1] in chains
                rules.insert(0, line.replace("-I", "-A", 1))
    return {name: firewall.Table(chains, tuple(rules)) for name, (chains, rules) in tables.items()}


def test_nothing_is_left_of_docker_alone() -> None:
    undo = firewall.undo({}, firewall.parse(DOCKER), OWN, shared=False)
    left = simulate(DOCKER, undo.text)
    assert undo.kept == ()
    assert {name: table.rules for name, table in left.items()} == {"filter": (), "nat": ()}
    assert left["filter"].chains == {"INPUT": "ACCEPT", "FORWARD": "ACCEPT", "OUTPUT": "ACCEPT"}
    assert firewall.undo({}, left, OWN, shared=False).text == "", "done twice"


FOREIGN = {
    "a rule beside Docker's": (
        "-A FORWARD -i osbox -o osbox -j ACCEPT => -A FORWARD -i tun0 -o eth0 -j ACCEPT"
    ),
    "one that names our bridge": (
        '-A FORWARD -i osbox -o osbox -j ACCEPT => -A FORWARD -i osbox -o tun0 -m comment --comment "a b"'
        " -j LOG"
    ),
    "a chain of one's own": ":DOCKER-USER - [0:0] => :MINE - [0:0]\n-A MINE -j ACCEPT",
    "another subnet's masquerade": (
        "-A DOCKER -i osbox -j RETURN => -A POSTROUTING -s 10.8.0.0/24 ! -o tun0 -j MASQUERADE"
    ),
    "a wider masquerade": (
        "-A DOCKER -i osbox -j RETURN => -A POSTROUTING -s 10.0.0.0/8 ! -o osbox -j MASQUERADE"
    ),
}


@pytest.mark.parametrize("extra", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_rule_survives_and_hinders_nothing(extra: str) -> None:
    text = after(DOCKER, extra)
    undo = firewall.undo({}, firewall.parse(text), OWN, shared=False)
    left = [rule for table in simulate(text, undo.text).values() for rule in table.rules]
    assert left == [line for line in extra.partition(" => ")[2].splitlines() if line.startswith("-A")]
    assert undo.kept == ()


HOLDING = {
    "in DOCKER-USER": (
        "-A FORWARD -j DOCKER-USER => -A DOCKER-USER -s 192.0.2.1/32 -j DROP",
        ("filter DOCKER-USER",),
        ("-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -s 192.0.2.1/32 -j DROP", "-A DOCKER-USER -j RETURN"),
    ),
    "a jump into it": (
        "-A FORWARD -j DOCKER-USER => -A INPUT -i eth9 -j DOCKER-USER",
        ("filter DOCKER-USER",),
        ("-A FORWARD -j DOCKER-USER", "-A INPUT -i eth9 -j DOCKER-USER", "-A DOCKER-USER -j RETURN"),
    ),
    "a stopped Docker's isolation": (
        (
            "-A FORWARD -j DOCKER-ISOLATION-STAGE-1 => -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j"
            " DOCKER-ISOLATION-STAGE-2\n-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP"
        ),
        ("filter DOCKER-ISOLATION-STAGE-1", "filter DOCKER-ISOLATION-STAGE-2"),
        (
            "-A FORWARD -j DOCKER-ISOLATION-STAGE-1",
            "-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2",
            "-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP",
            "-A DOCKER-ISOLATION-STAGE-1 -j RETURN",
            "-A DOCKER-ISOLATION-STAGE-2 -j RETURN",
        ),
    ),
}


@pytest.mark.parametrize(("extra", "kept", "left"), HOLDING.values(), ids=HOLDING)
def test_a_chain_that_others_use_stays_with_what_leads_to_it(
    extra: str, kept: tuple[str, ...], left: tuple[str, ...]
) -> None:
    text = after(DOCKER, extra)
    undo = firewall.undo({}, firewall.parse(text), OWN, shared=False)
    assert undo.kept == kept
    assert simulate(text, undo.text)["filter"].rules == left


def test_beside_another_engine_only_our_rules_go() -> None:
    undo = firewall.undo({}, firewall.parse(DOCKER), OWN, shared=True)
    left = simulate(DOCKER, undo.text)
    assert left["filter"].chains["FORWARD"] == "DROP"
    assert "DOCKER" in left["filter"].chains
    assert not re.search("osbox|10.29", " ".join(rule for table in left.values() for rule in table.rules))
    assert "-A FORWARD -j DOCKER-USER" in left["filter"].rules


def test_a_port_of_another_engine_in_a_subnet_of_ours_stays() -> None:
    theirs = "-A DOCKER ! -i br-theirs -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.29.28.9:80"
    text = after(DOCKER, f"-A DOCKER -i osbox -j RETURN => {theirs}")
    assert (
        theirs in simulate(text, firewall.undo({}, firewall.parse(text), OWN, shared=True).text)["nat"].rules
    )


def test_what_was_there_before_stays() -> None:
    before = {"filter": {"FORWARD": "DROP", "DOCKER": "-", "DOCKER-USER": "-"}}
    left = simulate(DOCKER, firewall.undo(before, firewall.parse(DOCKER), OWN, shared=False).text)["filter"]
    assert left.chains == {
        "INPUT": "ACCEPT",
        "FORWARD": "DROP",
        "OUTPUT": "ACCEPT",
        "DOCKER": "-",
        "DOCKER-USER": "-",
    }
    assert left.rules == ("-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN")


def test_what_a_starting_dockerd_swept_away_is_given_back() -> None:
    other = DOCKER.replace("osbox", "docker0").replace("10.29.28", "172.17.0")
    swept = "\n".join(
        line for line in other.splitlines() if not (line.startswith("-A DOCKER") and "docker0" in line)
    )
    commands = firewall.lost(firewall.parse(other), firewall.parse(swept))
    left = simulate(swept, commands)
    for name, table in firewall.parse(other).items():
        assert [rule for rule in left[name].rules if rule.startswith("-A DOCKER ")] == [
            r for r in table.rules if r.startswith("-A DOCKER ")
        ]
        assert set(left[name].rules) == set(table.rules)
    assert firewall.lost(left, firewall.parse(other)) == ""


def test_a_record_of_an_earlier_boot_or_namespace_is_void(paths: Paths) -> None:
    book = ledger(paths.home)
    assert not footprint._valid(None)
    footprint._note(book, "sysctl", "engine", {"values": {}})
    assert footprint._valid(book.find("sysctl", "engine"))
    for key in ("boot", "netns"):
        details = {**footprint._where(), key: "another", "part": "engine"}
        assert not footprint._valid(Entry(kind="sysctl", name="engine", details=details))


def test_undo_without_a_record_touches_nothing(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        run, "run", lambda argv, **_: run.Result(0, "[]", "") if argv[0] == "ip" else pytest.fail(str(argv))
    )
    book = ledger(paths.home)
    book.add(
        Entry(
            kind="firewall",
            name="engine",
            details={"part": "engine", "boot": "long ago", "netns": "", "chains": {}, "tables": []},
        )
    )
    book.add(Entry(kind="link", name="theirs", details={"part": "net"}))
    assert footprint.undo(paths, Site()) == []
    assert [entry.name for entry in book.entries()] == ["theirs"]


def test_only_what_osbox_puts_into_its_directory_is_removed(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("artifacts/x", "engine/data/y", "thesis/chapter1"):
        (paths.home / name).parent.mkdir(parents=True)
        (paths.home / name).touch()
    (paths.home / "site.toml").touch()
    engine.remove_files(paths, keep_images=True)
    assert sorted(entry.name for entry in paths.home.iterdir()) == [
        "artifacts",
        "engine",
        "site.toml",
        "thesis",
    ]
    engine.remove_files(paths)
    assert [entry.name for entry in paths.home.iterdir()] == ["thesis"]
    assert "thesis" in capsys.readouterr().err


def test_an_engine_beside_the_rest_of_another_goes(paths: Paths) -> None:
    """A purge was killed, and an engine was made since. Seen: FileNotFoundError, and secrets were left."""
    for name in ("engine/data/new", "engine.gone/data/old", "secrets/admin-password"):
        (paths.home / name).parent.mkdir(parents=True)
        (paths.home / name).touch()
    engine.remove_files(paths)
    assert not paths.home.exists()


def test_what_goes_by_itself_meanwhile_hinders_nothing(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.secrets.mkdir(parents=True)
    entries = [paths.home / "ledger.json.new", paths.tmp, paths.secrets]
    real = Path.iterdir
    monkeypatch.setattr(
        Path, "iterdir", lambda at: iter(entries) if at == paths.home and entries else real(at)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_remove_home", lambda _: None)
        engine.remove_files(paths)
    assert not paths.secrets.exists()


def test_no_engine_starts_while_one_is_purged(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """dockerd was started between the undo and the removal of its files; who waits makes a new engine."""
    monkeypatch.setattr(engine, "require_root", lambda: None)
    monkeypatch.setattr(engine, "find", lambda *_: None)
    monkeypatch.setattr(host, "refuse_beside_old", lambda: None)
    log, real = list[object](), engine._remove
    monkeypatch.setattr(engine, "_start_private", lambda at, _: log.append((at.engine / "data").exists()))
    (paths.engine / "data").mkdir(parents=True)
    paths.secrets.mkdir()
    second = Thread(target=engine.start, args=(paths, Site(engine="private")))

    def undo(*_: object) -> list[str]:
        second.start()
        time.sleep(0.2)
        log.append("undone")
        return []

    def remove(place: Path) -> None:
        time.sleep(0.2)
        log.append(place.name)
        real(place)

    monkeypatch.setattr(footprint, "undo", undo)
    monkeypatch.setattr(engine, "_remove", remove)
    engine.purge(paths, Site(engine="private"))
    second.join(10)
    assert log == ["undone", "secrets", "engine.gone", False]
    assert [entry.name for entry in paths.home.iterdir()] == ["engine"]


def test_a_stop_that_waited_for_a_purge_makes_nothing(paths: Paths) -> None:
    (paths.engine / "data").mkdir(parents=True)
    answers = list[bool]()
    with engine._lock(paths):
        second = Thread(target=lambda: answers.append(engine.stop(paths)))
        second.start()
        time.sleep(0.2)
        engine.remove_files(paths)
    second.join(10)
    assert answers == [False]
    assert not paths.home.exists()


def test_who_works_there_meanwhile_keeps_the_directory(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.engine.mkdir(parents=True)
    engine._remove_home(paths.home)
    assert "another command has begun to work meanwhile: engine" in capsys.readouterr().err
    paths.engine.rename(paths.vulnerabilities)
    engine._remove_home(paths.home)
    assert "this stays, which osbox did not make: vulnerabilities" in capsys.readouterr().err


@pytest.mark.parametrize("keep_images", [True, False])
def test_locks_go_after_what_they_guard(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, *, keep_images: bool
) -> None:
    """Whoever comes while files are removed finds the lock, and waits."""
    for name in ("build.lock", "machine.lock", "engine", "secrets", "recipes", "tmp"):
        (paths.home / name).mkdir(parents=True)
    removed = list[str]()
    monkeypatch.setattr(engine, "_remove", lambda place: removed.append(place.name))
    monkeypatch.setattr(engine, "_remove_home", lambda _: None)
    engine.remove_files(paths, keep_images=keep_images)
    assert removed[-2:] == ["build.lock", "machine.lock"]
    if not keep_images:
        assert removed[-3] == "engine.gone", "while it is removed, no other engine is to be found half"


@pytest.mark.parametrize("others", [True, False])
def test_a_state_directory_that_is_a_link_is_emptied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, others: bool
) -> None:
    """On another disk: told as a defect, NotADirectoryError, before."""
    disk, home = tmp_path / "disk", tmp_path / "home"
    (disk / "engine" / "data").mkdir(parents=True)
    (disk / "ledger.json").touch()
    if others:
        (disk / "thesis").touch()
    home.symlink_to(disk)
    engine.remove_files(Paths(tmp_path, home))
    assert [entry.name for entry in disk.iterdir()] == ["thesis"] * others
    assert home.is_symlink()
    assert ("thesis" if others else f"{home} is a link to {disk}") in capsys.readouterr().err


def test_what_is_linked_elsewhere_is_named(
    paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows what else is there."""
    (tmp_path / "disk" / "downloads").mkdir(parents=True)
    paths.home.mkdir(parents=True)
    paths.downloads.symlink_to(tmp_path / "disk" / "downloads")
    (tmp_path / "mine.toml").touch()
    paths.site_toml.symlink_to(tmp_path / "mine.toml")
    engine.remove_files(paths)
    assert not paths.home.exists()
    assert (tmp_path / "disk" / "downloads").is_dir()
    assert (tmp_path / "mine.toml").exists()
    said = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path}/disk/downloads" in said.replace(" ", "")
    assert f"{tmp_path}/mine.toml" in said.replace(" ", "")


SHOWN = sorted(name for name, item in STATE.items() if item.shown)


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("running", [True, False])
def test_what_the_private_engine_would_not_see_is_named(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, running: bool
) -> None:
    """A link that leads out of the state directory leads nowhere in there; builds failed with other words."""
    private = Engine("private", "26", ("nsenter",))
    monkeypatch.setattr(engine, "find", lambda *_: private if running else None)
    monkeypatch.setattr(engine, "require_root", lambda: None)
    monkeypatch.setattr(host, "refuse_beside_old", lambda: None)
    monkeypatch.setattr(engine, "_start_private", lambda *_: private)
    (tmp_path / "disk").mkdir()
    paths.home.mkdir()
    (paths.home / name).symlink_to(tmp_path / "disk")
    with pytest.raises(
        UserError, match=r"is a link to .*/disk, and the private engine sees nothing"
    ) as caught:
        engine.start(paths, Site(engine="private"))
    assert caught.value.hint == f"rm {paths.home / name} && mv {tmp_path}/disk {paths.home / name}"
    assert not (tmp_path / "disk" / "lock").exists()


def test_other_links_and_other_engines_are_as_they_were(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Engine("private", "26", ("nsenter",)), Engine("host", "28")]
    monkeypatch.setattr(engine, "find", lambda *_: found[0])
    (tmp_path / "disk").mkdir()
    tmp_path.joinpath("home").symlink_to(tmp_path / "disk")
    paths.downloads.symlink_to(tmp_path)
    paths.recipes.symlink_to(paths.home / "mine")
    assert engine.start(paths, Site()) == found[0]
    paths.secrets.symlink_to(tmp_path)
    found.pop(0)
    assert engine.start(paths, Site()).kind == "host"


def test_a_mount_below_a_link_is_seen(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk" / "engine" / "root" / "proc").mkdir(parents=True)
    paths.home.symlink_to(tmp_path / "disk")
    monkeypatch.setattr(
        engine_root, "_mount_points", lambda: [tmp_path / "disk" / "engine" / "root" / "proc"]
    )
    with pytest.raises(Error, match="something is mounted in it"):
        engine.remove_files(paths)
    assert (paths.engine / "root" / "proc").is_dir()


FAILURES = {
    "disk full": (
        "Get:1 x\nE: Write error - write (28: No space left on device)\nE: mmdebstrap failed to run",
        "the disk under .* is full",
    ),
    "disk too small": (
        "E: You don't have enough free space in /x/var/cache/apt/archives/.",
        "the disk under .* is full",
    ),
    "no mirror": (
        "Err:1 x\nE: Failed to fetch http://x/InRelease  Could not connect\nE: apt-get update failed",
        "packages could not be had",
    ),
    "anything else": ("E: mmdebstrap: no such suite", "perl failed with exit code 25"),
}


@pytest.mark.parametrize(("said", "message"), FAILURES.values(), ids=FAILURES)
def test_a_root_that_cannot_be_made_says_why(said: str, message: str, paths: Paths) -> None:
    error = engine_root._why(paths, ["perl"], run.Result(25, "", said))
    assert re.search(message, error.message)
    assert error.evidence


@pytest.mark.root
def test_removing_files_never_crosses_into_a_mount(tmp_path: Path) -> None:
    inner, precious = tmp_path / "top/a b/mnt", tmp_path / "precious"
    inner.mkdir(parents=True)
    precious.mkdir()
    (precious / "file").touch()
    run.run(["mount", "--bind", str(precious), str(inner)])
    try:
        with pytest.raises(Error, match="mounted") as caught:
            engine_root.remove_tree(tmp_path / "top")
        assert caught.value.evidence == str(inner)
    finally:
        run.run(["umount", str(inner)])
    engine_root.remove_tree(tmp_path / "top")
    assert (precious / "file").exists()
    assert not (tmp_path / "top").exists()


def test_a_process_is_ours_by_what_it_stands_in_not_by_its_name(paths: Paths) -> None:
    """A stranger called dockerd is left alone; one on our data directory is ours from its first moment."""
    with (
        run.spawn(["bash", "-c", "exec -a dockerd sleep 60"]) as stranger,
        run.spawn(["bash", "-c", f"exec -a --data-root={paths.engine / 'data'} sleep 60"]) as own,
    ):
        while processes.name(own.pid) != "sleep" or processes.name(stranger.pid) != "sleep":
            time.sleep(0.01)
        assert processes.find(paths) == [own.pid]
        assert processes.end(paths) == 1
        assert own.wait(10) == -signal.SIGKILL
        assert stranger.poll() is None


def test_an_engine_does_not_start_on_the_bridge_of_another(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the other's interface for its own, and its purge would have removed it."""
    monkeypatch.setattr(engine_root, "ensure", lambda *_: pytest.fail("a root was made"))
    program = tmp_path / "dockerd"
    program.write_text("#!/bin/sh\nwhile :; do sleep 0.1; done\n")
    program.chmod(0o755)
    words = ["--data-root=/elsewhere/engine/data", "--bridge=osbox-test-e"]
    with run.spawn([str(program), *words]) as other:
        while processes.name(other.pid) != "dockerd":
            time.sleep(0.01)
        assert processes.on_bridge(paths, "osbox-test-e") == {other.pid: "/elsewhere/engine/data"}
        assert processes.on_bridge(paths, "osbox-test-x") == {}
        with pytest.raises(UserError, match="another engine runs on the interface osbox-test-e") as error:
            engine._start_private(paths, Site(engine_bridge="osbox-test-e"))
        assert f"pid {other.pid}, with its data in /elsewhere/engine/data" in error.value.evidence
        assert str(paths.home / "site.toml") in error.value.hint
    assert not paths.home.exists()


def test_pairs_that_a_killed_dockerd_left() -> None:
    """As `ip -json link` showed them; the other pairs are a container's, in a bridge, or by names that Docker
    does not give."""
    links: list[dict[str, Any]] = [
        {"ifname": "vetha7fc3c5", "link": "vethf4081f7"},
        {"ifname": "vethf4081f7", "link": "vetha7fc3c5"},
        {"ifname": "veth0000001", "link_index": 7},
        {"ifname": "veth0000002", "link": "veth0000003", "master": "br-1"},
        {"ifname": "veth0000003", "link": "veth0000002"},
        {"ifname": "veth-of-others", "link": "veth0000004"},
        {"ifname": "veth0000004", "link": "veth-of-others"},
        {},
    ]
    assert footprint.half_made(links) == ["vetha7fc3c5"]


def test_a_group_that_is_there_by_three_names_is_removed_once(tmp_path: Path) -> None:
    """Version 1 of control groups: `cpu` and `cpuacct` lead to `cpu,cpuacct`."""
    for hierarchy in ("cpu,cpuacct", "memory"):
        (tmp_path / hierarchy / "osbox-x" / "docker" / "c1").mkdir(parents=True)
        (tmp_path / hierarchy / "of-others").mkdir()
    for link in ("cpu", "cpuacct"):
        (tmp_path / link).symlink_to("cpu,cpuacct")
    begin = time.monotonic()
    assert footprint._remove_cgroups("osbox-x", tmp_path) == ["control group osbox-x"]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")) == [
        "cpu,cpuacct/of-others",
        "cpu/of-others",
        "cpuacct/of-others",
        "memory/of-others",
    ]
    assert time.monotonic() - begin < footprint.SETTLE_SECONDS, "what is gone is not waited for"
    assert footprint._remove_cgroups("osbox-x", tmp_path) == []


def test_a_group_that_stays_is_an_error_with_the_kernels_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "osbox-x").mkdir()
    (tmp_path / "osbox-x" / "a process").touch()
    monkeypatch.setattr(footprint, "SETTLE_SECONDS", 0.1)
    with pytest.raises(OSError, match="not empty"):
        footprint._remove_cgroups("osbox-x", tmp_path)
