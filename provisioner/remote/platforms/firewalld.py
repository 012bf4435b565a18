"""firewalld, where it runs: a policy and sets of addresses of our own, in its saved and in its running configuration.

The policy is heeded before every zone (firewalld.policies(5)), whatever zone an interface or an address belongs to, so
no zone of the user's is changed. It and its sets can only be made known by a reload. What only the running
configuration has would be lost by that: what comes and goes is put back, and because of anything else nothing is done.
Later changes need none. What runs is asked for over D-Bus by busctl: it takes a twentieth of the time of firewall-cmd,
which makes the changes.
"""

from __future__ import annotations

import os

from provisioner.remote import files
from provisioner.remote.failure import Failure
from provisioner.remote.platforms import reach
from provisioner.remote.platforms.firewalld_state import (
    State,
    policy_text,
    read_saved,
    running_state,
    set_text,
    values,
)
from provisioner.remote.platforms.firewalld_unsaved import Unsaved, settings
from provisioner.remote.resource import difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Set

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.reach import Span
    from provisioner.remote.platforms.ufw import Rule
    from provisioner.remote.resource import Difference

CLIENT = "/usr/bin/firewall-cmd"
BUSCTL = "/usr/bin/busctl"
SAVED = "/etc/firewalld"
POLICIES = "/usr/lib/firewalld/policies"
"""Is there from 0.9 on, the first release with policies."""
BUS = "org.fedoraproject.FirewallD1"
LIMIT = 60.0
RELOAD = "firewalld is reloaded; rules that other programs made past it may be lost"
"""Such as those of podman (podman-network-reload(1)): firewalld knows nothing of them."""
LONGEST = 17
"""Characters of a policy's name (max_policy_name_len in firewalld's functions.py)."""


