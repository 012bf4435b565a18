"""ray_proof: one real task on every node, which tells where it ran."""

from __future__ import annotations

import json
import time

from provisioner.remote import prove, service, tls
from provisioner.remote.failure import Failure
from provisioner.remote.host import MARK
from provisioner.remote.resource import Resource
from provisioner.remote.resources import ray_token
from provisioner.remote.resources.ray_state import living, of_this_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

JOIN_LIMIT = 60.0
"""Seconds for nodes to come back: workers notice a restarted head and rejoin by themselves."""
PROOF_LIMIT = 180.0


class RayProof(Resource):
    """Params: ``environment``, ``gcs``, ``dashboard``, ``env``, ``members`` (names of all nodes),
    ``addresses`` (theirs, by name).

    What the head runs with now counts more than the first four: after a rollback that is not what is declared.
    """

    kind = "ray_proof"
    breaks_off = True
    goes_back = True

    def observe(self, host: Host) -> List[Difference]:
        return []

    def ensure(self, host: Host) -> str:
        self._follow(host)
        expected = host.wire.ask("controller", "finished", None, 60.0)
        wanted = [name for name in self.params["members"] if name in expected]
        nodes = self._await(host, wanted)
        host.doing("running a task on %s" % _nodes(len(nodes)))
        proofs = self._prove(host, nodes)
        for name, proof in sorted(proofs.items()):
            host.wire.send(dict(proof, type="proven", host=name))
        broken = ["%s: %s" % (name, proof["error"]) for name, proof in sorted(proofs.items()) if "error" in proof]
        if broken:
            raise Failure("a task did not run on every node: " + "; ".join(broken))
        return "a task ran on %s" % _nodes(len(proofs))

    def revert(self, host: Host) -> str:
        return self.ensure(host)

    def _follow(self, host: Host) -> None:
        """Take from the head's node how it was started last, if this host has one."""
        spec = service.read_spec(host, service.service_name(host))
        if spec is None:
            return
        self.params.update({name: spec[name] for name in ("python", "gcs", "dashboard") if name in spec})
        env = {name: value for name, value in self.params["env"].items() if name != tls.SWITCH}
        self.params["env"] = dict(env, **tls.variables(spec))

    def _await(self, host: Host, wanted: List[str]) -> Dict[str, str]:
        """Return node ids by host name, once every wanted host has a living node."""
        deadline = time.monotonic() + JOIN_LIMIT
        while True:
            nodes = of_this_host(host, self.params["dashboard"])
            found = {name: living(nodes, name, self.params["addresses"].get(name, "")) for name in wanted}
            alive = {name: mine[0]["id"] for name, mine in found.items() if mine}
            missing = [name for name in wanted if name not in alive]
            if not missing:
                return alive
            if time.monotonic() > deadline:
                raise Failure("not in the cluster after %d s: %s" % (JOIN_LIMIT, ", ".join(missing)))
            host.doing("waiting for %s" % ", ".join(missing[:3]))
            time.sleep(0.3)

    def _prove(self, host: Host, nodes: Dict[str, str]) -> Dict[str, Dict[str, Any]]:
        """Have the tasks run, from a program with the rights of Ray's account: it talks with all that is in the
        cluster, and would be ours to whoever gets it to run something."""
        python = self.params.get("python") or host.platform.interpreter_of(host.environment(self.params["environment"]))
        arguments = [self.params["gcs"], json.dumps(nodes)]
        mine = {MARK: host.root, ray_token.VALUE: ""}  # not one of this session's, for another cluster
        env = dict(self.params["env"], **mine, **ray_token.variables(host, self.params["env"]))
        account = host.service_manager.runs_as(host)
        code, output = host.platform.run_script(account, python, prove.__file__, arguments, PROOF_LIMIT, env)
        for line in reversed(output.splitlines()):
            if line.startswith(prove.RESULT):
                return _told(line[len(prove.RESULT) :], nodes)
        last = (output.strip().splitlines() or ["exit code %d" % code])[-1]
        raise Failure("the proof could not connect to Ray: %s" % last[:500])


def _told(text: str, nodes: Dict[str, str]) -> Dict[str, Dict[str, Any]]:
    """Return what was said of those nodes, and nothing else that stands there; a node that is missing has not run
    anything."""
    try:
        result = json.loads(text)
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict):
        raise Failure("the proof could not connect to Ray: what it says is no answer")
    return {name: _proof(result.get(name)) for name in nodes}


def _proof(told: Any) -> Dict[str, Any]:
    if not isinstance(told, dict) or "error" in told:
        why = told.get("error") if isinstance(told, dict) else None
        return {"error": str(why or "nothing is known of it")[:500]}
    proof: Dict[str, Any] = {name: str(told.get(name, ""))[:500] for name in ("hostname", "os", "ray", "python")}
    seconds = told.get("seconds")
    return dict(proof, seconds=seconds if isinstance(seconds, (int, float)) and 0 <= seconds <= PROOF_LIMIT else 0.0)


def _nodes(number: int) -> str:
    return "%d node%s" % (number, "s"[: number - 1])
