"""Bare metal: nodes.yaml, management controllers, enrolment, the virtual rack, and why a node does not get
on."""