class Firewalld:
    """Args:
    host: its platform runs firewalld's programs.
    top: the folder in which the system's files lie.
    """

    name = "firewalld"

    def __init__(self, host: Host, top: str = "/") -> None:
        self._host = host
        self._top = top
        self._name = policy_name(host.cluster)

    def is_active(self) -> bool:
        return self.is_installed() and runs("firewalld", self._top)

    def is_installed(self) -> bool:
        return os.path.exists(self._path(CLIENT))

    def is_too_old(self) -> bool:
        return not os.path.isdir(self._path(POLICIES))

    def differences(self, addresses: List[str], spans: List[Span]) -> List[Difference]:
        wanted = State.of(addresses, spans)
        saved, running = self._saved(), self._running()
        found = _compare(saved, running, wanted)
        if not found or _is_known(running, wanted):
            return found
        self._demand_saved()
        return [*found, difference("change", RELOAD)]

    def open(self, addresses: List[str], spans: List[Span]) -> str:
        wanted = State.of(addresses, spans)
        running = self._running()
        is_known = _is_known(running, wanted)
        unsaved = Unsaved(set(), set()) if is_known else self._demand_saved()
        self._save(wanted)
        said = self._change(running, wanted) if is_known else self._reload(unsaved)
        if _compare(self._saved(), self._running(), wanted):
            raise Failure(
                "firewalld's rules are not what they should be: it said: %s" % " ".join(said.split())[-300:],
                "see `firewall-cmd --info-policy=%s` on the host" % self._name,
            )
        return "%d addresses, %d spans of ports" % (sum(map(len, wanted.entries.values())), len(spans))

    def is_traced(self) -> bool:
        """Tell whether there is anything of ours. Where nothing is saved and firewalld does not answer, or knows no
        policies, there is not."""
        if self._files():
            return True
        try:
            return not self._own().is_empty()
        except Failure:
            return False

    def traces(self) -> List[Difference]:
        """Return what ``close`` would do."""
        if not self.is_traced():
            return []
        try:
            is_known = self._own().known
        except Failure:  # ``close`` says so
            is_known = False
        return [reach.letting_in(self.name), *([difference("change", RELOAD)] if is_known else [])]

    def close(self) -> str:
        running = self._own()
        there = self._files()
        if not there and running.is_empty():
            return ""
        unsaved = self._unsaved() if running.known else Unsaved(set(), set())
        for path in there:
            files.unlink(path)
        if not running.known:
            return "policy of firewalld removed"
        said = self._change(running, State()) if unsaved.lost else self._reload(unsaved)
        if not self._running().is_empty():
            raise Failure(
                "firewalld's rules for the cluster are still there: it said: %s" % " ".join(said.split())[-300:],
                "on the host: `sudo firewall-cmd --reload`; it drops what was never saved",
            )
        empty = "; its empty shell goes when firewalld is reloaded" if unsaved.lost else ""
        return "policy of firewalld removed" + empty

    def lent(self) -> List[Rule]:
        return []

    def shutting(self, addresses: List[str], spans: List[Span]) -> List[Rule]:
        return []

    def commands(self, addresses: List[str], spans: List[Span]) -> List[str]:
        """Return what an administrator would type: rules in the default zone, which any release takes."""
        wanted = State.of(addresses, spans)
        rule = "sudo firewall-cmd --permanent --add-rich-rule='%s'"
        form = "rule family=%s source address=$from port port=$port protocol=tcp accept"
        lines = [
            reach.each_of("from", entries, reach.each_of("port", wanted.ports, rule % (form % family)))
            for family, entries in wanted.entries.items()
        ]
        return [*lines, "sudo firewall-cmd --reload"]

    def closing_commands(self) -> List[str]:
        """Return what an administrator would type to look for rules of the cluster, and to remove them."""
        return [
            "sudo firewall-cmd --permanent --list-rich-rules",
            "sudo firewall-cmd --permanent --remove-rich-rule='RULE'",
            "sudo firewall-cmd --permanent --delete-policy=%s" % self._name,
            "sudo firewall-cmd --reload",
        ]

    def zones(self) -> Dict[str, Dict[str, Any]]:
        """Return the settings of the zones that strangers come to: the default one, and those of interfaces."""
        default = values(self._call("", "getDefaultZone"))
        active = values(self._call("zone", "getActiveZones"))
        names = [name for name, bound in (active[0] if active else {}).items() if bound.get("interfaces")]
        found = {}
        for name in dict.fromkeys([*default, *names]):
            settings = values(self._call("zone", "getZoneSettings2", name))
            found[str(name)] = settings[0] if settings else {}
        return found

    def _own(self) -> State:
        """Return what runs of ours; Failure if a firewalld that could have any does not say."""
        return self._running() if self.is_active() and not self.is_too_old() else State()

    def _saved(self) -> State:
        folder = self._path(SAVED)
        return read_saved(
            os.path.join(folder, "policies", self._name + ".xml"),
            {family: os.path.join(folder, "ipsets", self._set(family) + ".xml") for family in ("ipv4", "ipv6")},
        )

    def _running(self) -> State:
        policy = self._call("policy", "getPolicySettings", self._name, "INVALID_POLICY")
        if not policy:
            return State()
        sets = {f: self._call("ipset", "getEntries", self._set(f), "INVALID_IPSET") for f in ("ipv4", "ipv6")}
        return running_state(policy, sets)

    def _save(self, wanted: State) -> None:
        folder = self._path(SAVED)
        title = "provision " + self._host.cluster
        for family, entries in wanted.entries.items():
            path = os.path.join(folder, "ipsets", self._set(family) + ".xml")
            self._host.write(path, set_text(title, family, entries).encode("ascii"))
        policy = policy_text(title, {family: self._set(family) for family in wanted.entries}, wanted.ports)
        self._host.write(os.path.join(folder, "policies", self._name + ".xml"), policy.encode("ascii"))
        for path in self._files():
            family = "ipv6" if os.path.basename(path).startswith(self._set("ipv6") + ".") else ""
            if family and family not in wanted.entries:
                files.unlink(path)

    def _change(self, running: State, wanted: State) -> str:
        """Have the running configuration as wanted; sets that nothing uses any more stay, empty."""
        said = []
        policy, now, then = "--policy=" + self._name, running.rules(self._set), wanted.rules(self._set)
        said.append(self._command([policy], ["--add-rich-rule=" + rule for rule in then if rule not in now]))
        for family in running.sets:
            own, before, after = (
                "--ipset=" + self._set(family),
                running.entries.get(family, []),
                wanted.entries.get(family, []),
            )
            # first what goes: sets take nothing that overlaps with what they hold
            said.append(self._command([own], ["--remove-entry=" + each for each in before if each not in after]))
            said.append(self._command([own], ["--add-entry=" + each for each in after if each not in before]))
        said.append(self._command([policy], ["--remove-rich-rule=" + rule for rule in now if rule not in then]))
        return " ".join(said)

    def _demand_saved(self) -> Unsaved:
        """Return what is to be put back after a reload.

        Raises:
            LeftAlone: it would lose something else.
        """
        unsaved = self._unsaved()
        if unsaved.lost:
            raise reach.LeftAlone(
                "a reload, which makes our rules known to it, would lose what was never saved: %s"
                % "; ".join(unsaved.lost),
                "on the host: `sudo firewall-cmd --runtime-to-permanent` saves all that runs, `sudo firewall-cmd "
                "--reload` drops it; then the same again",
            )
        return unsaved

    def _unsaved(self) -> Unsaved:
        return Unsaved(self._settings([]), self._settings(["--permanent"]))

    def _reload(self, unsaved: Unsaved) -> str:
        said = [self._command(["--reload"])]
        said += [self._command(where, words) for where, words in unsaved.commands()]
        return " ".join(said)

    def _settings(self, mode: List[str]) -> Set[str]:
        """Return every setting of zones and policies but ours, and every direct rule, in a line each."""
        found = settings(self._command([*mode, "--list-all-zones"]), "zone")
        found |= settings(self._command([*mode, "--list-all-policies"]), "policy")
        direct = self._command([*mode, "--direct", "--get-all-rules"]).splitlines()
        found.update("direct rule " + line.strip() for line in direct if line.strip())
        return {row for row in found if not row.startswith("policy %s," % self._name)}

    def _files(self) -> List[str]:
        """Return the files of ours, with the copies that firewalld made of them and what a killed run has left."""
        found = []
        stems = {"policies": [self._name], "ipsets": [self._set("ipv4"), self._set("ipv6")]}
        for folder, names in stems.items():
            path = self._path(os.path.join(SAVED, folder))
            there = sorted(os.listdir(path)) if os.path.isdir(path) else []
            found += [os.path.join(path, each) for each in there if each.startswith(tuple(n + ".xml" for n in names))]
        return found

    def _set(self, family: str) -> str:
        return "%s-%s" % (self._name, family[-1])

    def _command(self, words: List[str], more: Any = None) -> str:
        """Run firewall-cmd, unless there is nothing more for it to do; returns what it said."""
        if more is not None and not more:
            return ""
        code, output = self._host.platform.run([self._path(CLIENT), *words, *(more or [])], LIMIT, {"LC_ALL": "C"})
        if code and more is None:
            raise Failure("firewall-cmd says: %s" % " ".join(output.split())[-300:], "see `systemctl status firewalld`")
        return output if code else "" if more else output

    def _call(self, interface: str, method: str, name: str = "", unknown: str = "") -> str:
        """Ask firewalld something; returns busctl's words, "" if it answers with the error ``unknown``."""
        address = [BUS, "/" + BUS.replace(".", "/"), BUS + ("." + interface if interface else ""), method]
        code, output = self._host.platform.run(
            [self._path(BUSCTL), "--auto-start=no", "call", *address, *(["s", name] if name else [])], LIMIT
        )
        if code == 0:
            return output
        if unknown and unknown in output:
            return ""
        raise Failure(
            "firewalld does not answer: %s" % " ".join(output.split())[-200:], "see `systemctl status firewalld`"
        )

    def _path(self, path: str) -> str:
        return os.path.join(self._top, path.lstrip("/"))


