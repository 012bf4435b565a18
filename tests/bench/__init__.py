"""Benchmarks on the lab's real hosts: how far `provision` is from what cannot be beaten.

`no_change.py` compares runs that change nothing with one bare exec per host, `cold.py` a first apply with a script
written by hand, `transfers.py` packages by way of the head with packages from here, and `help_text.py` looks at the
start of the command itself. Everything is measured side by side in one run, because seconds alone say as much about
the machine as about the program.
"""
