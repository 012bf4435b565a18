"""One task of the declaration, as the program on the host has it."""

from __future__ import annotations

from provisioner.remote import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    Message = Dict[str, Any]


class Task:
    """A task of the declaration on this host, with what was observed for it."""

    def __init__(self, declared: Message) -> None:
        self.name: str = declared["name"]
        self.when: Message = declared.get("when") or {}
        self.resource = resource.create(declared["resource"], declared["params"])
        self.differences: List[Dict[str, str]] = []
        self.orphan = bool(declared.get("orphan"))

    def applies(self, facts: Message) -> bool:
        """Tell whether the conditions on the machine hold (``changed`` is judged when the task's turn comes)."""
        return all(
            facts.get(name) in (wanted if isinstance(wanted, list) else [wanted])
            for name, wanted in self.when.items()
            if name != "changed"
        )
