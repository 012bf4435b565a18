"""ray_worker, and what it has in common with ray_head (see ray_head.py): a node of the cluster, kept running by the
host's service manager.

Whether it runs is read from the head's node list, never from an exit code: ``ray start`` exits 0 for a node that dies
two seconds later. The label ``provision/config`` tells a node that runs with an older configuration.

A node that does not come up with another configuration goes back to the one it had, if it can be in the cluster with
that: a head always can, a worker only with the head's version.
"""

from __future__ import annotations

import os
import time

from provisioner.remote import private, service, tls
from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.resource import Resource, difference, mended
from provisioner.remote.resources import ray_history, ray_removal, ray_sessions, ray_spec, ray_token
from provisioner.remote.resources.ray_state import living

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference
    from provisioner.remote.resources.ray_state import Node

    Spec = Dict[str, Any]

START_LIMIT = 120.0
"""Seconds for a started node to appear in the head's list (5-6 s on a quiet machine)."""
REJOIN_LIMIT = 20.0
"""Seconds that a running service gets to join by itself before it is restarted."""
REDIS_FLAGS = "redis.flags"
"""The file from which a head has Redis's password (see ray_redis.py)."""
POLL = 0.2
LOOK = 1.0
"""Seconds between two looks at the service of a node that is awaited."""


