"""The contract of a platform's firewall."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

    Opening = Dict[str, Any]


class Firewall:
    """The host's own firewall, as far as it is ours to open.

    An opening is ``{"programs": [path], "ports": [[first, last]], "addresses": [address or network]}``: who may
    connect (TCP) to which ports of which programs.
    """

    def listeners(self, environment: str, interpreter: str) -> List[str]:
        """Return the programs of Ray that others connect to, for an environment and the interpreter it was made with
        ("" if that is not known); whether or not they exist yet."""
        raise NotImplementedError

    def differences(self, host: Host, opening: Opening) -> List[Difference]:
        """Return in what the firewall differs from an opening; changes nothing."""
        raise NotImplementedError

    def open(self, host: Host, opening: Opening) -> str:
        """Let exactly those in, as far as it is up to us, and return what was done.

        Raises:
            Failure: the firewall did not take it.
        """
        raise NotImplementedError

    def traces(self, host: Host) -> List[Difference]:
        """Return what ``open`` has left to remove; changes nothing."""
        raise NotImplementedError

    def close(self, host: Host) -> str:
        """Remove what ``open`` made, and nothing else, and return what was done."""
        raise NotImplementedError

    def lend(self, host: Host, port: int, addresses: List[str]) -> None:
        """Let those connect to this very program, on that port, until ``reclaim``; that it fails is no misfortune."""

    def reclaim(self, host: Host) -> None:
        """Take back what was lent."""
