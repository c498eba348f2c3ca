"""End to end: a whole cloud on a state directory, names and subnets of its own (tests/home.py), removed again
whatever happens."""

import difflib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from osbox import run
from osbox.engine import footprint, processes
from osbox.errors import Error
from osbox.judges import environment
from osbox.releases.release import DEFAULT
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests import lanes, namespaces
from tests.deadlines import waited
from tests.home import HOME, LANE, PROJECT, prepare

ENVIRONMENT = {"OSBOX_HOME": str(HOME), "NO_COLOR": "1", "COLUMNS": "200"}


OURS = re.compile(r"dockerd|containerd|qemu|ovs-|libvirt")
PASSING_SECONDS = 10
"""A process younger than this may be passing: health checks and what an agent asks Open vSwitch come and go
all the time."""


class Tool:
    """Runs `osbox` as a person would: the installed program, on the check's own state directory."""

    program = str(Path(sys.executable).with_name("osbox"))

    def __call__(self, *words: str, code: int = 0, timeout: float = 1800) -> str:
        """What the command printed; fails the test when its exit code is another one."""
        lanes.may_run_here()
        result = run.run([self.program, *words], env=ENVIRONMENT, check=False, timeout=timeout)
        print(f"$ osbox {' '.join(words)}\n{result.out}{result.err}")
        assert result.code == code, (
            f"osbox {' '.join(words)}: exit code {result.code}\n{result.out[-3000:]}\n{result.err[-3000:]}"
        )
        assert "Traceback" not in result.err
        return result.out + result.err

    def json(self, *words: str) -> object:
        return self.json_of(*words)

    def json_of(self, *words: str, code: int = 0, timeout: float = 300) -> object:
        """The same of a command that ends with another exit code, or takes longer."""
        result = run.run([self.program, *words, "--json"], env=ENVIRONMENT, check=False, timeout=timeout)
        assert result.code == code, f"osbox {' '.join(words)}: {result.code}\n{result.err[-3000:]}"
        return json.loads(result.out)

    def killed_after(self, line: str, *words: str, seconds: float = 1.0) -> bool:
        """Start the command and kill it (SIGKILL) some seconds after it prints a line with this text; False
        if it ended before."""
        with run.spawn([self.program, *words], stdout=-1, stderr=-2, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            for text in process.stdout:
                print(text, end="")
                if line in text:
                    time.sleep(seconds)
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    return True
            return False


@pytest.fixture(scope="session")
def osbox() -> Iterator[Tool]:
    if os.geteuid() != 0:
        pytest.skip("the end-to-end tests make namespaces, bridges and an engine: they need root")
    tool = Tool()
    lanes.have_the_host()
    with waited("removal of what an earlier run left", within=600):
        prepare()
        remove(tool)
        prepare()
    lanes.take_over()
    yield tool
    if not os.environ.get("OSBOX_CHECK_KEEP"):
        # A purge may have to start the engine: not beside the first lane, which looks at the host.
        with namespaces.alone() if LANE > 1 else nullcontext():
            remove(tool)


@pytest.fixture(scope="session")
def supplies(osbox: Tool) -> Tool:
    """What a cloud without a way out is made of, fetched and made in the host's network; of the engine that
    made it nothing is left there. Of all files that need it, the first of a lane may be any."""
    with waited("what a cloud without a way out is made of", within=1800):
        for words in (["build"], ["ramdisk"], ["guest"], ["engine", "stop"]):
            osbox(*words)
        with suppress(Error):  # test_judges.py says it; nobody else needs them
            paths = Paths(PROJECT, HOME)
            environment.swift(paths, environment.ready(paths), DEFAULT)
    footprint.undo(Paths(PROJECT, HOME), load_site(HOME))
    return osbox


def remove(tool: Tool) -> None:
    """Leave nothing but what can be made again; site.toml goes last, it names what is to be removed."""
    for place in HOME.glob("clouds/*"):
        tool("--name", place.name, "down", "--purge", timeout=300)
    tool("down", "--purge", "--keep-images", timeout=300)


def host() -> dict[str, object]:
    """What osbox might leave behind on the host, as data."""
    links = sorted(item["ifname"] for item in json.loads(run.run(["ip", "-json", "link"]).out))
    addresses = {
        item["ifname"]: sorted(a["local"] for a in item["addr_info"])
        for item in json.loads(run.run(["ip", "-json", "addr"]).out)
    }
    facts: dict[str, object] = {
        "links": links,
        "addresses": addresses,
        "routes": sorted(
            json.dumps(item, sort_keys=True) for item in json.loads(run.run(["ip", "-json", "route"]).out)
        ),
        "netns": sorted(run.run(["ip", "netns"]).out.splitlines()),
        "mounts": sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text().strip(),
        "processes": sorted(set(_lasting())),
    }
    for program, words in (("iptables-save", []), ("ip6tables-save", []), ("nft", ["list", "ruleset"])):
        if shutil.which(program):
            text = run.run([program, *words]).out
            facts[program] = [
                re.sub(r"\[\d+:\d+\]|packets \d+ bytes \d+", "", line)
                for line in text.splitlines()
                if not line.startswith("#")
            ]
    return facts


def differences(before: dict[str, object], after: dict[str, object]) -> dict[str, list[str]]:
    """What is gone (-) and what is new (+), by kind, order and number included: a whole host is too much to
    read when one line differs."""
    return {
        kind: [line for line in difflib.ndiff(_lines(was), _lines(after[kind])) if line[0] in "-+"]
        for kind, was in before.items()
        if was != after[kind]
    }


def _lines(part: object) -> list[str]:
    if isinstance(part, dict):
        return [f"{name}: {value}" for name, value in part.items()]
    return [str(item) for item in part] if isinstance(part, list) else [str(part)]


def _lasting() -> list[str]:
    """The commands of our processes that run now and do not pass: each that is young is watched until it ends
    or is old enough.

    Those in another network namespace count where they are in our engine: the second lane's are none of ours.
    """
    found, here = [], processes.namespace("thread-self")
    for process in Path("/proc").glob("[0-9]*"):
        if not OURS.search(command := _command(process)):
            continue
        pid = int(process.name)
        if processes.namespace(pid) != here and pid not in processes.find(Paths(PROJECT, HOME)):
            continue
        while 0 <= _age(process) < PASSING_SECONDS and _command(process) == command:
            time.sleep(0.2)
        if (
            _command(process) == command
        ):  # one that ended has none, also while nobody has asked for its exit code
            found.append(command)
    return found


def _age(process: Path) -> float:
    """Seconds since a process started; -1 when it has ended."""
    try:
        text = (process / "stat").read_text(errors="replace")
    except OSError:
        return -1.0
    # Field 22 of proc_pid_stat(5), counted after the name, which may hold spaces: ticks from the boot to its
    # start.
    started = int(text.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - started


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except OSError:
        return ""
