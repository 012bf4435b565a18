"""The floor: one connection and one exec per host with Fabric, and nothing else. ``floor.py KEY ADDRESS...``."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from fabric import Connection

CONCURRENCY = 32


def main(key: str, *addresses: str) -> None:
    """Run a Python that does nothing on every host, 32 hosts at a time."""

    def touch(address: str) -> None:
        with Connection(address, user="root", connect_kwargs={"key_filename": key}) as connection:
            connection.run("python3 -I -c pass", hide=True)

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(touch, addresses))


if __name__ == "__main__":
    main(*sys.argv[1:])
