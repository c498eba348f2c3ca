"""The commands, a module for each group: they parse, call a verb, print."""