def policy_name(cluster: str) -> str:
    """Return what the policy of a cluster is called: the cluster's name if there is room for it, else digits of it."""
    import hashlib

    room = LONGEST - len("provision-")
    fits = len(cluster) <= room
    return "provision-" + (cluster if fits else hashlib.sha256(cluster.encode()).hexdigest()[:room])


def runs(name: str, top: str = "/") -> bool:
    """Tell whether a program of that name runs here; in containers of this machine others may."""
    folder = os.path.join(top, "proc")
    for pid in os.listdir(folder) if os.path.isdir(folder) else ():
        if not pid.isdigit():
            continue
        try:
            with open(os.path.join(folder, pid, "comm"), "rb") as file:
                if file.read().strip() != name.encode():
                    continue
            if os.readlink(os.path.join(folder, pid, "ns/net")) != os.readlink(os.path.join(folder, "self/ns/net")):
                continue
        except FileNotFoundError:
            continue
        except OSError:  # whose network it is only root may know
            pass
        return True
    return False


def _is_known(running: State, wanted: State) -> bool:
    """Tell whether firewalld knows all that the wanted state needs, so that no reload does."""
    return running.known and set(wanted.entries) <= set(running.sets) and not running.odd


def _compare(saved: State, running: State, wanted: State) -> List[Difference]:
    name = Firewalld.name
    if saved.is_empty() and running.is_empty():
        return [reach.added(name, wanted.sum())]
    found = [] if running == wanted else reach.facets(name, running.sum(), wanted.sum())
    if saved not in (wanted, running):
        found += reach.facets("firewalld, as it is saved", saved.sum(), wanted.sum())
    return found
