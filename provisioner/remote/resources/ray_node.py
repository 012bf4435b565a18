"""ray_head and ray_worker: a node of the cluster, kept running by the host's service manager.

Whether it runs is read from the head's node list, never from an exit code: ``ray start`` exits 0 for a node that dies
two seconds later. The label ``provision/config`` tells a node that runs with an older configuration.
"""

from __future__ import annotations

import os
import time

from provisioner.remote import service
from provisioner.remote.failure import Failure
from provisioner.remote.resource import Resource, difference
from provisioner.remote.resources.ray_state import fetch_nodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference
    from provisioner.remote.resources.ray_state import Node

START_LIMIT = 120.0
"""Seconds for a started node to appear in the head's list (5-6 s on a quiet machine)."""
REJOIN_LIMIT = 20.0
"""Seconds that a running service gets to join by itself before it is restarted."""
POLL = 0.2


class RayNode(Resource):
    """Params: ``arguments`` of ``ray start``, ``env``, ``environment``, ``config``, ``node_ip``, ``ports``, ``gcs``,
    ``secret`` (names of options and variables that are not shown),
    ``dashboard`` (address and port on the head's host), ``head`` (its name)."""

    role = ""

    @property
    def key(self) -> str:
        return "ray"

    def nodes(self, host: Host, max_age: float = 0.0) -> Optional[List[Node]]:
        """Return the head's node list, None if the head does not answer."""
        raise NotImplementedError

    def observe(self, host: Host) -> List[Difference]:
        name = service.service_name(host)
        now, wanted = service.read_spec(host, name), self._spec(host)
        state = host.service_manager.observe(host, name)
        if now is None and not state["active"]:
            return [difference("add", "Ray %s" % self.role, after="service %s" % name)]
        stops = "Ray on %s" % host.name if state["active"] else ""
        changes = _changes(now or {}, wanted, self.params["secret"])
        found = [difference("change", *change, stops=stops) for change in changes]
        if state["defined"] != host.service_manager.definition(host, name) or not state["enabled"]:
            found.append(difference("change", "service %s" % name, "edited or incomplete", "as declared", stops))
        if found:
            return found
        if not state["active"]:
            return [difference("change", "Ray %s" % self.role, "stopped", "running")]
        return self._observe_membership(host)

    def _observe_membership(self, host: Host) -> List[Difference]:
        """Compare with the head's list. A worker that is not in it is restarted unasked: no work can be lost there."""
        nodes, stops = self.nodes(host, max_age=5.0), "Ray on %s" % host.name
        if nodes is None:
            cluster = stops if self.role == "head" else ""
            return [difference("change", "Ray %s" % self.role, "the head does not answer", "in the cluster", cluster)]
        mine = [node for node in nodes if node["host"] == host.name and node["alive"]]
        if not mine:
            return [difference("change", "Ray %s" % self.role, "not in the cluster", "in the cluster")]
        if mine[0]["config"] != self.params["config"]:
            return [difference("change", "Ray %s" % self.role, "runs an older configuration", "restarted", stops)]
        return []

    def ensure(self, host: Host) -> str:
        name = service.service_name(host)
        state = host.service_manager.observe(host, name)
        same = service.read_spec(host, name) == self._spec(host) and state["enabled"]
        same = same and state["defined"] == host.service_manager.definition(host, name)
        if same and state["active"] and not state["failing"] and self._joins(host, set(), REJOIN_LIMIT):
            return "in the cluster"
        if same and state["active"] and self.role == "worker" and self.nodes(host) is None:
            raise Failure("the head does not say who is in the cluster", "see Ray and its dashboard on the head")
        old = {node["id"] for node in self.nodes(host) or [] if node["host"] == host.name}
        self._start(host, name, running=state["active"] or state["failing"])
        begun = time.monotonic()
        self._await(host, name, old)
        return "in the cluster after %.1f s" % (time.monotonic() - begun)

    def _start(self, host: Host, name: str, running: bool) -> None:
        from provisioner.remote.resources import ray_checks

        ray_checks.check_address(self.params["node_ip"])
        self._retire_former(host, name)
        if running:
            host.doing("stopping Ray")
            self._stop(host, name)
        else:
            self._end_leftovers(host)
        ray_checks.check_ports(host, self.params["ports"])
        self._check_head(host)
        self._note(host)
        service.write_spec(host, name, self._spec(host))
        host.service_manager.define(host, name)
        host.doing("starting Ray")
        host.service_manager.restart(host, name)

    def _check_head(self, host: Host) -> None:
        """Nothing to ask on the head itself."""

    def _note(self, host: Host) -> None:
        """Write down what is about to be made; a folder that was there before is not ours to remove."""
        temp_dir, entry = self._temp_dir(host), host.marker.get(self.key) or {}
        same = entry.get("temp_dir") == temp_dir
        if not same:
            _remove_temp_dir(entry)
        made = bool(entry["made_temp_dir"]) if same else not os.path.isdir(temp_dir)
        kind = host.service_manager.kind
        host.marker.put(self.key, {"manager": kind, "temp_dir": temp_dir, "made_temp_dir": made})

    def _retire_former(self, host: Host, name: str) -> None:
        """Take the node from another service manager that has kept it until now."""
        kind = (host.marker.get(self.key) or {}).get("manager", host.service_manager.kind)
        if kind != host.service_manager.kind:
            former = host.platform.choose_manager(kind)
            former.stop(host, name)
            former.undefine(host, name)

    def _await(self, host: Host, name: str, old: Set[str]) -> None:
        from provisioner.remote.resources import ray_checks

        deadline = time.monotonic() + START_LIMIT
        looked = time.monotonic()
        while not self._is_in(host, old):
            now = time.monotonic()
            if now > deadline:
                raise ray_checks.start_failure(host, name, "was not in the head's node list after %d s" % START_LIMIT)
            if now - looked > 1.0:
                looked = now
                state = host.service_manager.observe(host, name)
                if state["failing"]:
                    raise ray_checks.start_failure(host, name, "ended right after its start")
            time.sleep(POLL)

    def _joins(self, host: Host, old: Set[str], limit: float) -> bool:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if self._is_in(host, old):
                return True
            time.sleep(POLL)
        return False

    def _is_in(self, host: Host, old: Set[str]) -> bool:
        mine = (node for node in self.nodes(host) or [] if node["host"] == host.name and node["alive"])
        return any(node["config"] == self.params["config"] and node["id"] not in old for node in mine)

    def traces(self, host: Host) -> List[Difference]:
        name = service.service_name(host)
        state = host.service_manager.observe(host, name)
        stops = "Ray on %s" % host.name if state["active"] or host.own_processes() else ""
        if stops or state["defined"] is not None or service.read_spec(host, name) or host.marker.get(self.key):
            return [difference("remove", "Ray %s" % self.role, before="service %s" % name, stops=stops)]
        return []

    def remove(self, host: Host) -> str:
        import shutil

        name = service.service_name(host)
        entry = host.marker.get(self.key) or {}
        host.doing("stopping Ray")
        self._retire_former(host, name)
        self._stop(host, name)
        host.service_manager.undefine(host, name)
        _remove_temp_dir(entry or {"temp_dir": host.temp_dir(), "made_temp_dir": True})
        for folder in (host.path("service"), host.path("log")):
            shutil.rmtree(folder, ignore_errors=True)
        host.marker.drop(self.key)
        return "stopped and removed"

    def _stop(self, host: Host, name: str) -> None:
        host.service_manager.stop(host, name)
        self._end_leftovers(host)

    def _end_leftovers(self, host: Host) -> None:
        """End what is left of our own tree; a stranger's Ray does not carry our mark."""
        deadline = time.monotonic() + 3.0
        while host.own_processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        left = host.own_processes()
        if left:
            host.platform.kill(left)
        if host.own_processes():
            raise Failure("Ray's processes %s can't be ended" % host.own_processes(), "reboot the host")

    def _temp_dir(self, host: Host) -> str:
        given: Optional[str] = self.params.get("temp_dir")
        return given or host.temp_dir()

    def _spec(self, host: Host) -> Dict[str, Any]:
        from provisioner.remote.host import MARK

        python = host.platform.interpreter_of(host.environment(self.params["environment"]))
        scripts = os.path.dirname(python)
        temp_dir = self._temp_dir(host)
        arguments = [*self.params["arguments"], "--temp-dir=" + temp_dir]
        return {
            "argv": [python, os.path.join(scripts, "ray"), "start", *arguments],
            # The dashboard's sockets would stay behind in /tmp.
            "env": dict({"TMPDIR": temp_dir}, **self.params["env"], **{MARK: host.root}),
            "path": scripts,
            "python": python,
            "log": service.log_path(host, service.service_name(host)),
            "temp_dir": temp_dir,
            "config": self.params["config"],
        }


