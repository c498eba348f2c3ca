"""The provisioning network for real: links, addresses and TCP, in a network namespace of each test's own."""

import contextlib
import ctypes
import json
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from osbox import run
from osbox.engine.engine import Engine
from osbox.errors import Error, UserError
from osbox.network import connect, netlink
from osbox.network import converge as net
from osbox.network.plan import plan
from osbox.network.values import Change, Wish
from osbox.site.ledger import Entry, ledger
from osbox.site.site import Paths, Site

SITE = Site.model_validate(
    {"name": "nettest", "bridge": "nt-prov", "veth": ("nt0", "nt1"), "subnet": "10.29.78.0/24"}
)
CLONE_NEWNET = 0x40000000
needs_root = pytest.mark.root  # makes network namespaces


class Iptables:
    """An iptables of memory: -S, -I, -D on two tables, spelled as the real one spells."""

    def __init__(self) -> None:
        self.rules: dict[str, list[str]] = {
            "filter": ["-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN"],
            "nat": ["-A POSTROUTING -j OTHERS"],
        }

    def __call__(self, words: Sequence[str]) -> run.Result:
        table, verb, rest = words[1], words[2], " ".join(words[3:])
        match verb:
            case "-S":
                return run.Result(
                    0, "\n".join(["-N DOCKER-USER"] * (table == "filter") + self.rules[table]), ""
                )
            case "-I":
                self.rules[table].insert(0, f"-A {rest}")
            case "-D":
                self.rules[table].remove(f"-A {rest}")
        return run.Result(0, "", "")


