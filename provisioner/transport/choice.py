"""What Python the program may run on, and where the one that is brought comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from provisioner.transport.systems import Facts


@dataclass(frozen=True)
class Parcel:
    """The archive of an interpreter, on this machine; ``filename`` is its name in a release."""

    path: Path
    sha256: str
    filename: str = ""

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size


@dataclass(frozen=True)
class Origin:
    """Where another host hands out files, over HTTP (see remote/handout.py).

    Args:
        name: the inventory name of the host that does.
        address, port: where.
        token: lets members of the run in.
        own: the address under which it knows the host that comes.
    """

    name: str
    address: str
    port: int
    token: str
    own: str = ""


@dataclass(frozen=True)
class Neighbour:
    """The host that hands out files in this run.

    Args:
        name: its inventory name.
        ask: returns where it hands out an archive; waits until it does. None: it doesn't.
        detour: told why a host goes round it, and what could be done about that.
    """

    name: str
    ask: Callable[[Parcel], Origin | None]
    detour: Callable[[str, str], None]


@dataclass(frozen=True)
class Choice:
    """What Python the program may run on.

    Args:
        version: the cluster's exact version.
        path: an interpreter on the host that is tried before the system's.
        bring: returns the archive of the cluster's interpreter for a host with those facts; ProvisionError if there is
            none. None: the host's own must do.
        near: who else has that archive; None: nobody.
        judge: raises a ProvisionError if a host with those facts can't be part of the cluster.
        leave: a host that has no Python and nothing of this cluster is left as it is; None: it gets what it lacks.
    """

    version: str
    path: str | None = None
    bring: Callable[[Facts], Parcel] | None = None
    near: Neighbour | None = None
    judge: Callable[[Facts], None] | None = None
    leave: Ours | None = None


@dataclass(frozen=True)
class Ours:
    """What is ours on a host: the cluster's name, and its root folder if it is declared."""

    cluster: str
    root: str | None = None


class NothingThere(Exception):
    """A host has nothing of ours, and no Python that the program could say so with."""
