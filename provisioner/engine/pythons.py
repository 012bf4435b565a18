"""What Python the program may run on, host by host: where Ray's is brought, so may be the program's."""

from __future__ import annotations

from collections.abc import Callable

from provisioner.engine.census import Census
from provisioner.engine.mirror import Mirror
from provisioner.engine.options import RunOptions
from provisioner.engine.shared import Packages
from provisioner.engine.supplies import in_megabytes
from provisioner.events import Verb
from provisioner.inventory.model import Host, Inventory
from provisioner.ray import start
from provisioner.transport.choice import Choice, Neighbour, Origin, Ours, Parcel
from provisioner.transport.systems import Facts


class Pythons:
    """Chooses for the hosts of one run.

    Args:
        inventory: the cluster.
        options: what is done with it, and to which hosts.
        artifacts: where interpreters come from.
        census: who may be part of it.
        mirror: who hands out files, beside this machine.
    """

    def __init__(
        self, inventory: Inventory, options: RunOptions, artifacts: Packages, census: Census, mirror: Mirror
    ) -> None:
        self._inventory = inventory
        self._options = options
        self._artifacts = artifacts
        self._census = census
        self._mirror = mirror

    def choice(self, host: Host, doing: Callable[[str], None]) -> Choice:
        """Return what a host's program may run on; ``doing`` is told of what is fetched for it."""
        source, verb = host.interpreter.source, self._verb(host)
        ours = Ours(self._inventory.cluster, host.root)
        if source != "managed":
            path = None if source == "system" else source
            return Choice(host.python, path=path, leave=ours if verb == "teardown" else None)
        progress = in_megabytes(doing, f"Python {host.python}")

        def bring(facts: Facts) -> Parcel:
            archive = self._artifacts.interpreter(facts, host.python, host.interpreter.mirror, progress)
            return Parcel(self._artifacts.path(archive.sha256), archive.sha256, archive.filename)

        def judge(facts: Facts) -> None:
            self._census.take(host, facts)

        return Choice(
            host.python,
            bring=bring,
            near=self._neighbour(host),
            judge=judge if verb in ("apply", "check") else None,
            leave=ours if verb in ("check", "teardown") else None,
        )

    def _verb(self, host: Host) -> Verb:
        """Return what is done with a host: one that was dropped is taken down, one that is left out looked at."""
        if host not in self._inventory.hosts:
            return "teardown"
        limit = self._options.limit
        return "check" if limit and host.name not in limit else self._options.verb

    def _neighbour(self, host: Host) -> Neighbour | None:
        mirror = self._mirror
        if mirror.name is None or not mirror.serves(host.name):
            return None
        if host.role == "head":  # whoever hands out files must have the turn, and that is held by the head's program
            return None

        def ask(parcel: Parcel) -> Origin | None:
            mirror.offer([{"sha256": parcel.sha256, "filename": parcel.filename, "size": parcel.size}])
            found = mirror.source(host.name, [parcel.sha256])
            if found is None:
                return None
            return Origin(found["name"], found["address"], found["port"], found["token"], start.node_ip(host))

        return Neighbour(mirror.name, ask, lambda reason, remedy: mirror.detour(host.name, reason, remedy))
