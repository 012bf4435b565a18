"""The lab: real Debian hosts on this machine, for tests that must not pretend.

``machines.py`` has the two classes tests meet (`Lab`, `Machine`), ``fixtures.py`` the fixtures around them.
"""
