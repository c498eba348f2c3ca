"""Swift's passes (images/swift/daemons.py): two lanes, run for real with made-up daemons in place of Swift's;
and what health says of their records."""

import configparser
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from osbox import run, waiting
from tests.conftest import PROJECT

PROGRAM = PROJECT / "images/swift/daemons.py"
NOW = 1_000_000.0

# Swift as far as a pass needs it, and daemons that do what Swift's may do.
MODULES = {
    "swift/common/daemon.py": "def run_daemon(kind, conf, **_): kind(conf)\n",
    "fake.py": """
import gc, logging, pathlib, sys, time
def Brief(conf):
    new = pathlib.Path(conf + ".new")
    new.write_text(str(gc.get_freeze_count()))
    new.rename(conf + ".frozen")  # whole, for the lanes may be ended in between
def Long(conf): time.sleep(60)
def Bad(conf): logging.getLogger().error("one"); logging.getLogger().error("two")
def Ends(conf): sys.exit(3)
""",
}
RUNNER = f"""
import importlib.util, os, pathlib, signal, sys, time
spec = importlib.util.spec_from_file_location("daemons", {str(PROGRAM)!r})
daemons = importlib.util.module_from_spec(spec)
sys.modules["daemons"] = daemons
spec.loader.exec_module(daemons)
daemons.RECORDS = daemons.TEMPLATES = daemons.CONFIGS = pathlib.Path(sys.argv[1])
daemons.socket.gethostbyname = {{"swift-object": "10.1.2.3"}}.__getitem__
daemons.REST_SECONDS = 0
def one(kind, every=0, within=50):
    return daemons.Daemon(kind.lower(), "fake:" + kind, "object", every, within)
def lanes(quick, slow):
    daemons.QUICK, daemons.SLOW = (quick,), (slow,)
    daemons.LANES = dict(quick=daemons.QUICK, slow=daemons.SLOW)
"""


class Lab:
    """Where passes run: their records and configurations."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for name, text in MODULES.items():
            (top / "modules" / name).parent.mkdir(parents=True, exist_ok=True)
            (top / "modules" / name).write_text(text)
        (top / "object.conf").write_text("bind_ip = ${ADDRESS}\n")

    def argv(self, program: str) -> list[str]:
        return [sys.executable, "-c", RUNNER + program, str(self.top)]

    @property
    def env(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.top / "modules")}

    def __call__(self, program: str) -> run.Result:
        return run.run(self.argv(program), env=self.env, timeout=30, check=False)

    @contextmanager
    def running(self, program: str) -> Iterator[Any]:
        """Both lanes, until the block ends."""
        with run.spawn(self.argv(program + "\nsys.exit(daemons.main([]))"), env=self.env) as process:
            yield process

    def passes(self, lane: str) -> dict[str, Any]:
        file = self.top / f"passes-{lane}.json"
        return dict(json.loads(file.read_text())["passes"]) if file.exists() else {}

    def begins(self, number: int) -> list[float]:
        """The monotonic begins of so many passes of the quick lane, one after the other."""
        seen = list[float]()

        def more() -> bool:
            seen.extend(one["clock"] for one in self.passes("quick").values() if one["clock"] not in seen)
            return len(seen) >= number

        waiting.wait("passes of the quick lane", more, 30, poll=0.02)
        return seen


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has just ended
        return []


def runs(pid: int) -> bool:
    """It is there, and no zombie that nobody asks for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_slow_pass_holds_up_no_quick_one(lab: Lab) -> None:
    with lab.running('lanes(one("Brief"), one("Long"))'):
        lab.begins(3)
        waiting.wait("the slow one", (lab.top / "long.conf").exists, 30, poll=0.05)
        lab.begins(3)
        assert lab.passes("slow") == {}, "it has not ended"
        assert {(done["code"], done["errors"]) for done in lab.passes("quick").values()} == {(0, 0)}
    for name in ("brief", "long"):
        assert (lab.top / f"{name}.conf").read_text() == "bind_ip = 10.1.2.3\n", "a file of its own"
    assert int((lab.top / "brief.conf.frozen").read_text()) > 1000, "the collector writes to no shared page"


def test_a_clock_that_is_set_back_stops_no_pass(lab: Lab) -> None:
    """By an hour at each look: the next pass was due an hour later."""
    clock = (
        "import itertools\nhours = itertools.count()\ndaemons.time.time = lambda: 1e9 - 3600 * next(hours)\n"
    )
    with lab.running(clock + 'lanes(one("Brief"), one("Brief", every=99))'):
        assert len(lab.begins(4)) >= 4


def test_a_lane_that_dies_takes_the_container_along(lab: Lab) -> None:
    """Docker starts it anew; half of the passes would be made no more."""
    with lab.running('lanes(one("Brief"), one("Long"))') as process:
        lab.begins(1)
        waiting.wait("both lanes", lambda: len(children(process.pid)) == 2, 30, poll=0.05)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        assert process.wait(timeout=20) == 1


def test_it_ends_when_it_is_asked_to(lab: Lab) -> None:
    with lab.running('lanes(one("Brief"), one("Long"))') as process:
        lab.begins(1)
        waiting.wait("the slow one", (lab.top / "long.conf").exists, 30, poll=0.05)
        lanes = children(process.pid)
        below = [pass_ for lane in lanes for pass_ in children(lane)]
        process.terminate()
        assert process.wait(timeout=20) == 0
        waiting.wait("the end of all", lambda: not any(map(runs, [*lanes, *below])), 20, poll=0.05)


