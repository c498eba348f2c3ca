"""Which storage policies of Swift a site may have.

Objects keep the place of their policy among all, not its name: a name may change, and a policy may be added
behind the others. One that is gone from the list, or has another place in it, would leave its objects, and
the containers that they are in, without one.
"""

import json
from collections.abc import Sequence

from osbox.cloud import compose
from osbox.errors import UserError
from osbox.site.site import FIRST_POLICY, Paths, Site


def require_places(paths: Paths, site: Site) -> None:
    """Raises UserError for storage policies that those which the cloud was last brought up with cannot become
    without a loss."""
    before = (compose.last(paths, compose.POLICIES) or FIRST_POLICY).split(",")
    wrong = misplaced(before, site.swift_policies)
    if wrong:
        raise UserError(
            wrong,
            evidence=f"the cloud has {', '.join(before)};"
            f" {paths.site_toml} says {', '.join(site.swift_policies)}",
            hint=f"swift_policies = {json.dumps(before)}; new ones stand behind these, and a name may become"
            " another one in its place",
        )


def misplaced(before: Sequence[str], after: Sequence[str]) -> str:
    """What would be lost; "" when nothing is."""
    places = {name.lower(): place for place, name in enumerate(after)}
    for place, name in enumerate(before):
        new = places.get(name.lower(), place)
        if new != place:
            return (
                f"the storage policy {name} is number {place} and cannot become number {new}: its objects"
                " keep the number"
            )
    if len(after) < len(before):
        return (
            f"the storage policy {before[len(after)]} cannot be removed: objects and containers may be in it"
        )
    return ""
