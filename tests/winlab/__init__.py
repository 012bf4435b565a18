"""Stand-ins for Windows machines, for tests: what a real Windows does to a provisioner, on a Debian machine.

A stand-in is a real sshd -> Wine's ``cmd.exe`` -> the genuine Windows CPython 3.11.9, on the lab's own network, so that
Linux lab hosts and stand-ins reach each other. The traps of Windows over SSH are there; the tools that Wine only stubs
are replaced by programs that refuse what Windows refuses (``host/``, ``win/``). It is no Windows: README.md here says
what is true of it and what is not. ``stand_in.py`` has the class tests meet, ``fixtures.py`` the fixtures.
"""