PASSES = {
    "well": ('one("Brief")', 0, 0, 0),
    "with errors": ('one("Bad")', 0, 2, 1),
    "that leaves by the back door": ('one("Ends")', 3, 0, 1),
    "that takes too long": ('one("Long", within=1)', -9, 0, 1),
}


@pytest.mark.parametrize(("daemon", "code", "errors", "failures"), PASSES.values(), ids=PASSES)
def test_what_is_written_down_of_a_pass(lab: Lab, daemon: str, code: int, errors: int, failures: int) -> None:
    said = lab(f"print(daemons.json.dumps(daemons.asdict(daemons.run({daemon}, 0))))")
    done = json.loads(said.out)
    assert (done["code"], done["errors"], done["failures"]) == (code, errors, failures), said.err


def test_an_audit_that_its_time_ends_has_not_failed(lab: Lab) -> None:
    """With more objects than it reads in its time, two in a row made it unhealthy, and `osbox up` waited."""
    said = lab(
        'audit = one("Long", within=1)\ndaemons.SLOW = (audit,)\n'
        "print([(done.code, done.failures) for done in (daemons.run(audit, 0), daemons.run(audit, 1))])"
    )
    assert said.out == "[(-9, 0), (-9, 1)]\n", said.err


def test_a_pass_that_ends_as_its_time_is_over(lab: Lab) -> None:
    """The alarm found nobody to kill, and the error ended all passes."""
    program = """
real = os.wait4
def just_then(*words):
    found = real(*words)
    signal.raise_signal(signal.SIGALRM)
    return found
os.wait4 = just_then
print(daemons.run(one("Brief"), 0).code)
"""
    assert (lab(program).out, lab(program).err) == ("0\n", "")


# --- what health says
# --------------------------------------------------------------------------------


@pytest.fixture
def daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("swift_daemons", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "swift_daemons", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RECORDS", tmp_path)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: NOW))
    return module


Write = Callable[..., None]


@pytest.fixture
def written(daemons: ModuleType) -> Write:
    """Records of passes that all ended well 5 s ago, but for those that are given; None: never."""

    def write(since: float = 100_000, **more: dict[str, float] | None) -> None:
        given = {name.replace("_", "-"): one for name, one in more.items()}
        for lane, found in daemons.LANES.items():
            passes = {}
            for daemon in found:
                one = given.get(daemon.name, {})
                if one is not None:
                    words = {"ago": 6, "code": 0, "errors": 0, "failures": 0, **one}
                    times = (NOW - words["ago"] + 1.7e9, NOW - words["ago"], 1.0)
                    done = (int(words["code"]), int(words["errors"]), int(words["failures"]), 0.2, 40.0)
                    passes[daemon.name] = daemons.Pass(*times, *done)
            daemons.write(lane, NOW - since, passes)

    return write


FAILED = {"code": 1, "errors": 4, "failures": 2}
HEALTH: dict[str, tuple[dict[str, Any], str]] = {
    "well": ({}, ""),
    "failed once": ({"object_expirer": {**FAILED, "failures": 1}}, ""),
    "failed twice": (
        {"object_expirer": FAILED},
        "object-expirer failed 2 times in a row (exit code 1, 4 errors)",
    ),
    "overdue": ({"object_updater": {"ago": 661}}, "object-updater began last 661 s ago"),
    "never": ({"account_reaper": None}, "account-reaper has not ended once in 99955 s"),
    "never yet": ({"since": 700, "account_replicator": None, "object_auditor": None}, ""),
    "not within its time since the start": (
        {"since": 706, "object_expirer": None, "account_reaper": None},
        "object-expirer has not ended once in 661 s",
    ),
    "behind a long pass of its lane": ({"object_expirer": {"ago": 600}}, ""),
    "an audit of 200 GB": ({"object_auditor": {"ago": 20_000}, "account_auditor": {"ago": 20_000}}, ""),
    "an audit that does not end": (
        {"object_auditor": {"ago": 40_000}},
        "object-auditor began last 40000 s ago",
    ),
}


@pytest.mark.parametrize(("records", "said"), HEALTH.values(), ids=HEALTH)
def test_health(
    daemons: ModuleType,
    written: Write,
    records: dict[str, Any],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written(**records)
    assert daemons.main(["health"]) == int(bool(said))
    assert capsys.readouterr().out == (said or "healthy") + "\n"


def test_health_before_anything_was_begun(daemons: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemons.main(["health"]) == 1
    assert capsys.readouterr().out == "no pass was begun\n"


def test_passes_as_data(daemons: ModuleType, written: Write, capsys: pytest.CaptureFixture[str]) -> None:
    written(object_expirer=FAILED, account_reaper=None)
    assert daemons.main(["passes"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [one.name for lane in daemons.LANES.values() for one in lane]
    assert (told["object-expirer"]["ago"], told["object-expirer"]["errors"]) == (5.0, 4)
    assert told["object-expirer"]["wrong"].startswith("failed 2 times")
    assert set(told["account-reaper"]) == {"lane", "wrong"}
    assert {name for name, one in told.items() if one["lane"] == "slow"} == {
        "account-auditor",
        "container-auditor",
        "object-auditor",
    }


# --- the proxy
# --------------------------------------------------------------------------------


def test_what_has_expired_is_gone_for_everybody() -> None:
    """Swift's switch lets all who may read an object read it after its end, its owner and anybody else."""
    proxy = configparser.ConfigParser(interpolation=None)
    proxy.read(PROJECT / "images/swift/etc/swift/proxy-server/10-proxy.conf", encoding="utf-8")
    assert not proxy.getboolean("app:proxy-server", "allow_open_expired", fallback=False)
