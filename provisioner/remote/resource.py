"""What every resource is: parameters, and four small verbs.

A resource lives for one conversation. Its key tells it from every other of the host and is the name of its entry in
the marker.
"""

from __future__ import annotations

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from provisioner.remote.host import Host

    Difference = Dict[str, str]


LONGEST = 4096
"""Characters of one side of a difference, for it is shown."""


def difference(action: str, what: str, before: str = "", after: str = "", stops: str = "") -> Difference:
    """Return one thing that is not as declared; ``action`` is add, change or remove (see events.Difference)."""
    texts = {"what": what, "before": before, "after": after, "stops": stops}
    return dict(
        {name: text if len(text) <= LONGEST else text[:LONGEST] + " ..." for name, text in texts.items()}, action=action
    )


def mended(what: str, before: str, after: str, stops: str = "") -> Difference:
    """Return something that is wrong with what we made; ``before`` may say that it is ``missing``."""
    missing = before == "missing"
    return difference("add" if missing else "change", what, "" if missing else before, after, stops)


class Resource:
    """One thing on a host, with the state it should have.

    Args:
        params: what the task declares; checked against the playbook's schema on the controller.
    """

    kind = ""
    goes_back = False
    """Whether it takes part in a rollback."""
    breaks_off = False
    """Whether it is ended at once when the user wants the run ended: it takes long, and what is done is not lost."""

    def __init__(self, params: Dict[str, Any]) -> None:
        self.params = params

    @property
    def key(self) -> str:
        return self.kind

    def observe(self, host: Host) -> List[Difference]:
        """Return what is not as declared now; changes nothing."""
        raise NotImplementedError

    def ensure(self, host: Host) -> str:
        """Make it so and return what was done, in few words. Safe to repeat, safe to interrupt.

        Raises:
            Failure: it can't be done.
        """
        raise NotImplementedError

    def traces(self, host: Host) -> List[Difference]:
        """Return what of ours there is to remove; changes nothing."""
        return []

    def remove(self, host: Host) -> str:
        """Undo what we did, and nothing else, and return what was done."""
        return ""

    def former(self, host: Host) -> List[Difference]:
        """Return what going back to the state of before would change; changes nothing.

        Raises:
            Failure: this host can't go back.
        """
        return []

    def revert(self, host: Host) -> str:
        """Go back and return what was done. Safe to repeat: what has gone back stays there."""
        return ""


def create(kind: str, params: Dict[str, Any]) -> Resource:
    """Return the resource of that kind; its module is loaded only now."""
    import importlib

    if kind not in KINDS:
        raise Failure("this program knows no resource %r" % kind)
    module, name = KINDS[kind]
    resource: Resource = getattr(importlib.import_module("provisioner.remote.resources." + module), name)(params)
    return resource


KINDS = {
    "python": ("python", "Python"),
    "environment": ("environment", "Environment"),
    "variable": ("variable", "EnvironmentVariable"),
    "ray_head": ("ray_head", "RayHead"),
    "ray_worker": ("ray_node", "RayWorker"),
    "members": ("members", "Members"),
    "ray_proof": ("ray_proof", "RayProof"),
    "redis_server": ("redis_server", "RedisServer"),
    "prometheus": ("prometheus_server", "Prometheus"),
    "old_environments": ("old_environments", "OldEnvironments"),
    "firewall": ("firewall", "Firewall"),
    "certificate": ("certificate", "Certificate"),
    "file": ("file", "File"),
    "command": ("command", "Command"),
    "system_package": ("system_package", "SystemPackage"),
}
"""Adding a resource is adding a file and a line here."""
