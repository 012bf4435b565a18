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
MOST_LENT = 40
"""Such rules at most: each takes a third of a second."""
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
    def identity(self) -> Tuple[str, ...]:
        return self.words

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

    def keeps_out(self, places: List[Place]) -> bool:
        """Tell whether it refuses TCP connections from one of some places."""
        incoming = self._direction.partition("_")[0] == "in" and self.protocol in ("tcp", "any")
        refuses = self.action.partition("_")[0] in ("deny", "reject")
        return refuses and incoming and reach.meet(places, reach.merge_addresses([self.source]))

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

    def is_active(self) -> bool:
        return self.is_installed() and self._setting(SWITCH, "enabled").lower() == "yes"

    def is_installed(self) -> bool:
        return os.path.exists(self._path(PROGRAM))

    def is_too_old(self) -> bool:
        return False

    def is_traced(self) -> bool:
        """Tell whether there is anything of ours, whether or not it is enabled."""
        return self.is_installed() and bool(self.ours() or self.lent())

    def differences(self, addresses: List[str], spans: List[Span]) -> List[Difference]:
        ours, wanted = self.ours(), self._wanted(addresses, spans)
        if sorted(rule.identity for rule in ours) == sorted(rule.identity for rule in wanted):
            return []
        then = _sum(wanted)
        return reach.facets(self.name, _sum(ours), then) if ours else [reach.added(self.name, then)]

    def open(self, addresses: List[str], spans: List[Span]) -> str:
        wanted = {rule.identity: rule for rule in self._wanted(addresses, spans)}
        there = {rule.identity: rule for rule in self.ours()}
        said = [self._run([*rule.arguments(), "comment", self._comment])
                for identity, rule in wanted.items() if identity not in there]  # fmt: skip
        said += [self._run(["delete", *rule.arguments()]) for identity, rule in there.items() if identity not in wanted]
        if self.differences(addresses, spans):
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
        """Return the rules that keep hosts of the cluster from ports of ours: the first rule that fits is heeded, and
        ours are the last."""
        places = reach.demand_places(addresses)
        others = [rule for rule in self.rules() if not rule.comment.startswith(self._comment)]
        return [rule for rule in others if rule.keeps_out(places) and reach.overlap(spans, rule.spans)]

    def commands(self, addresses: List[str], spans: List[Span]) -> List[str]:
        """Return what an administrator would type."""
        return ["sudo ufw %s comment '%s'" % (rule.shown(), self._comment) for rule in self._wanted(addresses, spans)]

    def ours(self) -> List[Rule]:
        """Return the rules with our comment; OSError without the right to see them."""
        return [rule for rule in self.rules() if rule.comment == self._comment]

    def rules(self) -> List[Rule]:
        """Return the rules that users have made; those for applications, which name no ports, are left out."""
        found = []
        for path in RULES:
            try:
                with open(self._path(path), encoding="utf-8", errors="replace") as file:
                    found += [parse(line) for line in file]
            except FileNotFoundError:
                continue
        return [rule for rule in found if rule is not None]

    def refuses(self) -> bool:
        """Tell whether what no rule lets in is refused."""
        return self._setting(DEFAULTS, "default_input_policy").upper() in ("DROP", "REJECT")

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
