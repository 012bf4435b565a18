"""The program that runs on a host: it observes, waits for the word, and makes things so.

It is sent as one archive and cached on the host under its hash. Standard library only, Python 3.8 or newer, and few
imports: starting it is most of what a run without changes costs.
"""