class RayHead(RayNode):
    kind = "ray_head"
    role = "head"

    def nodes(self, host: Host, max_age: float = 0.0) -> Optional[List[Node]]:
        return fetch_nodes(self.params["dashboard"], max_age)


class RayWorker(RayNode):
    kind = "ray_worker"
    role = "worker"

    def nodes(self, host: Host, max_age: float = 0.0) -> Optional[List[Node]]:
        try:
            args = {"dashboard": self.params["dashboard"]}
            nodes: Optional[List[Node]] = host.wire.ask(self.params["head"], "nodes", dict(args, max_age=max_age), 30.0)
        except Failure:
            return None
        return nodes

    def _check_head(self, host: Host) -> None:
        from provisioner.remote.resources import ray_checks

        ray_checks.check_reachable(self.params["gcs"], self.params["head"])


def _remove_temp_dir(entry: Dict[str, Any]) -> None:
    """Remove the folder of Ray's sessions that a marker's entry names, if we made it."""
    import shutil

    if entry.get("made_temp_dir"):
        shutil.rmtree(entry["temp_dir"], ignore_errors=True)


def _changes(now: Dict[str, Any], wanted: Dict[str, Any], secret: List[str]) -> List[Tuple[str, str, str]]:
    """Return (what, before, after) for everything a node is started with that differs; secrets stay hidden."""
    if not now:
        return [("Ray's start", "unknown", "as declared")]
    before, after = _facets(now), _facets(wanted)
    differ = [name for name in sorted({**before, **after}) if before.get(name) != after.get(name)]
    return [
        ("ray " + name, "another secret", "a secret")
        if name in secret
        else ("ray " + name, before.get(name, ""), after.get(name, ""))
        for name in differ
    ]


def _facets(spec: Dict[str, Any]) -> Dict[str, str]:
    """Return what a user can recognize in a specification: options, labels and variables by name."""
    found = {"environment": spec["python"]}
    for argument in spec["argv"][3:]:
        name, _, value = argument.partition("=")
        if name == "--labels":
            pairs = (pair.partition("=") for pair in value.split(",") if not pair.startswith("provision/config="))
            found.update({"label " + label: text for label, _, text in pairs})
        else:
            found[name.lstrip("-")] = value or "yes"
    found.update({"env " + name: value for name, value in spec["env"].items()})
    return found
