"""What the cluster's own servers of other programs have in common: each is an instance of our own, with a
configuration, a port, data and a service of its own, run by a package of the system as the account that runs Ray."""

from __future__ import annotations

import time

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.resource import Resource, difference
from provisioner.remote.resources import ray_removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

START_LIMIT = 60.0
"""Seconds for a server to answer; it reads its data first."""
POLL = 0.05


class OwnServer(Resource):
    """Params: ``port`` among others."""

    what = ""
    """How messages call it."""
    section = ""
    """The inventory's section that declares it."""
    secret: Sequence[str] = ()
    """Parameters that are never written down."""

    def service_name(self, host: Host) -> str:
        """Return the name of its service."""
        raise NotImplementedError

    def is_half_installed(self, host: Host) -> bool:
        """Tell whether a run was interrupted while it installed the package: it may run a server by itself."""
        return bool((host.marker.get(self.key) or {}).get("installing"))

    def note(self, host: Host, packages: Sequence[str] = (), installing: Optional[bool] = False) -> None:
        """Write down what is about to be made; never a secret.

        Args:
            installing: whether packages are; None: as before.
        """
        entry = host.marker.get(self.key) or {}
        kind = entry.get("manager", host.service_manager.kind)
        noted = {
            "kind": self.kind,
            "params": {name: value for name, value in self.params.items() if name not in self.secret},
            "ours": sorted({*entry.get("ours", ()), *packages}),
            "manager": kind,
        }
        if entry.get("installing") if installing is None else installing:
            noted["installing"] = True
        host.marker.put(self.key, noted)

    def retire_former(self, host: Host, entry: Dict[str, Any]) -> None:
        """Take it from another service manager that has kept it until now."""
        ray_removal.retire_former(host, self.service_name(host), entry)
        host.marker.put(self.key, dict(entry, manager=host.service_manager.kind))

    def end_leftovers(self, host: Host, address: str) -> None:
        """End what is left of a server that does not run as it should; a Failure names who else has its port."""
        name = self.service_name(host)
        host.service_manager.stop(host, name)
        host.platform.kill(host.platform.processes_of(service.mark(host, name)))  # whose supervisor was killed
        self._check_port(host, address)

    def _check_port(self, host: Host, address: str) -> None:
        import socket

        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, self.params["port"]))
            except OSError:
                owner = host.platform.port_owner(self.params["port"])
                raise Failure(
                    "port %d, for %s, is taken by %s" % (self.params["port"], self.what, owner),
                    "end that program, or write another one: `%s: {port: ...}`" % self.section,
                ) from None

    def wait_until_it_answers(self, host: Host, problem: Callable[[], str]) -> None:
        """Wait for it to run and answer.

        Args:
            problem: says what is wrong with its answer; empty if nothing is.

        Raises:
            Failure: it ended, or does not answer in time.
        """
        name = self.service_name(host)
        deadline = time.monotonic() + START_LIMIT
        while True:
            said = problem()
            failing = host.service_manager.observe(host, name)["failing"]
            if not said and not failing:
                return
            if failing or time.monotonic() > deadline:
                how = "ended right after its start" if failing else "does not answer: %s" % said
                raise Failure(
                    "%s %s: %s" % (self.what, how, self.last_words(host)),
                    "its whole log on the host: %s" % service.log_path(host, name),
                )
            time.sleep(POLL)

    def last_words(self, host: Host) -> str:
        """Return the end of its log, on one line."""
        said = service.log_tail(host, self.service_name(host), lines=3)
        return " / ".join(line.strip() for line in said) or "its log is empty"

    def traces(self, host: Host) -> List[Difference]:
        name = self.service_name(host)
        entry = host.marker.get(self.key)
        if entry is None and service.read_spec(host, name) is None:
            return []
        state = host.service_manager.observe(host, name)
        stops = "%s on %s" % (self.what, host.name) if state["active"] else ""
        packages = [difference("remove", "package %s" % each) for each in (entry or {}).get("ours", [])]
        return [difference("remove", self.what, before="service %s" % name, stops=stops), *packages]
