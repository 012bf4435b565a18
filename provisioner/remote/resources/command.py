"""command: a program that is run unless what it makes is there already."""

from __future__ import annotations

import os

from provisioner.remote.failure import Failure, NoProgram
from provisioner.remote.resource import Resource, difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

LIMIT = 900.0
"""Seconds a command may take."""


class Command(Resource):
    """Params: ``argv``, ``creates`` (a path) or ``unless`` (a program that exits 0 when all is well), ``undo``,
    ``env``, ``cwd``. No shell takes part: ``argv`` reaches the program as it is."""

    kind = "command"

    @property
    def key(self) -> str:
        return "command:" + "\0".join(self.params["argv"])

    def observe(self, host: Host) -> List[Difference]:
        if self._done(host):
            return []
        return [difference("add", "run", after=_shown(self.params["argv"]))]

    def ensure(self, host: Host) -> str:
        host.marker.put(self.key, {"kind": self.kind, "params": self.params})
        self._run(host, self.params["argv"])
        if not self._done(host):
            proof = self.params.get("creates") or _shown(self.params["unless"])
            raise Failure(
                "%s ended well, but %s still says it is not done" % (_shown(self.params["argv"]), proof),
                "mend `creates` or `unless` of the task",
            )
        return _shown(self.params["argv"])

    def traces(self, host: Host) -> List[Difference]:
        if not host.marker.get(self.key) or not self.params.get("undo"):
            return []
        return [difference("remove", "run", after=_shown(self.params["undo"]))]

    def remove(self, host: Host) -> str:
        if not host.marker.get(self.key):
            return ""
        done = self._undo(host, self.params["undo"]) if self.params.get("undo") else ""
        host.marker.drop(self.key)
        return done

    def _undo(self, host: Host, argv: List[str]) -> str:
        """Undo what is there. Where nothing is (the command failed, or a run was ended after it had undone it), it is
        tried for what may be left half-way, and that there is nothing to undo is no failure."""
        there = self._done(host)
        try:
            self._run(host, argv)
        except Failure as failure:
            if there:
                raise
            return "there was nothing to undo (%s)" % failure.message
        return _shown(argv)

    def _done(self, host: Host) -> bool:
        if self.params.get("creates"):
            return os.path.exists(self.params["creates"])
        try:
            code, _ = host.platform.run(self.params["unless"], LIMIT, self._env(), self.params.get("cwd"))
        except NoProgram:  # an earlier task may bring it
            return False
        return code == 0

    def _run(self, host: Host, argv: List[str]) -> None:
        host.doing("running %s" % _shown(argv))
        code, output = host.platform.run(argv, LIMIT, self._env(), self.params.get("cwd"))
        if code:
            last = " / ".join(output.strip().splitlines()[-3:]) or "it printed nothing"
            raise Failure("%s ended with exit code %d: %s" % (_shown(argv), code, last))

    def _env(self) -> Optional[Dict[str, str]]:
        return {name: str(value) for name, value in (self.params.get("env") or {}).items()} or None


def _shown(argv: List[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 80 else text[:77] + "..."
