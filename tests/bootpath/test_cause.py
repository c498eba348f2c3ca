"""Why a hop is broken, where no network is needed to tell."""

import os
from pathlib import Path

import pytest

from osbox.bootpath import cause
from osbox.bootpath.cause import Scene, Subject
from osbox.engine.engine import Engine
from osbox.metal.firmware import BootMode
from osbox.site.site import Paths, Site

CLIENT = """\
#!/bin/sh
echo '[]'
echo 'Error response from daemon: No such container: ironic-conductor.os-in-a-box' >&2
exit 1
"""
DOWN = CLIENT.replace("Error response from daemon: No such container", "error during connect: EOF")


@pytest.mark.parametrize(
    ("client", "why", "then"),
    [
        (CLIENT, "the container ironic-conductor.os-in-a-box does not run (there is none)", "osbox up"),
        (DOWN, "the container engine gave no answer", "osbox engine status"),
    ],
    ids=["not there", "no answer"],
)
def test_a_service_whose_engine_gives_no_answer_is_not_said_to_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str, why: str, then: str
) -> None:
    (tmp_path / "docker").write_text(client)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    subject = Subject("52:54:00:00:00:01", BootMode.BIOS)
    scene = Scene(Paths(tmp_path, tmp_path), Site(), Engine("host", "26"), subject)
    assert cause._stopped(scene, ["ironic-conductor"]) == cause.Cause(why, then)
