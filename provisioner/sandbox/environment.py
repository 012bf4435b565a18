"""What a command finds on a sandbox host: the account's name and a clean, minimal environment."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path


def account() -> str:
    """Return the name of the account that runs this program: the only one a sandbox host knows."""
    if sys.platform != "win32":
        import pwd

        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container may run under a number without a name
            pass
    return getpass.getuser()


def bare_environment(search_path: str) -> dict[str, str]:
    """Return what every command on every sandbox host sees; HOME and SSH_CONNECTION come per session.

    PROVISION_SANDBOX has the remote program keep to the host's home folder, even for root.
    """
    user = account()
    return {
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "PATH": search_path,
        "LANG": "C.UTF-8",
        "PROVISION_SANDBOX": "1",
    }


def search_path(links: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return a PATH on which ``python3`` is the Python that runs us, outside of any virtual environment.

    Args:
        links: a folder for a ``python3`` of our own, used if the interpreter's folder has none.
        environ: where the present PATH is taken from; the running virtual environment is left out of it,
            for a bare host does not have the controller's tools.
    """
    own = str(Path(sys.prefix) / "bin") if sys.prefix != sys.base_prefix else ""
    present = environ.get("PATH") or os.defpath
    first = str(_python_folder(links))
    rest = [entry for entry in present.split(os.pathsep) if entry and entry not in (own, first)]
    return os.pathsep.join([first, *rest])


def _python_folder(links: Path) -> Path:
    """Return a folder whose ``python3`` is the interpreter we run on; make one if there is none."""
    interpreter = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    for folder in (Path(sys.base_prefix) / "bin", interpreter.parent):
        candidate = folder / "python3"
        if candidate.exists() and candidate.resolve() == interpreter:
            return folder
    links.mkdir(exist_ok=True)
    link = links / "python3"
    link.unlink(missing_ok=True)
    link.symlink_to(interpreter)
    return links
