"""The Windows firewall: rules that let the cluster's other hosts reach Ray's programs, and none that shut them out.

Rules are read from the registry, which is the same in every language and costs no program; they are changed by one
start of netsh, which runs a script of commands. Their names are ``provision CLUSTER DIGITS NUMBER``, where the digits
tell one set from the next. A new set is there before the old one goes: a connection that no rule allows any more would
be cut. Then the rules are put into a group, which netsh can't do: that is for who looks at them, and how it went
changes nothing.
"""

from __future__ import annotations

import ntpath
import os
import re
import sys
import threading
import time

from provisioner.remote import files
from provisioner.remote.failure import Failure, from_exception
from provisioner.remote.folders import interpreters
from provisioner.remote.platforms import reach
from provisioner.remote.platforms.firewall import Firewall
from provisioner.remote.platforms.windows import programs, rules
from provisioner.remote.resource import difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.firewall import Opening
    from provisioner.remote.resource import Difference

SERVICE = r"HKLM\SYSTEM\CurrentControlSet\Services"
RULES = SERVICE + r"\SharedAccess\Parameters\FirewallPolicy\FirewallRules"
DISABLED = 4
"""Start type of a service that is off (SERVICE_DISABLED)."""
FILES = " files"
"""Ends the name of rules for handing out files: they are there while a run lasts, and in no set."""
NETSH_LIMIT = 60.0
SETTLE_LIMIT = 15.0
"""Seconds for the registry to show what netsh did."""
GROUP = "EmbedCtxt"
"""The field of a rule that holds its group ([MS-GPFAS] 2.2.2.19)."""
GROUP_LIMIT = 15.0
"""Seconds for the rules to get into their group."""
TITLE = "provision "
"""Begins the name of every rule of ours."""
DESCRIPTION = "Other hosts of the Ray cluster may connect. Made by provision."
LISTENERS = (
    r"Lib\site-packages\ray\core\src\ray\raylet\raylet.exe",
    r"Lib\site-packages\ray\core\src\ray\gcs\gcs_server.exe",
    r"Scripts\python.exe",
)
"""Programs of an environment that others connect to (ray/_private/services.py); workers and agents are Python, and
what Scripts\\python.exe starts is the interpreter that the environment was made with."""


