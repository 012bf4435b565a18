"""prometheus: the cluster's own Prometheus, which collects what every node of Ray tells of itself.

As with Redis, an instance of our own of the system's package; what the package would run by itself stays stopped. It
knows no secret, and asks for none: who reaches its port reads the cluster's metrics. A teardown leaves the data.
"""

from __future__ import annotations

import os
import time

from provisioner.remote import folders, secrets, service
from provisioner.remote.failure import Failure
from provisioner.remote.resource import difference
from provisioner.remote.resources import prometheus_config as config
from provisioner.remote.resources.own_server import OwnServer
from provisioner.remote.resources.server_package import ServerPackage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from provisioner.remote.host import Host
    from provisioner.remote.resource import Difference

PACKAGE = ServerPackage(
    "Prometheus",
    programs=("prometheus",),
    packages={
        "apt-get": ("prometheus",),
        "dnf": ("golang-github-prometheus",),
        "zypper": ("golang-github-prometheus-prometheus",),
        "apk": ("prometheus",),
        "pacman": ("prometheus",),
        "brew": ("prometheus",),
    },
    units=("prometheus",),
)
ANSWER_LIMIT = 3.0
"""Seconds for it to say whether it is ready."""


class Prometheus(OwnServer):
    """Params: ``port``, ``address`` (where it listens), ``targets`` (ADDRESS:PORT to ask, by name of their host)."""

    kind = "prometheus"
    what = "Prometheus"
    section = "metrics"

    def service_name(self, host: Host) -> str:
        return service.prometheus_name(host)

    def observe(self, host: Host) -> List[Difference]:
        if host.platform.os == "windows":
            raise Failure(
                "Prometheus is not run on Windows", "name a Linux or macOS host in `metrics: {prometheus: ...}`"
            )
        host.service_manager.require(host)
        program = PACKAGE.find() or ""
        if not program or self.is_half_installed(host):
            package = difference("add", "package %s" % PACKAGE.wanted(host))
            return [package, *self._compare(host, program)]
        return self._compare(host, program)

    def _compare(self, host: Host, program: str) -> List[Difference]:
        name = self.service_name(host)
        state, spec = host.service_manager.observe(host, name), service.read_spec(host, name)
        if spec is None and not state["active"]:
            return [difference("add", self.what, after="service %s, port %d" % (name, self.params["port"]))]
        found = []
        if config.read(host) != config.text(self.params["targets"]):
            found.append(difference("change", "whom Prometheus asks", "others", "as declared"))
        if program and (spec or {}).get("argv") != self._argv(host, program):
            found.append(difference("change", "what service %s starts" % name, "another command", "as declared"))
        found += [difference("change", *flaw) for flaw in service.flaws(host, name, state)]
        if not found and not (state["active"] and not self._problem()):
            before = "does not answer" if state["active"] else "stopped"
            found.append(difference("change", self.what, before, "running"))
        return found

    def ensure(self, host: Host) -> str:
        done = []
        begun = time.monotonic()
        self.note(host, installing=None)
        if PACKAGE.find() is None or self.is_half_installed(host):
            host.doing("installing Prometheus")
            self.note(host, [PACKAGE.wanted(host)], installing=True)
            installed = PACKAGE.install(host)
            self.note(host, installed)
            done.append("installed %s" % ", ".join(installed))
        program = PACKAGE.find()
        assert program is not None
        host.platform.secure_root(host)
        if self._renew(host, program):
            done.append("answers after %.1f s" % (time.monotonic() - begun))
        return "; ".join(done)

    def _renew(self, host: Host, program: str) -> bool:
        """Have it run as declared; tell whether anything had to be done."""
        name = self.service_name(host)
        self.retire_former(host, host.marker.get(self.key) or {})
        state, spec = host.service_manager.observe(host, name), self._spec(host, program)
        text = config.text(self.params["targets"])
        same = config.read(host) == text and service.read_spec(host, name) == spec
        if same and service.is_whole(host, name, state) and state["active"] and not self._problem():
            return False
        host.doing("starting Prometheus")
        if not state["active"]:
            self.end_leftovers(host, self.params["address"])
        self._write(host, name, spec, text)
        host.service_manager.define(host, name)
        host.service_manager.restart(host, name)
        self.wait_until_it_answers(host, self._problem)
        return True

    def _write(self, host: Host, name: str, spec: Dict[str, Any], text: str) -> None:
        host.folder(config.FOLDER)  # ours: what the account could link elsewhere, root would write there
        host.platform.make_folder(config.data(host), host.account)
        if host.platform.privileged():
            folders.give_tree(config.data(host), host.account)  # another account's, until now
        os.chmod(config.data(host), 0o700)
        host.write(config.path(host), text.encode("utf-8"))
        service.write_spec(host, name, spec)

    def _argv(self, host: Host, program: str) -> List[str]:
        return config.argv(host, program, self._where())

    def _where(self) -> str:
        address = self.params["address"]
        return "%s:%d" % ("[%s]" % address if ":" in address else address, self.params["port"])

    def _spec(self, host: Host, program: str) -> Dict[str, Any]:
        from provisioner.remote.host import MARK

        return {
            "argv": self._argv(host, program),
            # Not the mark of Ray's processes, which are ended by it.
            "env": {MARK: service.mark(host, self.service_name(host))},
            "path": os.path.dirname(program),
            "python": host.interpreter() or "python3",
            "log": service.log_path(host, self.service_name(host)),
            "temp_dir": config.data(host),
        }

    def _problem(self) -> str:
        """Return what is wrong with its answer, empty if it is ready."""
        from urllib.error import URLError
        from urllib.request import ProxyHandler, build_opener

        direct = build_opener(ProxyHandler({}))
        try:
            with direct.open("http://%s/-/ready" % self._where(), timeout=ANSWER_LIMIT) as answer:
                answer.read(1000)
        except URLError as error:
            return str(error.reason)
        except (OSError, ValueError) as error:
            return str(error) or type(error).__name__
        return ""

    def remove(self, host: Host) -> str:
        name = self.service_name(host)
        entry = host.marker.get(self.key) or {}
        if entry:
            self.retire_former(host, entry)
        host.doing("stopping Prometheus")
        host.service_manager.stop(host, name)
        host.service_manager.undefine(host, name)
        stays = PACKAGE.remove(host, entry.get("ours", [])) if entry.get("ours") else ""
        for path in (config.path(host), service.log_path(host, name)):
            secrets.discard(path)
        service.remove_files(host, name)
        folders.remove_if_empty(config.data(host))
        folders.remove_if_empty(host.path(config.FOLDER))
        host.marker.drop(self.key)
        kept = "; its data stay in %s" % config.data(host) if os.path.isdir(config.data(host)) else ""
        return "stopped and removed" + kept + ("; %s" % stays if stays else "")
