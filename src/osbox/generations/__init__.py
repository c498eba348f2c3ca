"""Generations: the cloud as it was at a moment, kept beside it, and the way back to one."""