class WindowsFirewall(Firewall):
    """Windows Defender Firewall with its local rules. What a group policy or another product does, it can't change.

    Args:
        read: returns the data of a registry value, by key and name.
        values: returns all values of a registry key.
        group: puts rules, by their names, into a group; Failure if it can't.
    """

    def __init__(
        self,
        read: Callable[[str, str], Any],
        values: Callable[[str], Dict[str, Any]],
        group: Callable[[List[str], str], None],
    ) -> None:
        self._read = read
        self._values = values
        self._group = group

    def listeners(self, environment: str, interpreter: str) -> List[str]:
        return [interpreter] * bool(interpreter) + [ntpath.join(environment, path) for path in LISTENERS]

    def differences(self, host: Host, opening: Opening) -> List[Difference]:
        if self._is_off():
            return []
        present = self._present()
        ours = _ours(present, host.cluster)
        host.shared["shut ports"] = _shut_ports(present, opening)
        found = [
            difference("remove", "firewall rule %s" % name, before="keeps others from %s" % path)
            for name, path in _blocking(present, host, opening)
        ]
        return _compare(list(ours.values()), _wanted(host, opening, ours)) + found + self._forgotten(host, present)

    def open(self, host: Host, opening: Opening) -> str:
        present = self._present()
        ours = _ours(present, host.cluster)
        wanted = _wanted(host, opening, ours)
        blocking = [rules.delete_line(*each) for each in _blocking(present, host, opening)]
        right = not _compare(list(ours.values()), wanted) and not any(rules.takes_all(line) for line in blocking)
        names = _names(host.cluster, wanted)
        exchange = [] if right else _exchange(names, ours, wanted)
        forgotten = [rules.delete_line(_files(host.cluster))] if self._forgotten(host, present) else []
        said = self._netsh(host, blocking + forgotten + exchange)

        def is_done() -> bool:
            now = self._present()
            found = [rules.one(fields, "Name") for fields in _ours(now, host.cluster).values()]
            others = _blocking(now, host, opening) or self._forgotten(host, now)
            return (right or sorted(found) == sorted(names)) and not others

        _settle(is_done, said)
        return "%d rules%s" % (len(wanted), "" if right else self._grouped(host, names))

    def _grouped(self, host: Host, names: List[str]) -> str:
        """Put rules into the cluster's group; returns what is to be said about it, which may be that it can't be."""
        try:
            self._group(names, _title(host.cluster))
        except Failure as failure:
            return ", in no group (%s)" % failure.message
        return ", in the group %s" % _title(host.cluster)

    def traces(self, host: Host) -> List[Difference]:
        present = self._present()
        ours = _ours(present, host.cluster)
        found = [difference("remove", "firewall rules", before=_programs(ours.values()))] if ours else []
        return found + self._forgotten(host, present)

    def close(self, host: Host) -> str:
        present = self._present()
        lines = _removal(_ours(present, host.cluster))
        lines += [rules.delete_line(_files(host.cluster))] * bool(_lent(present, host.cluster))
        if not lines:
            return ""
        said = self._netsh(host, lines)

        def is_done() -> bool:
            now = self._present()
            return not _ours(now, host.cluster) and not _lent(now, host.cluster)

        _settle(is_done, said)
        return "firewall rules removed"

    def lend(self, host: Host, port: int, addresses: List[str]) -> None:
        name = _files(host.cluster)
        lines = [rules.delete_line(name)] if _lent(self._present(), host.cluster) else []
        lines += [
            rules.add_line(name, "Files for the other hosts, during a run of provision.", rule)
            for rule in rules.Rule.all_of(sys.executable, [(port, port)], reach.merge_addresses(addresses))
        ]
        self._try(host, lines)

    def reclaim(self, host: Host) -> None:
        if _lent(self._present(), host.cluster):
            self._try(host, [rules.delete_line(_files(host.cluster))])

    def _try(self, host: Host, lines: List[str]) -> None:
        try:
            self._netsh(host, lines, "firewall-files.txt")  # tasks may change rules at the same time
        except (Failure, OSError):
            return

    def _forgotten(self, host: Host, present: Dict[str, rules.Fields]) -> List[Difference]:
        """Return what is left of a run that broke off while it handed out files: nobody listens at that port now."""
        from provisioner.remote.resources.ray_checks import UNKNOWN

        ports = {first for fields in _lent(present, host.cluster) for first, _ in rules.ports(fields)}
        if not ports or any(host.platform.port_owner(port) != UNKNOWN for port in ports):
            return []
        told = "lets others fetch files from a run that broke off"
        return [difference("remove", "firewall rule %s" % _files(host.cluster), before=told)]

    def _is_off(self) -> bool:
        """Tell whether the firewall's service never runs here: then nothing is shut, and no rule can be made."""
        return bool(self._read(SERVICE + r"\mpssvc", "Start") == DISABLED)

    def _present(self) -> Dict[str, rules.Fields]:
        """Return the rules that concern us: a machine has hundreds of others."""
        return {
            key: rules.parse(data)
            for key, data in self._values(RULES).items()
            if isinstance(data, str)
            and ("|Name=%s" % TITLE in data or "|Action=Block|" in data or "|%s=%s" % (GROUP, TITLE) in data)
        }

    def _netsh(self, host: Host, lines: List[str], name: str = "firewall.txt") -> str:
        """Run commands, written to a file of that name, in one netsh; returns what it said of those that failed. It
        goes on after one that fails, and its exit code is 1 then."""
        script = host.path("store", name)
        netsh = programs.system32("netsh.exe")
        host.write(script, "\r\n".join([*lines, ""]).encode("ascii"))
        try:
            code, output = host.platform.run([netsh, "-f", script], NETSH_LIMIT)
        finally:
            files.unlink(script)
        return " ".join(output.split())[-300:] if code else ""


