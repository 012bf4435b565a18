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
from provisioner.remote.resource import difference
from provisioner.remote.resources import redis_config, redis_package, redis_talk
from provisioner.remote.resources.own_server import OwnServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Dict, List, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference


class RedisServer(OwnServer):
    """Params: ``port``, ``bind`` (addresses), ``password`` (made here if there is none)."""

    kind = "redis_server"
    what = "Redis"
    section = "redis"
    secret = ("password",)

    def service_name(self, host: Host) -> str:
        return service.redis_name(host)

    def observe(self, host: Host) -> List[Difference]:
        if host.platform.os == "windows":
            raise Failure("there is no Redis server for Windows", "name a Linux or macOS host in `redis: {host: ...}`")
        host.service_manager.require(host)
        program = redis_package.find() or ""
        if not program or self.is_half_installed(host):
            package = difference("add", "package %s" % redis_package.wanted(host))
            return [package, *self._compare(host, program)]
        return self._compare(host, program)

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
        self.note(host, installing=None)
        if redis_package.find() is None or self.is_half_installed(host):
            host.doing("installing Redis")
            self.note(host, [redis_package.wanted(host)], installing=True)
            installed = redis_package.install(host)
            self.note(host, installed)
            done.append("installed %s" % ", ".join(installed))
        program = redis_package.find()
        assert program is not None
        host.platform.secure_root(host)
        password = self._password(host) or secrets.new()
        secrets.keep(host, secrets.REDIS, password)
        if self._renew(host, program, password):
            done.append("answers after %.1f s" % (time.monotonic() - begun))
        return "; ".join(done)

    def _renew(self, host: Host, program: str, password: str) -> bool:
        """Have it run as declared; tell whether anything had to be done."""
        name = service.redis_name(host)
        self.retire_former(host, host.marker.get(self.key) or {})
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
            self.end_leftovers(host, "127.0.0.1")
        self._write(host, name, spec, text)
        host.service_manager.define(host, name)
        host.service_manager.restart(host, name)
        self.wait_until_it_answers(host, lambda: self._problem(host, password))
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

    def remove(self, host: Host) -> str:
        name = service.redis_name(host)
        entry = host.marker.get(self.key) or {}
        if entry:
            self.retire_former(host, entry)
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
