"""The controller's first message: it says what all the rest relies on."""

from __future__ import annotations

import re

from provisioner.remote.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

    Message = Dict[str, Any]

AGAIN = "run the same version of provision again"


def check_hello(hello: Message) -> None:
    """Refuse a first message that says less, or something else, than all the rest relies on."""

    def is_task(task: Any) -> bool:
        return (
            isinstance(task, dict)
            and all(isinstance(task.get(name), str) for name in ("name", "resource"))
            and isinstance(task.get("params"), dict)
            and isinstance(task.get("when") or {}, dict)
        )

    plays = hello.get("plays")
    right = {
        "mode": hello.get("mode") in ("apply", "check", "rollback", "teardown", "ask"),
        "plays": isinstance(plays, list)
        and all(isinstance(play, dict) and isinstance(play.get("tasks"), list) for play in plays)
        and all(is_task(task) for play in plays for task in play["tasks"]),
    }
    right.update({name: isinstance(hello.get(name), str) for name in ("cluster", "host")})
    right.update({name: isinstance(hello.get(name) or "", str) for name in ("root", "account", "service", "python")})
    wrong = sorted(name for name in right if not right[name])
    if wrong:
        raise Failure("what the controller says first is not as it should be: %s" % ", ".join(wrong), AGAIN)
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z", hello["cluster"]):
        raise Failure("no cluster has the name %r" % hello["cluster"][:40], AGAIN)
