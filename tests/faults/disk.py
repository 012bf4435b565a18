"""A small disk of a host's own, under the folders in which anything of ours lies: so that it can be full."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.listing import Listing, disk
from tests.lab.machines import Machine
from tests.lab.shell import LabError, run, wait_until

FOLDERS = ("etc", "root", "opt", "srv")
"""Folders of the host that lie on it."""


@dataclass(frozen=True)
class Disk:
    """A tmpfs that belongs to this machine: it outlives a host's power cut.

    Args:
        machine: whose; off while the disk is put in.
        size: in MiB.
    """

    machine: Machine
    size: int

    @property
    def place(self) -> Path:
        """Where it is seen from outside."""
        return self.machine.folder / "root" / "mnt"

    def put_in(self) -> None:
        """Lay the host's folders on it, with what is in them."""
        run(["mount", "-t", "tmpfs", "-o", f"size={self.size}m,mode=755", "tmpfs", str(self.place)])
        for name in FOLDERS:
            inside = self.machine.folder / "root" / name
            run(["cp", "-a", str(inside), str(self.place / name)])
            run(["mount", "--bind", str(self.place / name), str(inside)])

    def fill(self) -> None:
        """Let it end where its content ends now, whoever writes meanwhile."""

        def ends_here() -> bool:
            found = os.statvfs(self.place)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            with suppress(LabError):
                self._resize(f"{used}")
            return shutil.disk_usage(self.place).free == 0

        wait_until(ends_here, f"the disk of {self.machine.name} to be full", 10, pause=0.0)

    def empty(self) -> None:
        """Let there be room again."""
        self._resize(f"{self.size}m")

    def is_full(self) -> bool:
        return shutil.disk_usage(self.place).total < self.size << 20

    def listing(self) -> Listing:
        """What is on it that the golden root does not have; see tests/lab/listing.py."""
        return disk(self.place, self.machine.lab.golden.root)

    def _resize(self, size: str) -> None:
        run(["mount", "-o", f"remount,size={size}", str(self.place)])
