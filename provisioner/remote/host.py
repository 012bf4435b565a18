"""The host as a resource sees it: its platform, the folder that is ours, the marker, and the conversation."""

from __future__ import annotations

import os
import sys
import threading

from provisioner.remote.marker import Marker, write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from provisioner.remote.platforms.base import Platform
    from provisioner.remote.store import Store
    from provisioner.remote.wire import Wire


class Host:
    """One machine in one conversation.

    Args:
        platform: what differs from OS to OS.
        wire: the conversation, for questions and transfers.
        hello: the controller's first message (cluster, host, python, account, service, root ...).
    """

    def __init__(self, platform: Platform, wire: Wire, hello: Dict[str, Any]) -> None:
        self.platform = platform
        self.wire = wire
        self.cluster: str = hello["cluster"]
        self.name: str = hello["host"]
        self.node_ip: str = hello.get("node_ip") or ""
        """The address under which the other nodes know this host."""
        self.mode: str = hello.get("mode") or "apply"
        self.purge = bool(hello.get("purge"))
        """Whether a teardown leaves nothing, not even what makes the next apply quick."""
        self.rotate = bool(hello.get("rotate"))
        """Whether this run replaces Ray's token."""
        self.run: int = hello.get("run") or 0
        """When the run began, in seconds of the controller's clock: tells runs apart and which came first."""
        self.account: str = hello.get("account") or platform.login_account()
        self.account_password: str = hello.get("account_password") or ""
        """Of the account that Ray runs under, where the system must know it; never to be shown."""
        self.service_manager = platform.choose_manager(hello.get("service") or "auto")
        self._declared_python: str = hello.get("python") or "%d.%d.%d" % sys.version_info[:3]
        self.root: str = platform.checked_root(hello.get("root") or platform.default_root(self.cluster))
        self.marker = Marker(os.path.join(self.root, "marker.json"))
        self._store: Optional[Store] = None
        self._making = threading.Lock()
        self.shared: Dict[str, Any] = {}
        """What one task found out and a later one needs, such as the interpreter."""

    def path(self, *parts: str) -> str:
        """Return a path under the root."""
        return os.path.join(self.root, *parts)

    def folder(self, *parts: str) -> str:
        """Return a folder under the root, made if it is missing."""
        if not os.path.isdir(self.root):
            self.platform.make_root(self.root, self.account)
        path = self.path(*parts)
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Replace a file, most of them under the root, in one step."""
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        write_atomically(path, data, mode)

    def doing(self, text: str) -> None:
        """Tell the user what takes time."""
        self.wire.send({"type": "doing", "text": text})

    def temp_dir(self) -> str:
        """Return Ray's folder for sessions: short, for unix socket paths end at 107 bytes (103 on macOS)."""
        return self.platform.temp_dir(self.root)

    def enclosure(self) -> str:
        """Return the folder around it that only Ray's account may enter, "" if it needs none."""
        return self.platform.enclosure(self.root)

    @property
    def python(self) -> str:
        """The exact version of Python on this host: what the ``python`` task found, else what is declared."""
        version: str = self.shared.get("python", self._declared_python)
        return version

    def versions(self, declared: Dict[str, str]) -> Dict[str, str]:
        """Return declared versions with the Python that was found here, which may have another patch version."""
        found = self.shared.get("python")
        return dict(declared, python=found) if found else declared

    def environment(self, identity: str) -> str:
        """Return the folder of the environment with that identity for this host's Python, whether or not it exists."""
        return self.path("env", "%s-%s" % (self.python, identity))

    @property
    def store(self) -> Store:
        """The files that were sent here."""
        with self._making:
            if self._store is None:
                from provisioner.remote.store import Store

                self._store = Store(self.path("store"), self.wire, self.doing, self.node_ip)
            return self._store

    def fetch(self, sha256: str, filename: str, size: int, direct: bool = False, private: bool = False) -> str:
        """Have a file in the store, received if it is missing; returns its path (see Store.fetch)."""
        return self.store.fetch(sha256, filename, size, direct, private)

    def own_processes(self) -> List[int]:
        """Return the pids of every process that was started from our root, whoever its parent is."""
        return self.platform.processes_of(self.root)

    def interpreter(self) -> Optional[str]:
        """Return the interpreter the ``python`` task found, if it ran already."""
        return self.shared.get("interpreter")


MARK = "PROVISION_ROOT"
"""Set in the environment of every process we start: tells our processes from a stranger's."""


def marker_variable(root: str) -> str:
    return "%s=%s" % (MARK, root)
