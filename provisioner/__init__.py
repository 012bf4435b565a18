"""Turns a room of ordinary machines into a running Ray cluster."""

__version__ = "0.1.0"
