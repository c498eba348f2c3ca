"""Ironic's states of a node, by what osbox does in them (ironic.common.states). Pure."""

CHANGEABLE = frozenset({"enroll", "manageable", "available"})
"""Everything of a node may change (ironic.conductor.manager, update_node: allowed_update_states)."""
UNDER_WAY = frozenset(
    {
        *("verifying", "inspecting", "inspect wait", "cleaning", "clean wait", "adopting"),
        *("deploying", "wait call-back", "deleting", "rescuing", "rescue wait", "unrescuing"),
        *("servicing", "service wait"),
    }
)
"""Ironic leaves them by itself, and refuses changes meanwhile (409)."""
AGAIN = frozenset({"inspect failed", "clean failed", "adopt failed"})
"""Failures of an earlier run: a node goes on from manageable."""
UNDEPLOY = frozenset({"deploy failed", "error"})
"""A server could not be made or removed. Without one, the node is cleaned, and available again."""
BACK = {
    "rescue failed": "unrescue",
    "unrescue failed": "unrescue",
    "clean hold": "unhold",
    "deploy hold": "unhold",
    "service hold": "unhold",
    "service failed": "abort",
}
"""A person brought a node there; and Ironic's verb that leads out of it."""
FAILED = AGAIN | UNDEPLOY
SETTLED = frozenset({"available", "active", "rescue"})
DELETABLE = frozenset({"available", "enroll", "manageable", *FAILED, *BACK})
"""Some of them in maintenance only, which `forget` sets."""
