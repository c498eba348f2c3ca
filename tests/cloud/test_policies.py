"""Swift's storage policies: which a site may have, and what they may become."""

import json
from pathlib import Path

import pytest

from osbox.cloud import compose, policies, stack
from osbox.engine.engine import Engine
from osbox.errors import UserError
from osbox.site.load import load_site
from osbox.site.site import Paths, Site


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('["gold", "Gold"]', "Gold is there twice"),
        ('["gold", "policy-0"]', "only the first policy may be called Policy-0"),
        ('["gold", "of silver"]', "'of silver' is no name: letters, digits and hyphens"),
        ('["gold,silver"]', "'gold,silver' is no name"),
        ('["gold\\n"]', "is no name"),
        ("[]", "must not be empty"),
        (json.dumps([f"p{number}" for number in range(9)]), "more than 8 items"),
        ('"gold"', "must be a list"),
    ],
)
def test_policies_that_swift_would_not_take(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "site.toml").write_text(f'name = "lab"\nswift_policies = {text}\n')
    with pytest.raises(UserError) as error:
        load_site(tmp_path)
    assert "line 2: swift_policies: " in error.value.evidence
    assert told in error.value.evidence


def test_policies_reach_the_containers(paths: Paths, tmp_path: Path) -> None:
    def value(site: Site) -> str:
        return compose.environment(paths, site, "latest", {}, {})["OSBOX_SWIFT_POLICIES"]

    assert value(Site()) == "Policy-0"
    (tmp_path / "site.toml").write_text('swift_policies = ["gold", "silver"]\n')
    assert value(load_site(tmp_path)) == "gold,silver"


PLACES = {
    "the same": ("gold,silver", "gold,silver", ""),
    "one more": ("gold", "gold,silver", ""),
    "a name for Swift's own": ("Policy-0", "gold", ""),
    "another name": ("gold,silver", "gold,bronze", ""),
    "in capitals": ("gold,silver", "gold,SILVER", ""),
    "all at once": ("gold", "brass,bronze", ""),
    "one less": (
        "gold,silver",
        "gold",
        "the storage policy silver cannot be removed: objects and containers may be in it",
    ),
    "the first one less": (
        "gold,silver",
        "silver",
        "the storage policy silver is number 1 and cannot become number 0: its objects keep the number",
    ),
    "in another order": (
        "gold,silver",
        "Silver,gold",
        "the storage policy gold is number 0 and cannot become number 1: its objects keep the number",
    ),
    "one more in front": ("gold", "silver,gold", "the storage policy gold is number 0 and"),
}


@pytest.mark.parametrize(("before", "after", "said"), PLACES.values(), ids=PLACES)
def test_no_policy_that_objects_may_be_in_is_taken_away(before: str, after: str, said: str) -> None:
    found = policies.misplaced(before.split(","), after.split(","))
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_it_is_refused_by_what_the_cloud_was_last_brought_up_with(paths: Paths) -> None:
    """And before anything is asked of the engine."""
    one, two = Site(), Site(swift_policies=("Policy-0", "silver"))
    policies.require_places(paths, one)  # there is no cloud yet
    paths.home.mkdir()
    paths.stack_env.write_text("OSBOX_NAME=x\n")  # of a cloud that was made before there were policies
    policies.require_places(paths, two)
    paths.stack_env.write_text("OSBOX_NAME=x\nOSBOX_SWIFT_POLICIES=Policy-0,silver\n")
    policies.require_places(paths, two)
    with pytest.raises(UserError, match="silver cannot be removed") as error:
        stack.plan(paths, one, Engine("host", "26"), "latest")
    assert error.value.evidence == f"the cloud has Policy-0, silver; {paths.site_toml} says Policy-0"
    assert error.value.hint.startswith('swift_policies = ["Policy-0", "silver"]; ')
