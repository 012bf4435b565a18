"""ray_head and ray_worker: a node of the cluster, kept running by the host's service manager.

Whether it runs is read from the head's node list, never from an exit code: ``ray start`` exits 0 for a node that dies
two seconds later. The label ``provision/config`` tells a node that runs with an older configuration.

A node that does not come up with another configuration goes back to the one it had, if it can be in the cluster with
that: a head always can, a worker only with the head's version.
"""

from __future__ import annotations

import os
import time

from provisioner.remote import files, service, tls
from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.resource import Resource, difference, mended
from provisioner.remote.resources import ray_history, ray_removal, ray_spec, ray_token
from provisioner.remote.resources.ray_state import fetch_nodes, living

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
RETURN_LIMIT = 90.0
"""Seconds that workers get to rejoin a head that went back: their units start them again and again meanwhile."""
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
        return "ray"

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
        found = [difference(*change, stops=stops) for change in ray_spec.changes(now or {}, wanted)]
        flaws = service.flaws(host, name, state)
        found += [mended(*flaw, stops=stops) for flaw in flaws]
        found += ray_token.differences(host, now or {}, wanted, self.params["head"], stops)
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
        state, now = host.service_manager.observe(host, name), service.read_spec(host, name)
        wanted = ray_token.settled(host, wanted, now, self.params["head"])
        same = now == wanted and service.is_whole(host, name, state) and self._has_its_secrets(host)
        if same:
            ray_token.tidy(host, wanted, self.params["head"])
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
        ray_token.tidy(host, wanted, self.params["head"])
        return "in the cluster after %.1f s%s" % (time.monotonic() - begun, self._kept)

    def _check(self, host: Host, now: Optional[Spec], wanted: Spec, seen: List[Node]) -> None:
        """Find what would keep the node from starting, or others from staying, before the one that runs is stopped."""
        from provisioner.remote.resources import ray_checks

        ray_checks.check_address(wanted["node_ip"])
        ray_checks.check_certified(wanted)
        host.platform.check_sessions(wanted["temp_dir"], host.service_manager.runs_as(host))
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
            self._note(host, wanted["temp_dir"])
            self._hand_over(host)
            ray_token.put(host, wanted, self.params["head"])
            service.write_spec(host, name, wanted)
            host.service_manager.define(host, name)
            host.doing("starting Ray")
            host.service_manager.restart(host, name)
        finally:
            service.UNFINISHED.clear()

    def _has_its_secrets(self, host: Host) -> bool:
        """Tell whether the node would be started with the secrets of now."""
        return True

    def _hand_over(self, host: Host) -> None:
        """Write the secrets that the node is started with."""

    def _note(self, host: Host, temp_dir: str) -> None:
        """Write down what is about to be made; a folder that was there before is not ours to remove."""
        entry = host.marker.get(self.key) or {}
        same = entry.get("temp_dir") == temp_dir
        if not same and entry.get("made_temp_dir"):
            files.remove_tree(entry["temp_dir"])
        made = bool(entry["made_temp_dir"]) if same else not os.path.isdir(temp_dir)
        kind = host.service_manager.kind
        host.marker.put(self.key, {"manager": kind, "temp_dir": temp_dir, "made_temp_dir": made})

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
            former = ray_token.settled(host, former, now, self.params["head"])
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
        ray_removal.remove_temp_dir(host, entry or {"temp_dir": host.temp_dir(), "made_temp_dir": True})
        ray_removal.remove_folders(host)
        host.marker.drop(self.key)
        return "stopped and removed"

    def _stop(self, host: Host, name: str) -> None:
        host.service_manager.stop(host, name)
        ray_removal.end_leftovers(host)


class RayHead(RayNode):
    kind = "ray_head"
    role = "head"
    _left = ""
    """Names the hosts whose nodes can't come along because the run is limited."""

    def nodes(self, host: Host, spec: Spec, max_age: float = 0.0) -> Optional[List[Node]]:
        address = spec.get("dashboard") or self.params["dashboard"]
        return fetch_nodes(address, max_age, tokens=ray_token.shown_to_ray(host))

    def _check(self, host: Host, now: Optional[Spec], wanted: Spec, seen: List[Node]) -> None:
        from provisioner.remote.resources import ray_checks

        super()._check(host, now, wanted, seen)
        # Who goes back with --limit leaves out those that can't, and was told so.
        if now is not None and not wanted.get(ray_history.REVERTED):
            ray_checks.check_left_out(host, now, wanted, {node["host"] for node in seen})

    def former(self, host: Host) -> List[Difference]:
        from provisioner.remote.resources import ray_checks

        found = super().former(host)
        now = service.read_spec(host, service.service_name(host))
        if now is None or self._target is None:
            return found
        nodes = {node["host"] for node in self.nodes(host, now, max_age=5.0) or [] if node["alive"]}
        self._left = ray_checks.left_out(host, now, self._target, nodes)
        if self._left:
            what = "the nodes on %s, which take no part in this run" % self._left
            found.append(difference("change", what, "in the cluster", "left out", what))
        return found

    def revert(self, host: Host) -> str:
        done = super().revert(host)
        if not self._left:
            return done
        return "%s; left out: %s, which `provision rollback` without --limit takes along" % (done, self._left)

    def _destination(self, host: Host, now: Optional[Spec]) -> Optional[Spec]:
        target = ray_history.destination(host, rollback=True)
        if now is None:
            host.shared["cannot"] = "no Ray of ours is on this host", "`provision apply` makes the cluster"
        elif target is None:
            host.shared["cannot"] = (
                "there is nothing to go back to: %s is the first that ran here" % ray_spec.versions(now),
                "to run another version, declare it and `provision apply`",
            )
        return target

    def _await_others(self, host: Host, spec: Spec, seen: List[Node]) -> List[str]:
        wanted = {node["host"] for node in seen if node["host"] not in ("", host.name)}
        deadline = time.monotonic() + RETURN_LIMIT
        while True:
            missing = wanted - {node["host"] for node in self.nodes(host, spec) or [] if node["alive"]}
            if not missing or time.monotonic() > deadline:
                return sorted(missing)
            host.doing("waiting for %s to come back" % ", ".join(sorted(missing)[:3]))
            time.sleep(1.0)


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