def put_into_group(names: List[str], group: str) -> None:
    """Put rules into a group (INetFwRule.Grouping), by their names, of which there is one each.

    Raises:
        Failure: it can't be done, or takes too long.
    """
    outcome: List[Optional[Failure]] = []

    def work() -> None:
        try:
            from provisioner.remote.platforms.windows import com

            present = com.create("HNetCfg.FwPolicy2").object("Rules")
            for name in names:
                present.object("Item", name).set("Grouping", group)
            outcome.append(None)
        except Exception as error:
            outcome.append(from_exception(error))

    thread = threading.Thread(target=work, daemon=True, name="group")
    thread.start()
    thread.join(GROUP_LIMIT)
    failure = outcome[0] if outcome else Failure("Windows did not answer within %d s" % GROUP_LIMIT)
    if failure is not None:
        raise failure


def _settle(is_done: Callable[[], bool], said: str) -> None:
    """Wait until the registry shows what was done: an exit code proves nothing."""
    deadline = time.monotonic() + SETTLE_LIMIT
    while not is_done():
        if time.monotonic() > deadline:
            raise Failure(
                "the firewall's rules are not what they should be%s" % (": netsh said: %s" % said if said else ""),
                "see `netsh advfirewall show allprofiles` and `sc query mpssvc` on the host",
            )
        time.sleep(0.1)


def _title(cluster: str) -> str:
    return TITLE + cluster


def _files(cluster: str) -> str:
    return TITLE + cluster + FILES


def _names(cluster: str, wanted: List[rules.Rule]) -> List[str]:
    """Return what the rules of a set are called."""
    digits = rules.fingerprint(wanted)
    return ["%s %s %d" % (_title(cluster), digits, number) for number in range(1, len(wanted) + 1)]


def _ours(present: Dict[str, rules.Fields], cluster: str) -> Dict[str, rules.Fields]:
    """Return the rules with our names, and those of our group that somebody has given other names."""
    pattern = re.compile(re.escape(_title(cluster)) + r" [0-9a-f]{8}( \d+)?$")
    return {
        key: fields
        for key, fields in present.items()
        if pattern.match(rules.one(fields, "Name"))
        or (rules.one(fields, GROUP) == _title(cluster) and rules.is_plain(rules.one(fields, "Name")))
    }


def _lent(present: Dict[str, rules.Fields], cluster: str) -> List[rules.Fields]:
    """Return the rules that ``lend`` made."""
    return [fields for fields in present.values() if rules.one(fields, "Name") == _files(cluster)]


def _exchange(names: List[str], ours: Dict[str, rules.Fields], wanted: List[rules.Rule]) -> List[str]:
    """Return the lines that put a new set of rules in the place of what there is of ours."""
    # If some of that very set are gone or edited there is a moment without the others: only then.
    same = {key: fields for key, fields in ours.items() if rules.one(fields, "Name") in names}
    added = [rules.add_line(names[number], DESCRIPTION, rule) for number, rule in enumerate(wanted)]
    return _removal(same) + added + _removal({key: ours[key] for key in ours if key not in same})


def _removal(ours: Dict[str, rules.Fields]) -> List[str]:
    """Return the lines that delete rules, by name; those of other names than ours only for their programs."""
    named = {(rules.one(fields, "Name"), rules.one(fields, "App")) for fields in ours.values()}
    return list(
        dict.fromkeys(
            rules.delete_line(name, "" if name.startswith(TITLE) or not path.isascii() else path)
            for name, path in sorted(named)
        )
    )


def _wanted(host: Host, opening: Opening, ours: Dict[str, rules.Fields]) -> List[rules.Rule]:
    """Return the rules that should be there. Programs that have one keep it while they exist: they are those of
    environments that Ray may still run out of, or go back to."""
    declared = {rules.same_path(path): path for path in opening["programs"]}
    former = {rules.program(fields): rules.one(fields, "App") for fields in ours.values()}
    kept = {path: told for path, told in former.items()
            if path not in declared and os.path.exists(ntpath.expandvars(told))}  # fmt: skip
    spans = reach.merge_ports((first, last) for first, last in opening["ports"])
    places = reach.demand_places(opening["addresses"])
    paths = dict.fromkeys(path if path.isascii() else "" for _, path in sorted({**kept, **declared}.items()))
    return [rule for path in paths for rule in rules.Rule.all_of(path, spans, places)]


