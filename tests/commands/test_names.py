"""Deployments with names that are begun at the same time get subnets of their own."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from osbox import run
from osbox.commands.context import Context
from osbox.site import deployments
from osbox.site.load import load_site
from osbox.site.site import Paths, Site

BEGUN = """
import sys
from pathlib import Path
from osbox import waiting
from osbox.commands import context
here = context.load(None, sys.argv[1])
print("loaded", flush=True)
assert waiting.happens(Path(sys.argv[2]).exists, 20, poll=0.001)
here.settle()
print(here.site.subnet, flush=True)
"""


def test_two_at_once(paths: Paths, tmp_path: Path) -> None:
    """Each knows its site before it has its turn, and both see the same one free."""
    go = tmp_path / "go"
    with ExitStack() as both:
        processes = [
            both.enter_context(run.spawn([sys.executable, "-c", BEGUN, name, str(go)], stdout=-1))
            for name in ("lab", "ci")
        ]
        outs = [process.stdout for process in processes if process.stdout]
        assert [out.readline() for out in outs] == ["loaded\n", "loaded\n"]
        go.touch()
        subnets = [out.readline().strip() for out in outs]
    assert len(set(subnets)) == 2
    written = [load_site(deployments.paths(paths, name).home) for name in ("lab", "ci")]
    assert subnets == [str(site.subnet) for site in written], "what a command goes on with is what is written"


def test_the_second_of_the_same_name_takes_what_is_written(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Site()
    first = deployments.settle(paths, base, "lab", lambda _: True)
    monkeypatch.setattr(deployments, "_free", lambda *_: pytest.fail("it is settled"))
    assert deployments.settle(paths, base, "lab", lambda _: True) == first


def test_a_context_without_a_name_has_nothing_to_settle(paths: Paths) -> None:
    here = Context(paths, Site(), paths, Site())
    here.settle()
    assert not paths.home.exists()
