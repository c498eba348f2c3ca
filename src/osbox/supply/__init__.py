"""Prove and ship: verify, bills of materials, vulnerabilities, push to a registry, bundles."""
