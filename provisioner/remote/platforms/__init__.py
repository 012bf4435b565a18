"""What differs from one OS to another, one file each. Adding an OS is adding a file and a line here."""

from __future__ import annotations

import sys

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from provisioner.remote.platforms.base import Platform


def current() -> Platform:
    """Return the platform this runs on.

    Raises:
        Failure: an OS we know nothing of.
    """
    if sys.platform.startswith("linux"):
        from provisioner.remote.platforms.linux import Linux

        return Linux()
    if sys.platform == "darwin":
        from provisioner.remote.platforms.macos import Macos

        return Macos()
    if sys.platform == "win32":
        from provisioner.remote.platforms.windows import Windows

        return Windows()
    raise Failure("hosts with %s are not supported yet" % sys.platform, "take the host out of the inventory")


def end_children() -> None:
    """Kill every program that runs for us now."""
    current().end_children()
