"""Upstream's own suites, a sample of each; with --full each of them whole, as docs/judges.md says."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from osbox import run
from osbox.cloud import sessions
from osbox.judges import people, suite, tempest
from osbox.site.load import load_site
from osbox.site.site import Paths
from tests.conftest import PROJECT
from tests.deadlines import waited
from tests.e2e import fake_hardware
from tests.e2e.conftest import ENVIRONMENT, Tool
from tests.home import HOME
from tests.samples import params, scene

pytestmark = pytest.mark.e2e
SAMPLES = {
    "tempest": r"identity\.v3\.test_(application_credentials|access_rules)|test_images_metadefs_namespaces"
    r"|object_storage\.test_(container_quotas|object_version)|compute\.keypairs\.test_keypairs\.",
    "swift": r"s3api\.test_(versioning|service)|tests\.TestTempurl\.",
    "sdk": r"functional\.(identity\.v3\.test_(domain|access_rule)|object_store"
    r"|cloud\.test_compute\.TestKeypairs)",
}
SAMPLE_SECONDS = 600
WHOLE_SECONDS = 2400
"""Of a whole suite: Tempest took 16 minutes beside other work."""
KILLED = {
    "tempest": ("identity", "Remove what Tempest left"),
    "swift": (r"functional\.tests\.", "Remove what the suites' projects have"),
}
"""Tests of those that are killed, and the step that removes what they left."""
KILLED_AFTER = 7
"""Lines of its records that are seen before the kill: then something of the suite's is there."""


def left(cloud: Tool) -> list[str]:
    """What bears the mark of the judges, or the prefix of Tempest's names."""
    assert cloud
    paths = Paths(PROJECT, HOME)
    found = sessions.connect(paths, load_site(HOME))
    identity = found.identity
    named = [one.name for one in identity.projects() if one.name.startswith(tempest.PREFIX)]  # type: ignore[union-attr]
    return [*people.left(found), *named]


@scene("judge killed")
@pytest.mark.parametrize("name", params(tuple(KILLED)))
def test_a_suite_that_was_killed_is_cleaned_up_by_the_next_run(ready: Tool, name: str) -> None:
    cloud, (tests, step) = ready, KILLED[name]
    records = Path(HOME) / f"judges/{name}/tests.jsonl"
    records.unlink(missing_ok=True)  # of a run before
    words = [cloud.program, "judge", name, "--tests", tests]
    with run.spawn(words, env=ENVIRONMENT) as process:
        deadline = time.monotonic() + 180
        while not records.is_file() or len(records.read_text().splitlines()) < KILLED_AFTER:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.kill()
        process.wait()
    assert left(cloud) != []
    said = cloud("judge", name, "--tests", SAMPLES[name], timeout=SAMPLE_SECONDS)
    assert step in said
    assert "not removed" not in said
    assert left(cloud) == []


@pytest.mark.parametrize("name", params(suite.NAMES, 2))
def test_a_sample_of_a_suite_is_as_expected(ready: Tool, name: str) -> None:
    cloud = ready
    said = cloud.json_of("judge", name, "--tests", SAMPLES[name], timeout=SAMPLE_SECONDS)
    found = json.loads(json.dumps(said))
    assert found["wrong"] == []
    assert found["counts"]["passed"] > 5
    assert left(cloud) == []


@pytest.fixture(scope="module")
def whole(ready: Tool) -> Iterator[Tool]:
    """The cloud with all that the suites want."""
    with waited("contents, and nodes of fake hardware", within=900):
        ready("setup")
        ready("set", *fake_hardware.SUITES_OPTIONS)
        ready("up")
    yield ready
    ready("unset", *fake_hardware.names(fake_hardware.SUITES_OPTIONS))
    ready("up")


@pytest.mark.full
@pytest.mark.timeout(WHOLE_SECONDS)
@pytest.mark.parametrize("name", suite.NAMES)
def test_a_whole_suite_is_as_expected(whole: Tool, name: str) -> None:
    cloud = whole
    said = cloud("judge", name, timeout=WHOLE_SECONDS)
    assert re.search(r"^  [\d,]+ of [\d,]+ tests, ", said, re.MULTILINE), "each minute"
    assert "✗" not in said
    assert left(cloud) == []
