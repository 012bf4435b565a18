"""ufw, where it is enabled: rules with a comment of ours for the addresses of the cluster.

What is there is read from the files in which ufw keeps its rules, one ``### tuple ###`` line each; it is changed by
ufw(8) alone. A new rule is there before an old one goes.
"""

from __future__ import annotations

import os
import re

from provisioner.remote.failure import Failure
from provisioner.remote.platforms import reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from provisioner.remote.host import Host
    from provisioner.remote.platforms.reach import Place, Span
    from provisioner.remote.resource import Difference

    Area = Tuple[List[Place], List[Place]]

PROGRAM = "/usr/sbin/ufw"
SWITCH = "/etc/ufw/ufw.conf"
DEFAULTS = "/etc/default/ufw"
RULES = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules")
LIMIT = 60.0
"""Seconds for ufw to change one rule."""
MOST_PORTS = 15
"""Of one rule; a span counts as two (iptables-extensions(8), multiport)."""
FILES = " files"
"""Ends the comment of rules for handing out files: they are there while a run lasts."""
MOST_LENT = 10
"""Such rules at most: each takes a third of a second, and who is to fetch files waits while they are made."""
ANYWHERE = ("0.0.0.0/0", "::/0")


class Rule:
    """One rule of ufw's files.

    Args:
        words: action, protocol, ports, to, from's ports, from, direction with its interface.
        comment: what it was given with ``comment``.
    """

    def __init__(self, words: Tuple[str, ...], comment: str) -> None:
        self.words = words
        self.comment = comment
        self.action, self.protocol, self._ports, self.to, self._sport, self.source, self._direction = words

    @property
    def place(self) -> Tuple[str, ...]:
        """What it is about: ufw holds one rule for each, and turns that of others into ours (ufw/common.py, match)."""
        return self.words[1:]

    @property
    def spans(self) -> List[Span]:
        if self._ports == "any":
            return [(0, 65535)]
        found = (part.partition(":") for part in self._ports.split(","))
        return reach.merge_ports((int(first), int(last or first)) for first, _, last in found)

    @property
    def lets_everybody_in(self) -> bool:
        """Whether it opens TCP ports to whoever there is; one for an interface does that, too."""
        incoming = self._direction.partition("_")[0] == "in"
        action = self.action.partition("_")[0]
        return action in ("allow", "limit") and self.protocol in ("tcp", "any") and incoming and self._is_open()

    def _is_open(self) -> bool:
        return self.source in ANYWHERE and self._sport == "any"

    def concerns(self, node_ip: str) -> bool:
        """Tell whether TCP connections from other machines to an address ("": some address) of this host may be its
        matter."""
        incoming = self._direction.partition("_")[0] == "in" and self.protocol in ("tcp", "any")
        whole = self.to in ANYWHERE or not node_ip
        return incoming and (whole or reach.meet(reach.merge_addresses([self.to]), reach.merge_addresses([node_ip])))

    @property
    def refuses(self) -> bool:
        """Whether it refuses something; ``limit`` does, from the seventh connection within half a minute on."""
        return self.action.partition("_")[0] in ("deny", "reject", "limit")

    @property
    def lets_all_in(self) -> bool:
        """Whether it lets in all of its source, through whatever interface and from whatever port."""
        return self.action.partition("_")[0] == "allow" and "_" not in self._direction and self._sport == "any"

    def shown(self) -> str:
        """Return it as ufw(8) takes it, after ``ufw`` or ``ufw delete``."""
        return " ".join(self.arguments())

    def arguments(self) -> List[str]:
        action, _, log = self.action.partition("_")
        direction, _, interface = self._direction.partition("_")
        words = [action, direction, *(["on", interface] if interface else []), *([log] if log else [])]
        if self.protocol != "any":
            words += ["proto", self.protocol]
        words += ["from", self.source, *(["port", self._sport] if self._sport != "any" else [])]
        return [*words, "to", self.to, *(["port", self._ports] if self._ports != "any" else [])]


