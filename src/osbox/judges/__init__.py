"""Upstream's own test suites, run against the cloud: what they need, who they act as, their verdict."""
