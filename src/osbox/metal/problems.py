"""What is told of nodes that did not get to `available`, by enroll and repair in the same words. Pure."""

from collections.abc import Sequence

from osbox.errors import Error, UserError
from osbox.metal.states import BACK

EVIDENCE_LINES = 3
"""Of each node: there may be a thousand, and `osbox explain` has the rest."""
HINTS = 3


def together(problems: Sequence[Error], nodes: int) -> Error:
    """One error for all of so many nodes that did not get there: the user's when each of them is."""
    if len(problems) == 1:
        return problems[0]
    kind = UserError if all(isinstance(problem, UserError) for problem in problems) else Error
    lines = [
        "\n".join(
            [problem.message, *(f"  {line}" for line in problem.evidence.splitlines()[:EVIDENCE_LINES])]
        )
        for problem in problems
    ]
    hints = dict.fromkeys(problem.hint for problem in problems)
    return kind(
        f"{len(problems)} of {nodes} nodes are not available",
        evidence="\n".join(lines),
        hint="; ".join(list(hints)[:HINTS]),
    )


def brought(name: str, state: str, error: str, *, then: str) -> UserError:
    """Of a node in a state of BACK, to which a person brought it: who did so knows why, and leads it out.

    error: what Ironic says of it, or "". then: the command to give again.
    """
    return UserError(
        f"{name} is in the state `{state}`, to which somebody brought it",
        evidence=error,
        hint=f"osbox openstack baremetal node {BACK[state]} {name}; then {then} again",
    )
