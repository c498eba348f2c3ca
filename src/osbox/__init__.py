"""osbox: OpenStack in a box.

A room (package) for each outside thing, and in it, from the ground up: its values, which are pure; its door,
which reads it as data and changes it; its verbs, which commands/ calls. What stands loose here is the ground
that every room may use.

Which row of rooms stands on which: docs/design.md, "Layers"; tests/test_layers.py holds it.
"""

__version__ = "0.1.0"