class RayNode(Resource):
    """Params: ``arguments`` of ``ray start``, ``env``, ``environment``, ``config``, ``node_ip``, ``ports``, ``gcs``,
    ``versions`` (of ray and python), ``secret`` (names of options and variables that are not shown),
    ``dashboard`` (address and port on the head's host), ``head`` (its name)."""

    role = ""
    goes_back = True
    _target: Optional[Spec] = None
    _kept = ""
    _token: Optional[str] = None
    """The fingerprint of the token that the head says nodes must have, if it was asked."""

    @property
    def key(self) -> str:
        return ray_sessions.KEY

    def nodes(self, host: Host, spec: Spec, max_age: float = 0.0) -> Optional[List[Node]]:
        """Return the head's node list, None if the head does not answer."""
        raise NotImplementedError

    def observe(self, host: Host) -> List[Difference]:
        host.service_manager.require(host)
        wanted = ray_spec.declared(host, self.params)
        found = self._compare(host, wanted)
        if found:
            host.service_manager.foresee(host, service.service_name(host), wanted["python"])
        return found + host.platform.root_differences(host)

    def former(self, host: Host) -> List[Difference]:
        now = service.read_spec(host, service.service_name(host))
        target = self._destination(host, now)
        if target is None:
            return []
        if now is None or target["environment"] != now.get("environment"):
            from provisioner.remote.resources.environment import try_out

            try_out(host, target["environment"], target["versions"])
        self._target = target
        return self._compare(host, target)

    def _destination(self, host: Host, now: Optional[Spec]) -> Optional[Spec]:
        """Return what to go back to, None if there is nothing to do here."""
        raise NotImplementedError

    def _compare(self, host: Host, wanted: Spec) -> List[Difference]:
        name = service.service_name(host)
        now = service.read_spec(host, name)
        state = host.service_manager.observe(host, name)
        if now is None and not state["active"]:
            return [difference("add", "Ray %s" % self.role, after="service %s" % name)]
        stops = "Ray on %s" % host.name if state["active"] else ""
        is_same = not ray_spec.changes(now or {}, ray_sessions.as_it_runs(host, wanted, now))
        changes = [] if is_same else ray_spec.changes(now or {}, wanted)
        found = [difference(*change, stops=stops) for change in changes]
        flaws = service.flaws(host, name, state)
        found += [mended(*flaw, stops=stops) for flaw in flaws]
        found += [difference("change", *each) for each in private.exposed(host, name)]
        found += ray_token.differences(host, now or {}, wanted, self.params["head"], stops)
        redis = self._redis(host)
        found += redis.differences(host, now or {}, wanted, self.params.get("redis"), stops) if redis else []
        if not flaws and state.get("stale"):
            found.append(difference("change", "service %s" % name, state["stale"], "as declared"))
        if host.shared.get(tls.PENDING) and "tls" in wanted:
            found.append(difference("change", "Ray %s" % self.role, "another certificate", "restarted", stops))
        if found:
            return found
        if not state["active"]:
            return [difference("change", "Ray %s" % self.role, "stopped", "running")]
        return self._observe_membership(host, now or {}, wanted)

    def _observe_membership(self, host: Host, now: Spec, wanted: Spec) -> List[Difference]:
        """Compare with the head's list. A worker that is not in it is restarted unasked: no work can be lost there."""
        nodes, stops = self.nodes(host, wanted, max_age=5.0), "Ray on %s" % host.name
        if nodes is None:
            cluster = stops if self.role == "head" else ""
            return [difference("change", "Ray %s" % self.role, "the head does not answer", "in the cluster", cluster)]
        mine = living(nodes, host.name, wanted["node_ip"])
        other = ray_token.late(now, self._token, stops if mine else "")
        if not mine:
            return [*other, difference("change", "Ray %s" % self.role, "not in the cluster", "in the cluster")]
        if other:
            return other
        if mine[0]["config"] != wanted["config"]:
            return [difference("change", "Ray %s" % self.role, "runs an older configuration", "restarted", stops)]
        return []

    def ensure(self, host: Host) -> str:
        ray_spec.seal(host, self.params)
        return self._bring(host, ray_spec.declared(host, self.params))

    def revert(self, host: Host) -> str:
        assert self._target is not None
        now = service.read_spec(host, service.service_name(host)) or self._target
        done = self._bring(host, self._target)
        return "%s -> %s: %s" % (ray_spec.versions(now), ray_spec.versions(self._target), done)

    def _bring(self, host: Host, wanted: Spec) -> str:
        """Have the node run with that specification, or as before if it can't."""
        host.platform.secure_root(host)
        name = service.service_name(host)
        private.shut(host, name)
        state, now = host.service_manager.observe(host, name), service.read_spec(host, name)
        wanted = self._settled(host, wanted, now)
        is_same = now in (wanted, ray_sessions.as_it_runs(host, wanted, now))
        same = is_same and service.is_whole(host, name, state)
        if same:
            self._tidy(host, wanted)
        if same and state.get("stale"):
            host.service_manager.define(host, name)
        if same and state["active"] and not state["failing"] and self._joins(host, wanted, set(), REJOIN_LIMIT):
            return "in the cluster"
        if same and state["active"] and self.role == "worker" and self.nodes(host, wanted) is None:
            raise Failure("the head does not say who is in the cluster", "see Ray and its dashboard on the head")
        seen = [node for node in self.nodes(host, now or wanted) or [] if node["alive"]]
        ray_history.remember(host, now, seen)
        self._check(host, now, wanted, seen)
        begun, running = time.monotonic(), state["active"] or state["failing"]
        if running:
            host.service_manager.prepare(host, name, wanted["python"])
        try:
            self._start(host, wanted, running)
            self._await(host, wanted, seen)
        except Exception as error:
            raise self._go_back(host, now, wanted, seen, error) from None
        ray_history.note(host, wanted)
        self._tidy(host, wanted)
        return "in the cluster after %.1f s%s" % (time.monotonic() - begun, self._kept)

    def _check(self, host: Host, now: Optional[Spec], wanted: Spec, seen: List[Node]) -> None:
        """Find what would keep the node from starting, or others from staying, before the one that runs is stopped."""
        from provisioner.remote.resources import ray_checks

        ray_checks.check_address(wanted["node_ip"])
        ray_checks.check_certified(wanted)
        ray_sessions.check(host, wanted)
        self._kept = ray_checks.check_allowed(wanted, host.platform.forbidden_ports())

    def _start(self, host: Host, wanted: Spec, running: bool) -> None:
        from provisioner.remote.resources import ray_checks

        name = service.service_name(host)
        ray_removal.retire_former(host, name, host.marker.get(self.key) or {})
        if running:
            service.UNFINISHED.append(lambda: host.service_manager.start_soon(host, name))
        try:
            if running:
                host.doing("stopping Ray")
                self._stop(host, name)
            else:
                ray_removal.end_leftovers(host)
            ray_checks.check_ports(host, wanted["ports"])
            ray_sessions.note(host, wanted)
            self._put(host, wanted)
            service.write_spec(host, name, wanted)
            host.service_manager.define(host, name)
            host.doing("starting Ray")
            host.service_manager.restart(host, name)
        finally:
            service.UNFINISHED.clear()

    def _settled(self, host: Host, wanted: Spec, now: Optional[Spec]) -> Spec:
        """Return the specification with what tells which secrets the node is started with, which are held ready.

        Raises:
            Failure: one of them is not to be had.
        """
        spec = ray_token.settled(host, wanted, now, self.params["head"])
        redis = self._redis(host)
        return redis.settled(host, spec, now, self.params.get("redis")) if redis else spec

    def _put(self, host: Host, spec: Spec) -> None:
        """Lay the secrets where a node with that specification reads them, as ``_settled`` has found them."""
        ray_token.put(host, spec, self.params["head"])
        redis = self._redis(host)
        if redis:
            redis.put(host, spec)

    def _tidy(self, host: Host, spec: Spec) -> None:
        """Have the secrets lie where they should for a node that runs with that specification, and nowhere else."""
        ray_token.tidy(host, spec, self.params["head"])
        redis = self._redis(host)
        if redis:
            redis.tidy(host, spec)

    def _redis(self, host: Host) -> Any:
        """Return the module that knows how a head comes to its Redis, None if nothing here is about that; a worker may
        have been the head."""
        if not self.params.get("redis") and not os.path.lexists(host.path("service", REDIS_FLAGS)):
            return None
        from provisioner.remote.resources import ray_redis

        return ray_redis

    def _await(self, host: Host, wanted: Spec, seen: List[Node]) -> None:
        """Wait until the node is in the cluster; the ones that were seen before are no proof."""
        from provisioner.remote.resources import ray_checks

        name, old = service.service_name(host), {node["id"] for node in seen if node["host"] == host.name}
        deadline = time.monotonic() + START_LIMIT
        looked = time.monotonic()
        while not self._is_in(host, wanted, old):
            now = time.monotonic()
            if now > deadline:
                raise ray_checks.start_failure(host, name, "was not in the head's node list after %d s" % START_LIMIT)
            if now - looked > LOOK:
                looked = now
                state = host.service_manager.observe(host, name)
                if state["failing"] and not ray_checks.was_only_slow(host, name):
                    raise ray_checks.start_failure(host, name, "ended right after its start")
            time.sleep(POLL)

    def _go_back(self, host: Host, now: Optional[Spec], failed: Spec, seen: List[Node], error: Exception) -> Failure:
        """Have the node run again as it did, if it can; returns what is to be said about it."""
        failure = from_exception(error)
        former = self._way_back(host, now, failed)
        if former is None:
            return failure
        host.doing("going back to %s" % ray_spec.versions(former))
        told, known = ray_spec.did_not_come_up(failed, former, failure)
        try:
            former = self._settled(host, former, now)
            self._start(host, former, running=True)
            self._await(host, former, seen)
        except Exception as second:
            again = from_exception(second)
            return Failure("%s; %s did not come up again either: %s" % (told, known, again.message), again.remedy)
        missing = self._await_others(host, former, seen)
        away = "; not back in it yet: %s" % ", ".join(missing) if missing else ""
        return Failure("%s; went back to %s, which runs%s" % (told, known, away), failure.remedy)

    def _way_back(self, host: Host, now: Optional[Spec], failed: Spec) -> Optional[Spec]:
        """Return what the node last ran with; None if it only did not come up as it always was."""
        if now is not None and now["config"] == failed["config"] and ray_history.is_proven(host, failed):
            return None

        def suits(spec: Spec) -> bool:
            other = bool(spec["proven"] and spec["config"] != failed["config"])
            return other and (self.role == "head" or ray_spec.fits(spec, failed))

        return ray_history.newest(host, suits)

    def _await_others(self, host: Host, spec: Spec, seen: List[Node]) -> List[str]:
        """Wait for the nodes that were in the cluster before; returns the hosts that are not back."""
        return []

    def _joins(self, host: Host, wanted: Spec, old: Set[str], limit: float) -> bool:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if self._is_in(host, wanted, old):
                return True
            time.sleep(POLL)
        return False

    def _is_in(self, host: Host, wanted: Spec, old: Set[str]) -> bool:
        mine = living(self.nodes(host, wanted), host.name, wanted["node_ip"])
        return any(node["config"] == wanted["config"] and node["id"] not in old for node in mine)

    def traces(self, host: Host) -> List[Difference]:
        name = service.service_name(host)
        state = host.service_manager.observe(host, name)
        stops = "Ray on %s" % host.name if state["active"] or host.own_processes() else ""
        spec = service.read_spec(host, name)
        if stops or state["defined"] is not None or spec or host.marker.get(self.key):
            role = ray_history.running_role(spec, self.role)
            return [difference("remove", "Ray %s" % role, before="service %s" % name, stops=stops)]
        return []

    def remove(self, host: Host) -> str:
        name = service.service_name(host)
        entry = host.marker.get(self.key) or {}
        host.doing("stopping Ray")
        ray_removal.retire_former(host, name, entry)
        self._stop(host, name)
        host.service_manager.undefine(host, name)
        ray_removal.remove_temp_dir(host, entry)
        ray_removal.remove_folders(host)
        host.marker.drop(self.key)
        return "stopped and removed"

    def _stop(self, host: Host, name: str) -> None:
        host.service_manager.stop(host, name)
        ray_removal.end_leftovers(host)


class RayWorker(RayNode):
    kind = "ray_worker"
    role = "worker"

    def nodes(self, host: Host, spec: Spec, max_age: float = 0.0) -> Optional[List[Node]]:
        try:
            args = {"dashboard": spec.get("dashboard") or self.params["dashboard"], "max_age": max_age}
            answer = host.wire.ask(self.params["head"], "nodes", args, 30.0)
        except Failure:
            return None
        self._token = answer["token"]
        nodes: Optional[List[Node]] = answer["nodes"]
        return nodes

    def _check(self, host: Host, now: Optional[Spec], wanted: Spec, seen: List[Node]) -> None:
        from provisioner.remote.resources import ray_checks

        super()._check(host, now, wanted, seen)
        ray_checks.check_fits_head(host, wanted, self.params["head"])
        ray_checks.check_reachable(wanted["gcs"], self.params["head"])

    def _destination(self, host: Host, now: Optional[Spec]) -> Optional[Spec]:
        head: Optional[Spec] = host.wire.ask(self.params["head"], "destination", None, 60.0)
        return ray_history.fitting(host, now, head) if now and head else None
