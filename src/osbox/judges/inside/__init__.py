"""What runs in the environment of the suites, and not in ours."""
