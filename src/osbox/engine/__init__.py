"""The container engine: its root file system, its life, what it changes on the host, and Docker read as
data."""