@pytest.fixture
def namespace() -> Iterator[None]:
    """A network namespace for the thread of the test; processes it starts are in there too."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"unshare(CLONE_NEWNET): {os.strerror(ctypes.get_errno())}")
        yield
        assert libc.setns(home.fileno(), CLONE_NEWNET) == 0


@pytest.fixture
def holder(namespace: None) -> Iterator[Callable[[], int]]:
    """A process with a network namespace of its own, in the role of the container; call it to replace it."""
    with contextlib.ExitStack() as stack:

        def start() -> int:
            stack.close()
            process = stack.enter_context(run.spawn(["unshare", "--net", "sleep", "300"]))
            deadline = time.monotonic() + 10
            while _namespace(process.pid) == _namespace("thread-self") and time.monotonic() < deadline:
                time.sleep(0.01)
            return process.pid

        yield start


def _namespace(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


@pytest.fixture
def at(holder: Callable[[], int], tmp_path: Path) -> net.Doors:
    pid = holder()
    return net.Doors(SITE, ledger(tmp_path), "neutron-network.nettest", lambda: pid, Iptables())


def _ip(*words: str) -> str:
    return run.run(["ip", *words]).out


def _interfaces() -> str:
    """What a person would compare before and after, without counters and lifetimes."""
    return "\n".join(line.split("valid_lft")[0] for line in _ip("-o", "address").splitlines()) + _ip(
        "-br", "link"
    )


def _connect(at: net.Doors, **wish: Any) -> list[str]:
    return [str(change) for change in net.converge(at, Wish(do="connect", **wish), "test")]


def _go(at: net.Doors, do: Any) -> list[str]:
    return [str(change) for change in net.converge(at, Wish(do=do), "test")]


@needs_root
def test_connect_twice_and_remove(at: net.Doors) -> None:
    assert isinstance(at.iptables, Iptables)
    before, rules = _interfaces(), json.dumps(at.iptables.rules)
    assert _connect(at)
    assert _connect(at) == []
    assert _go(at, "bridge") == []
    state = net.observe(at)
    assert state.paired
    links = {link.name: link for link in (*state.links, *state.inside)}
    assert all(links[name].up for name in ("nt-prov", "nt0", "nt1"))
    assert links["nt-prov"].addresses == ("10.29.78.1/24",)
    assert links["nt-prov"].forward_delay == 0
    assert links["nt0"].master == "nt-prov"
    assert (links["nt0"].tx_checksum, links["nt1"].tx_checksum) == (False, False)
    assert _go(at, "disconnect")[-1] == "delete-link nt0"
    assert _go(at, "remove")
    assert _go(at, "remove") == []
    assert _interfaces() == before
    assert json.dumps(at.iptables.rules) == rules
    assert at.ledger.entries() == ()


@needs_root
def test_the_bridge_forwards_at_once_and_keeps_its_mac(at: net.Doors) -> None:
    _connect(at)
    assert "state forwarding" in run.run(["bridge", "-d", "link", "show", "dev", "nt0"]).out
    mac = "02:0b:0a:1d:4e:01"
    assert mac in _ip("-br", "link", "show", "nt-prov")
    _ip("link", "add", "low0", "address", "00:00:00:00:00:02", "type", "veth", "peer", "name", "low1")
    _ip("link", "set", "low0", "master", "nt-prov")
    assert mac in _ip("-br", "link", "show", "nt-prov")


@needs_root
def test_tcp_between_host_and_namespace(at: net.Doors) -> None:
    _connect(at)
    pid = at.holder_pid()
    run.run(["nsenter", "-t", str(pid), "-n", "ip", "address", "add", "10.29.78.9/24", "dev", "nt1"])
    with socket.create_server(("10.29.78.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as client:
                client.sendall(b"x" * 1_000_000)

        thread = threading.Thread(target=answer)
        thread.start()

        def ask() -> int:
            with (
                socket.create_connection(server.getsockname(), timeout=10) as client,
                client.makefile("rb") as stream,
            ):
                return len(stream.read())

        assert netlink.within(pid, ask) == 1_000_000
        thread.join()


@needs_root
def test_a_replaced_container_is_connected_again(at: net.Doors, holder: Callable[[], int]) -> None:
    _connect(at)
    pid = holder()
    again = net.Doors(SITE, at.ledger, at.holder, lambda: pid, at.iptables)
    assert "add-veth nt0 nt1" in _connect(again)
    assert net.observe(again).paired
    assert _connect(again) == []


@needs_root
def test_a_replaced_container_while_the_old_namespace_lives(at: net.Doors) -> None:
    _connect(at)
    with run.spawn(["unshare", "--net", "sleep", "300"]) as process:
        while _namespace(process.pid) == _namespace("thread-self"):
            time.sleep(0.01)
        again = net.Doors(SITE, at.ledger, at.holder, lambda: process.pid, at.iptables)
        assert _connect(again)[:2] == ["delete-link nt0", "add-veth nt0 nt1"]
        assert net.observe(at).inner("nt1") is None


@needs_root
def test_an_interface_is_given_back_as_it_was(at: net.Doors) -> None:
    _ip("link", "add", "phy0", "type", "veth", "peer", "name", "wire0")
    _ip("link", "set", "wire0", "up")
    _ip("link", "set", "phy0", "up")
    _ip("address", "add", "198.51.100.7/24", "dev", "phy0")
    _ip("address", "add", "198.51.100.8/24", "dev", "phy0")
    _ip("route", "add", "default", "via", "198.51.100.1", "metric", "77")
    _ip("route", "add", "203.0.113.0/24", "dev", "phy0")
    addresses, routes = _ip("-br", "-4", "address"), _ip("route")
    with pytest.raises(UserError, match="default route"):
        _connect(at, interface="phy0")
    assert "take phy0 nt-prov" in _connect(at, interface="phy0", force=True)
    assert _ip("route", "show", "default") == ""
    assert _connect(at) == []
    assert "give-back phy0" in _go(at, "remove")
    assert _ip("-br", "-4", "address") == addresses
    assert _ip("route") == routes


@needs_root
@pytest.mark.parametrize("after", ["an address", "the default route", "gone", "nothing"])
def test_up_after_a_reboot_takes_what_connect_would_take(
    at: net.Doors,
    monkeypatch: pytest.MonkeyPatch,
    paths: Paths,
    capsys: pytest.CaptureFixture[str],
    after: str,
) -> None:
    """It passed --force: an interface that had got the machine's address since was taken from it; and of one
    that was gone nothing at all was joined."""
    _ip("link", "add", "phy0", "type", "veth", "peer", "name", "wire0")
    _connect(at, interface="phy0")
    for name in ("phy0", "nt0", "nt-prov"):
        _ip("link", "delete", name)
    monkeypatch.setattr(net, "_boot", lambda: "the next")
    if after != "gone":
        _ip("link", "add", "phy0", "type", "veth", "peer", "name", "wire0")
        _ip("link", "set", "phy0", "up")
    if after == "an address":
        _ip("address", "add", "198.51.100.7/24", "dev", "phy0")
    if after == "the default route":
        _ip("route", "add", "default", "dev", "phy0")
    paths = Paths(paths.project, at.ledger.file.parent)
    monkeypatch.setattr(net, "doors", lambda *_: at)
    planned = connect.pending(paths, SITE, Engine("host", "26"), replaced=False)
    did = connect.reconnect(paths, SITE, Engine("host", "26"))
    assert [change.text for change in did] == planned
    state = net.observe(at)
    assert state.paired
    assert ("phy0" in {port.name for port in state.ports}) == (after == "nothing")
    said = capsys.readouterr().err
    assert ("phy0 was connected to nt-prov and is left out" in said) == (after != "nothing")
    assert connect.reconnect(paths, SITE, Engine("host", "26")) == []


@needs_root
@pytest.mark.parametrize("early", [True, False], ids=["before-the-act", "after-the-act"])
def test_killed_at_every_change_the_same_command_completes(
    at: net.Doors, monkeypatch: pytest.MonkeyPatch, *, early: bool
) -> None:
    _ip("link", "add", "phy0", "type", "veth", "peer", "name", "wire0")
    _ip("address", "add", "198.51.100.7/24", "dev", "phy0")
    before = _ip("-br", "-4", "address")
    connect, remove = Wish(do="connect", interface="phy0", force=True), Wish(do="remove")
    for n in range(len(plan(net.observe(at), connect))):
        for wish in (connect, remove):
            with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
                _die(patch, n, early=early)
                net.converge(at, wish, "test")
            net.converge(at, wish, "test")
            assert plan(net.observe(at), wish) == []
        assert at.ledger.entries() == ()
        assert _ip("-br", "-4", "address") == before


def _die(patch: pytest.MonkeyPatch, n: int, *, early: bool) -> None:
    """Be interrupted at the n-th act: the ledger was written, and the act itself is done or not."""
    count = iter(range(1000))

    def dying(act: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def wrapped(one: Any, other: Any) -> None:
            mine = next(count) == n
            if not (mine and early):
                act(one, other)
            if mine:
                raise KeyboardInterrupt

        return wrapped

    patch.setattr(netlink, "act", dying(netlink.act))
    patch.setattr(net, "_change_rule", dying(net._change_rule))


@needs_root
def test_somebody_elses_things_are_left_alone(at: net.Doors) -> None:
    _ip("link", "add", "nt-prov", "type", "bridge")
    at.ledger.add(Entry(kind="mount", name="/mnt", details={"part": "engine"}))
    _connect(at)
    _go(at, "remove")
    assert "nt-prov" in _ip("-br", "link")
    assert "10.29.78.1" not in _ip("-br", "address")
    assert [entry.kind for entry in at.ledger.entries()] == ["mount"]


@needs_root
def test_the_kernels_refusal_is_an_error_with_its_word(at: net.Doors) -> None:
    with pytest.raises(Error) as caught:
        netlink.act(Change(do="up", name="nowhere"), 0)
    assert "No such device" in caught.value.evidence


def test_a_rule_for_a_host_and_its_network_is_no_defect(at: net.Doors) -> None:
    """The kernel keeps `from 192.168.77.10/24` as it was written; every command ended in a traceback."""
    run.run(["ip", "rule", "add", "from", "192.168.77.10/24", "table", "100"])
    try:
        assert "192.168.77.0/24" in [str(rule.src) for rule in net.observe(at).policy]
    finally:
        run.run(["ip", "rule", "delete", "from", "192.168.77.10/24", "table", "100"])


def test_rules_are_found_by_their_mark(tmp_path: Path) -> None:
    door = Iptables()
    mine = "POSTROUTING -s 10.29.78.0/24 -o eth0 -m comment --comment osbox-nettest -j MASQUERADE"
    door(["-t", "nat", "-I", *shlex.split(mine)])
    door(["-t", "nat", "-I", *shlex.split(mine.replace("osbox-nettest", "osbox-nettest2"))])
    state = net.observe(net.Doors(SITE, ledger(tmp_path), iptables=door))
    assert state.rules == (f"nat {mine}",)
    assert state.chain


@needs_root
def test_the_second_copy_of_a_rule_goes_and_the_ledger_knows_the_first(at: net.Doors) -> None:
    """It forgot the rule with its copy: doctor told of it, and nothing removed it with the deployment."""
    assert isinstance(at.iptables, Iptables)
    _connect(at)
    known = [entry.name for entry in at.ledger.entries("firewall")]
    table, _, rule = known[0].partition(" ")
    at.iptables(["-t", table, "-I", *shlex.split(rule)])
    assert _connect(at) == [f"delete-rule {known[0]}"]
    assert [entry.name for entry in at.ledger.entries("firewall")] == known
    at.iptables(["-t", table, "-I", *shlex.split(rule)])
    _go(at, "remove")
    assert at.ledger.entries() == ()
    assert at.iptables.rules == Iptables().rules


@needs_root
def test_a_container_that_ends_between_question_and_look_does_not_run(at: net.Doors) -> None:
    """Told as a defect, FileNotFoundError, when the engine had just said its process."""
    _connect(at)
    with run.spawn(["true"]) as process:
        process.wait()
    for pid in (process.pid, os.getpid()):  # the second: its number has come to mean a process of the host
        late = net.Doors(SITE, at.ledger, at.holder, lambda pid=pid: pid, at.iptables)  # type: ignore[misc]
        state = net.observe(late)
        assert (state.pid, state.inside) == (0, ())
        with pytest.raises(UserError, match="does not run, so there is nothing to connect"):
            _connect(late)
        with pytest.raises(netlink.GoneError, match="ended meanwhile") as caught:
            netlink.within(pid, lambda: pytest.fail("not in the host's own"))
        assert caught.value.hint == "osbox up"


def test_an_engine_that_gives_no_answer_is_not_a_container_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(tmp_path, tmp_path)
    monkeypatch.setattr(
        run, "run", lambda *_, **__: run.Result(1, "[]", "Cannot connect to the Docker daemon")
    )
    with pytest.raises(Error, match="the container engine gave no answer"):
        net.doors(paths, SITE, Engine("private", "26", ("nsenter",))).holder_pid()
    tools = Engine("private", "", ("chroot",))
    assert net.doors(paths, SITE, tools).holder_pid() == 0, "dockerd has died: nothing to ask"
