"""redis_server: the cluster's own Redis, in which the head keeps its state so that the next head goes on with it.

An instance of our own, with a configuration, a port, data and a service of its own, run by the server of the system's
packages as the account that runs Ray; what the package would run by itself stays stopped, what ran before is not
touched. A teardown leaves the data.
"""

from __future__ import annotations

import os
import time

from provisioner.remote import folders, secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.resource import Resource, difference
from provisioner.remote.resources import ray_removal, redis_config, redis_package, redis_talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

START_LIMIT = 60.0
"""Seconds for it to answer; it reads its data first."""
POLL = 0.05


class RedisServer(Resource):
    """Params: ``port``, ``bind`` (addresses), ``password`` (made here if there is none)."""

    kind = "redis_server"

    def observe(self, host: Host) -> List[Difference]:
        if host.platform.os == "windows":
            raise Failure("there is no Redis server for Windows", "name a Linux or macOS host in `redis: {host: ...}`")
        host.service_manager.require(host)
        program = redis_package.find() or ""
        if not program or self._is_half_installed(host):
            package = difference("add", "package %s" % redis_package.wanted(host))
            return [package, *self._compare(host, program)]
        return self._compare(host, program)

    def _is_half_installed(self, host: Host) -> bool:
        """Tell whether a run was interrupted while it installed the package: it may run a server by itself."""
        return bool((host.marker.get(self.key) or {}).get("installing"))

    def _compare(self, host: Host, program: str) -> List[Difference]:
        name = service.redis_name(host)
        state = host.service_manager.observe(host, name)
        stops = "Redis on %s" % host.name if state["active"] else ""
        found = self._compare_password(host, stops)
        password = self._password(host)
        if service.read_spec(host, name) is None and not state["active"]:
            return [*found, difference("add", "Redis", after="service %s, port %d" % (name, self.params["port"]))]
        if password:
            wanted = redis_config.text(host, self.params["port"], self.params["bind"], password)
            settings = redis_config.differing(redis_config.read(host), wanted)
            if settings:
                told = ", ".join(settings)
                found.append(difference("change", "Redis's settings (%s)" % told, "others", "as declared", stops))
        if program and (service.read_spec(host, name) or {}).get("argv") != self._argv(host, program):
            found.append(difference("change", "what service %s starts" % name, "another program", program, stops))
        found += [difference("change", *flaw, stops=stops) for flaw in service.flaws(host, name, state)]
        exposed = self._exposure(host)
        if exposed:
            found.append(difference("change", "who may use %s" % redis_config.path(host), *exposed))
        if not found and not (state["active"] and self._answers(host, password)):
            before = "does not answer" if state["active"] else "stopped"
            found.append(difference("change", "Redis", before, "running", stops))
        return found

    def _compare_password(self, host: Host, stops: str) -> List[Difference]:
        now, wanted = secrets.original(host, secrets.REDIS), self.params.get("password")
        if now is None:
            return [difference("add", "Redis's password", after="as declared" if wanted else "made on this host")]
        if wanted not in (None, now):
            return [difference("change", "Redis's password", "another secret", "as declared", stops)]
        flaws = secrets.flaws(host, secrets.original_path(host, secrets.REDIS), "Redis's password", now)
        return [difference("change", *flaw) for flaw in flaws]

    def _password(self, host: Host) -> Optional[str]:
        return self.params.get("password") or secrets.original(host, secrets.REDIS)

    def _answers(self, host: Host, password: Optional[str]) -> bool:
        return self._problem(host, password or "") == ""

    def _problem(self, host: Host, password: str) -> str:
        def trusted(connection: socket.socket) -> bool:
            return service.is_trusted(host, service.redis_name(host), connection)

        return redis_talk.problem(self.params["port"], password, trusted)

    def _exposure(self, host: Host) -> Optional[Tuple[str, str]]:
        """Return who may use its configuration, which has the password, and who should; None if only they may."""
        path = redis_config.path(host)
        return host.platform.exposure(path, host.account) if os.path.lexists(path) else None

    def ensure(self, host: Host) -> str:
        done = []
        begun = time.monotonic()
        self._note(host, installing=None)
        if redis_package.find() is None or self._is_half_installed(host):
            host.doing("installing Redis")
            self._note(host, [redis_package.wanted(host)], installing=True)
            installed = redis_package.install(host)
            self._note(host, installed)
            done.append("installed %s" % ", ".join(installed))
        program = redis_package.find()
        assert program is not None
        host.platform.secure_root(host)
        password = self._password(host) or secrets.new()
        secrets.keep(host, secrets.REDIS, password)
        if self._renew(host, program, password):
            done.append("answers after %.1f s" % (time.monotonic() - begun))
        return "; ".join(done)

    def _note(self, host: Host, packages: Sequence[str] = (), installing: Optional[bool] = False) -> None:
        """Write down what is about to be made; never a password.

        Args:
            installing: whether packages are; None: as before.
        """
        entry = host.marker.get(self.key) or {}
        kind = entry.get("manager", host.service_manager.kind)
        noted = {
            "kind": self.kind,
            "params": {name: value for name, value in self.params.items() if name != "password"},
            "ours": sorted({*entry.get("ours", ()), *packages}),
            "manager": kind,
        }
        if entry.get("installing") if installing is None else installing:
            noted["installing"] = True
        host.marker.put(self.key, noted)

    def _renew(self, host: Host, program: str, password: str) -> bool:
        """Have it run as declared; tell whether anything had to be done."""
        name = service.redis_name(host)
        self._retire_former(host, name, host.marker.get(self.key) or {})
        text = redis_config.text(host, self.params["port"], self.params["bind"], password)
        state = host.service_manager.observe(host, name)
        spec = self._spec(host, program)
        same = redis_config.read(host) == text and service.read_spec(host, name) == spec
        if same and service.is_whole(host, name, state) and state["active"] and self._answers(host, password):
            if self._exposure(host):
                secrets.write(host, redis_config.path(host), text.encode("utf-8"), host.account)
            return False
        host.doing("starting Redis")
        if not state["active"]:
            host.service_manager.stop(host, name)
            host.platform.kill(host.platform.processes_of(service.mark(host, name)))  # whose supervisor was killed
            self._check_port(host)
        self._write(host, name, spec, text)
        host.service_manager.define(host, name)
        host.service_manager.restart(host, name)
        self._await(host, name, password)
        return True

    def _write(self, host: Host, name: str, spec: Dict[str, Any], text: str) -> None:
        host.folder(redis_config.FOLDER)  # ours: what the account could link elsewhere, root would write there
        host.platform.make_folder(redis_config.data(host), host.account)
        if host.platform.privileged():
            folders.give_tree(redis_config.data(host), host.account)  # another account's, until now
        os.chmod(redis_config.data(host), 0o700)
        secrets.write(host, redis_config.path(host), text.encode("utf-8"), host.account)
        service.write_spec(host, name, spec)

    def _argv(self, host: Host, program: str) -> List[str]:
        return [program, redis_config.path(host)]

    def _spec(self, host: Host, program: str) -> Dict[str, Any]:
        from provisioner.remote.host import MARK

        return {
            "argv": self._argv(host, program),
            # Not the mark of Ray's processes, which are ended by it.
            "env": {MARK: service.mark(host, service.redis_name(host))},
            "path": os.path.dirname(program),
            "python": host.interpreter() or "python3",
            "log": redis_config.log(host),
            "temp_dir": redis_config.data(host),
            "direct": True,
        }

    def _check_port(self, host: Host) -> None:
        """Raise a Failure that names who has the port."""
        import socket

        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.params["port"]))
            except OSError:
                owner = host.platform.port_owner(self.params["port"])
                raise Failure(
                    "port %d, for Redis, is taken by %s" % (self.params["port"], owner),
                    "end that program, or write another one: `redis: {port: ...}`",
                ) from None

    def _await(self, host: Host, name: str, password: str) -> None:
        deadline = time.monotonic() + START_LIMIT
        while True:
            problem = self._problem(host, password)
            failing = host.service_manager.observe(host, name)["failing"]
            if not problem and not failing:
                return
            if failing or time.monotonic() > deadline:
                how = "ended right after its start" if failing else "does not answer: %s" % problem
                raise Failure(
                    "Redis %s: %s" % (how, redis_config.last_words(host)),
                    "its whole log on the host: %s" % redis_config.log(host),
                )
            time.sleep(POLL)

    def _retire_former(self, host: Host, name: str, entry: Dict[str, Any]) -> None:
        """Take it from another service manager that has kept it until now."""
        ray_removal.retire_former(host, name, entry)
        host.marker.put(self.key, dict(entry, manager=host.service_manager.kind))

    def traces(self, host: Host) -> List[Difference]:
        name = service.redis_name(host)
        entry = host.marker.get(self.key)
        if entry is None and service.read_spec(host, name) is None:
            return []
        state = host.service_manager.observe(host, name)
        stops = "Redis on %s" % host.name if state["active"] else ""
        packages = [difference("remove", "package %s" % each) for each in (entry or {}).get("ours", [])]
        return [difference("remove", "Redis", before="service %s" % name, stops=stops), *packages]

    def remove(self, host: Host) -> str:
        name = service.redis_name(host)
        entry = host.marker.get(self.key) or {}
        if entry:
            self._retire_former(host, name, entry)
        host.doing("stopping Redis")
        host.service_manager.stop(host, name)
        host.service_manager.undefine(host, name)
        stays = redis_package.remove(host, entry.get("ours", [])) if entry.get("ours") else ""
        secrets.forget(host, secrets.REDIS)
        for path in (redis_config.path(host), redis_config.log(host)):
            secrets.discard(path)
        service.remove_files(host, name)
        folders.remove_if_empty(redis_config.data(host))
        folders.remove_if_empty(host.path(redis_config.FOLDER))
        host.marker.drop(self.key)
        kept = "; its data stay in %s" % redis_config.data(host) if os.path.isdir(redis_config.data(host)) else ""
        return "stopped and removed" + kept + ("; %s" % stays if stays else "")