class Ufw:
    """Args:
    host: its platform runs ufw.
    top: the folder in which the system's files lie.
    """

    name = "ufw"

    def __init__(self, host: Host, top: str = "/") -> None:
        self._host = host
        self._top = top
        self._comment = "provision " + host.cluster
        self._rules: Optional[List[Rule]] = None

    def is_active(self) -> bool:
        return self.is_installed() and self._setting(SWITCH, "enabled").lower() == "yes"

    def is_installed(self) -> bool:
        return os.path.exists(self._path(PROGRAM))

    def is_too_old(self) -> bool:
        return False

    def is_traced(self) -> bool:
        """Tell whether there is anything of ours, whether or not it is enabled."""
        return self.is_installed() and bool(self.ours() or self.lent())

    def traces(self) -> List[Difference]:
        """Return what ``close`` would do."""
        return [reach.letting_in(self.name)] if self.is_traced() else []

    def differences(self, addresses: List[str], spans: List[Span]) -> List[Difference]:
        found = self._compare(addresses, spans)
        if found:
            self._demand_running()
        return found

    def _compare(self, addresses: List[str], spans: List[Span]) -> List[Difference]:
        ours, wanted = self.ours(), self._missing(addresses, spans)
        if sorted(rule.words for rule in ours) == sorted(rule.words for rule in wanted):
            return []
        then = _sum(wanted)
        return reach.facets(self.name, _sum(ours), then) if ours else [reach.added(self.name, then)]

    def _demand_running(self) -> None:
        """Raise LeftAlone if ufw is enabled and does not work: a container's kernel may not let it."""
        code, said = self._host.platform.run([self._path(PROGRAM), "status"], LIMIT, {"LC_ALL": "C"})
        if code or "inactive" in said.partition("\n")[0]:
            told = " ".join(said.split())[-200:]
            raise reach.LeftAlone("it is enabled, and does not work: it says: %s" % told, "see `sudo ufw status`")

    def open(self, addresses: List[str], spans: List[Span]) -> str:
        if self._compare(addresses, spans):
            self._demand_running()
        wanted = {rule.words: rule for rule in self._missing(addresses, spans)}
        there = {rule.words: rule for rule in self.ours()}
        said = [self._run([*rule.arguments(), "comment", self._comment])
                for words, rule in wanted.items() if words not in there]  # fmt: skip
        said += [self._run(["delete", *rule.arguments()]) for words, rule in there.items() if words not in wanted]
        if self._compare(addresses, spans):
            raise Failure(
                "ufw's rules are not what they should be: ufw said: %s" % " ".join(" ".join(said).split())[-300:],
                "see `ufw status numbered` on the host",
            )
        return "%d rules of ufw" % len(wanted)

    def close(self) -> str:
        ours = self.ours() + self.lent()
        said = [self._run(["delete", *rule.arguments()]) for rule in ours]
        if self.is_traced():
            raise Failure(
                "rules of ufw are still there: ufw said: %s" % " ".join(" ".join(said).split())[-300:],
                "on the host: `ufw status numbered`, and `ufw delete NUMBER` for those with the comment '%s'"
                % self._comment,
            )
        return "%d rules of ufw removed" % len(ours) if ours else ""

    def lend(self, port: int, addresses: List[str]) -> None:
        """Let those connect to a port while a run lasts, unless that takes longer than it is worth."""
        wanted = self._wanted(addresses, [(port, port)])
        for rule in wanted if len(wanted) <= MOST_LENT else ():
            self._run([*rule.arguments(), "comment", self._comment + FILES])

    def reclaim(self) -> None:
        for rule in self.lent():
            self._run(["delete", *rule.arguments()])

    def lent(self) -> List[Rule]:
        """Return the rules that ``lend`` made; OSError without the right to see them."""
        return [rule for rule in self.rules() if rule.comment == self._comment + FILES]

    def shutting(self, addresses: List[str], spans: List[Span]) -> List[Rule]:
        """Return the rules of others that keep hosts of the cluster from ports of ours: the first rule that fits is
        heeded, so those behind one that lets the same in don't."""
        ports = [(0, first, last) for first, last in reach.merge_ports(spans)]
        areas = [(reach.demand_places(addresses), ports)]
        node_ip, found = self._host.node_ip, []
        for rule in self.rules():
            if not rule.concerns(node_ip):
                continue
            places, its_ports = reach.merge_addresses([rule.source]), [(0, first, last) for first, last in rule.spans]
            if rule.refuses and not rule.comment.startswith(self._comment):
                shuts = any(reach.meet(area[0], places) and reach.meet(area[1], its_ports) for area in areas)
                found += [rule] * shuts
            elif rule.lets_all_in and (node_ip or rule.to in ANYWHERE):
                areas = [part for area in areas for part in _without(area, places, its_ports)]
        return found

    def commands(self, addresses: List[str], spans: List[Span]) -> List[str]:
        """Return what an administrator would type."""
        places: Dict[str, List[str]] = {}
        for rule in self._wanted(addresses, spans):
            anyone = Rule((*rule.words[:5], "$from", rule.words[6]), "")
            places.setdefault(anyone.shown(), []).append(rule.source)
        command = "sudo ufw %s comment '%s'"
        return [reach.each_of("from", each, command % (words, self._comment)) for words, each in places.items()]

    def closing_commands(self) -> List[str]:
        """Return what an administrator would type to look for rules of the cluster, and to remove them."""
        told = "sudo ufw delete NUMBER (of each with the comment '%s', the last one first)" % self._comment
        return ["sudo ufw status numbered", told]

    def ours(self) -> List[Rule]:
        """Return the rules with our comment; OSError without the right to see them."""
        return [rule for rule in self.rules() if rule.comment == self._comment]

    def rules(self) -> List[Rule]:
        """Return the rules that users have made; those for applications, which name no ports, are left out."""
        if self._rules is not None:
            return self._rules
        found = []
        for path in RULES:
            try:
                with open(self._path(path), encoding="utf-8", errors="replace") as file:
                    found += [parse(line) for line in file]
            except FileNotFoundError:
                continue
        self._rules = [rule for rule in found if rule is not None]
        return self._rules

    def refuses(self) -> bool:
        """Tell whether what no rule lets in is refused."""
        return self._setting(DEFAULTS, "default_input_policy").upper() in ("DROP", "REJECT")

    def _missing(self, addresses: List[str], spans: List[Span]) -> List[Rule]:
        """Return the rules that should be ours: not those that others have made, or made for the contrary."""
        others = {rule.place for rule in self.rules() if rule.comment != self._comment}
        return [rule for rule in self._wanted(addresses, spans) if rule.place not in others]

    def _wanted(self, addresses: List[str], spans: List[Span]) -> List[Rule]:
        families = (4, 6) if self._setting(DEFAULTS, "ipv6").lower() == "yes" else (4,)
        places = [place for place in reach.demand_places(addresses) if place[0] in families]
        to = {4: "0.0.0.0/0", 6: "::/0"}
        return [
            Rule(("allow", "tcp", ports, to[place[0]], "any", name, "in"), self._comment)
            for place in places
            for name in reach.networks(place)
            for ports in _portions(spans)
        ]

    def _setting(self, path: str, name: str) -> str:
        """Return what a file of the form ``NAME="value"`` says, "" if nothing."""
        try:
            with open(self._path(path), encoding="utf-8", errors="replace") as file:
                rows = [line.partition("=") for line in file]
        except OSError:
            return ""
        found = [value.strip().strip("\"'") for key, _, value in rows if key.strip().lower() == name]
        return found[-1] if found else ""

    def _path(self, path: str) -> str:
        return os.path.join(self._top, path.lstrip("/"))

    def _run(self, arguments: List[str]) -> str:
        """Run ufw; what came of it show its files."""
        self._rules = None
        return self._host.platform.run([self._path(PROGRAM), *arguments], LIMIT)[1]


