"""Hosts out of what other tools know of them: text in, hosts out, and what could not be carried over by name."""