def _compare(ours: List[rules.Fields], wanted: List[rules.Rule]) -> List[Difference]:
    """Return in what the rules that are there differ; those for programs that are gone don't count."""
    programs = {"", *(rule.identity[0] for rule in wanted)}
    alive = [fields for fields in ours if rules.program(fields) in programs]
    now = sorted((rules.identity(fields) or () for fields in alive), key=repr)
    if now == sorted((rule.identity for rule in wanted), key=repr):
        return []
    if not alive:
        names = [rule.path for rule in wanted]
        after = "%s for %s" % (_base_names(names), reach.show_addresses(_joined(rule.places for rule in wanted)))
        return [difference("add", "firewall rules", after=after)]
    changes = [(what, before, after) for what, before, after in _facets(alive, wanted) if before != after]
    changes = changes or [("firewall rules", "edited or incomplete", "as declared")]
    return [difference("change" if change[1] else "add", *change) for change in changes]


def _facets(ours: List[rules.Fields], wanted: List[rules.Rule]) -> List[Tuple[str, str, str]]:
    """Return (what, before, after) of what a user declares: who may connect, to what; programs of only one."""
    now, then = {rules.program(fields) for fields in ours}, {rule.identity[0] for rule in wanted}
    return [
        (
            "firewall: who may connect",
            reach.show_addresses(_joined(rules.addresses(fields) for fields in ours)),
            reach.show_addresses(_joined(rule.places for rule in wanted)),
        ),
        (
            "firewall: ports",
            reach.show_ports(reach.merge_ports(span for fields in ours for span in rules.ports(fields))),
            reach.show_ports(reach.merge_ports(span for rule in wanted for span in rule.spans)),
        ),
        ("firewall: programs", _owners(now - then), _owners(then - now)),
    ]


def _owners(paths: Set[str]) -> str:
    """Return what programs are called, and what environment or interpreter they are of."""
    found: Dict[str, List[str]] = {}
    for path in sorted(paths):
        of = re.search(r"\\(?:env|python)\\([^\\]+)\\", path)
        found.setdefault(" of " + of.group(1) if of else "", []).append(path)
    return "; ".join(_base_names(each) + of for of, each in sorted(found.items()))


def _joined(lists: Any) -> List[reach.Place]:
    return sorted({place for places in lists for place in places})


def _programs(ours: Any) -> str:
    return _base_names(rules.one(fields, "App") for fields in ours)


def _base_names(paths: Any) -> str:
    """Return what programs are called, each with how many of them there are."""
    names = [ntpath.basename(path).lower() or "any program" for path in sorted(set(paths))]
    return ", ".join("%d x %s" % (names.count(name), name) if names.count(name) > 1 else name
                     for name in sorted(set(names)))  # fmt: skip


def _blocking(present: Dict[str, rules.Fields], host: Host, opening: Opening) -> List[Tuple[str, str]]:
    """Return (name, program) of rules that shut our own programs: Windows makes them when a program listens for the
    first time and nobody sees its question. They beat every rule that allows. Others' are left to the user, and those
    that a script can't name."""
    own = tuple(rules.same_path(folder) + "\\" for folder in (host.root, interpreters()) if folder)
    declared: Set[str] = {rules.same_path(path) for path in opening["programs"]}
    shut = {
        (rules.one(fields, "Name"), rules.one(fields, "App"))
        for fields in present.values()
        if rules.blocks(fields) and rules.program(fields).startswith(own) and rules.one(fields, "App").isascii()
    }
    foreign = {
        rules.one(fields, "App")
        for fields in present.values()
        if rules.blocks(fields)
        and rules.program(fields) in declared
        and (rules.one(fields, "Name"), rules.one(fields, "App")) not in shut
    }
    if foreign:
        host.shared["shut programs"] = sorted(foreign)
    return sorted(shut)


def _shut_ports(present: Dict[str, rules.Fields], opening: Opening) -> List[Tuple[str, str]]:
    """Return (name, ports) of rules that keep the cluster's hosts from ports of ours, whatever program is there: they
    beat every rule that allows, and somebody has meant them."""
    places = reach.merge_addresses(opening["addresses"])
    shut = ((rules.one(fields, "Name"), rules.shuts(fields, opening["ports"], places)) for fields in present.values())
    return sorted((name, reach.show_ports(ports)) for name, ports in shut if ports)