def parse(line: str) -> Optional[Rule]:
    """Return the rule of a line of ufw's files, None if it is none or one for an application.

    ``### tuple ### ACTION PROTOCOL PORTS TO SPORTS FROM DIRECTION[_INTERFACE] [comment=HEX]`` (ufw/backend.py); words
    for the applications stand before the direction.
    """
    found = re.match(r"### tuple ### (.+?)(?: comment=([0-9a-fA-F]*))?\s*$", line)
    words = tuple(found.group(1).split()) if found else ()
    if found is None or len(words) != 7 or not re.match(r"(any|[0-9:,]+)$", words[2]):
        return None
    try:
        comment = bytes.fromhex(found.group(2) or "").decode("utf-8", "replace")
    except ValueError:
        comment = ""
    return Rule(words, comment)


def _without(area: Area, places: List[Place], ports: List[Place]) -> List[Area]:
    """Return what is left of some ports, for some addresses, without those ports for those addresses."""
    parts = [
        (reach.lacking(area[0], places), area[1]),
        (reach.cross(area[0], places), reach.lacking(area[1], ports)),
    ]
    return [part for part in parts if part[0] and part[1]]


def _portions(spans: List[Span]) -> List[str]:
    """Return ports as ufw writes them, in portions that one rule can take."""
    portions: List[Dict[str, int]] = []
    for first, last in spans:
        weight = 1 if first == last else 2
        if not portions or sum(portions[-1].values()) + weight > MOST_PORTS:
            portions.append({})
        portions[-1][str(first) if first == last else "%d:%d" % (first, last)] = weight
    return [",".join(portion) for portion in portions]


def _sum(rules: List[Rule]) -> Tuple[List[Place], List[Span]]:
    """Return who may connect by some rules, and to what."""
    places = reach.merge_addresses(rule.source for rule in rules)
    return places, reach.merge_ports(span for rule in rules for span in rule.spans)
