"""What firewalld holds of ours, saved or running, in one form; and the files in which it is saved."""

from __future__ import annotations

import os
import re

from provisioner.remote.platforms import reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from provisioner.remote.platforms.reach import Place, Span

PRIORITY = -100
"""Below 0: before the zones."""
FAMILIES = {4: "ipv4", 6: "ipv6"}
KIND = {"ipv4": "inet", "ipv6": "inet6"}
RULE = 'rule family="%s" source ipset="%s" port port="%s" protocol="tcp" accept'
MEANT = {"target": "CONTINUE", "ingress_zones": ["ANY"], "egress_zones": ["HOST"], "priority": str(PRIORITY)}
TOLD = ("short", "description", "rich_rules", "version")
"""Settings of a policy that have no effect, or that are looked at by themselves."""


class State:
    """Who may reach which ports.

    Args:
        entries: addresses and networks, by family, of those that have any.
        ports: spans as ``6379-6385``, for each of the families.
        known: there is such a policy.
        odd: something else is not as we made it.
        sets: the families that there is a set for, empty or not.
    """

    def __init__(
        self,
        entries: Optional[Dict[str, List[str]]] = None,
        ports: Optional[List[str]] = None,
        known: bool = False,
        odd: bool = False,
        sets: Tuple[str, ...] = (),
    ) -> None:
        self.entries = {family: sorted(each) for family, each in (entries or {}).items() if each}
        self.ports = sorted(ports or [])
        self.known = known
        self.odd = odd
        self.sets = sets

    @classmethod
    def of(cls, addresses: List[str], spans: List[Span]) -> State:
        """Return what should be there."""
        entries = {family: reach.singly(addresses, version) for version, family in FAMILIES.items()}
        return cls(entries, reach.show_ports(spans).split(","), known=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return False
        return (self.entries, self.ports, self.known, self.odd) == (other.entries, other.ports, other.known, other.odd)

    __hash__ = None  # type: ignore[assignment]

    def is_empty(self) -> bool:
        """Tell whether it lets nobody in and has nothing else in it, as after a teardown without a reload."""
        return not (self.entries or self.ports or self.odd)

    def sum(self) -> Tuple[List[Place], List[Span]]:
        """Return who may connect, and to which ports."""
        spans = (port.partition("-") for port in self.ports)
        places = reach.merge_addresses(entry for entries in self.entries.values() for entry in entries)
        return places, reach.merge_ports((int(first), int(last or first)) for first, _, last in spans)

    def rules(self, name: Callable[[str], str]) -> List[str]:
        """Return the rich rules for it; ``name`` gives the set of a family."""
        return [RULE % (family, name(family), port) for family in sorted(self.entries) for port in self.ports]


def policy_text(title: str, sets: Dict[str, str], ports: List[str]) -> str:
    """Return the file of a policy (firewalld.policy(5)).

    Args:
        sets: the name of each family's set.
    """
    rule = (
        '  <rule family="%s">\n    <source ipset="%s"/>\n'
        '    <port port="%s" protocol="tcp"/>\n    <accept/>\n  </rule>\n'
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<policy target="CONTINUE" priority="%d">\n  <short>%s</short>\n'
        "  <description>The hosts of the Ray cluster may connect. Made by provision.</description>\n"
        '  <ingress-zone name="ANY"/>\n  <egress-zone name="HOST"/>\n%s</policy>\n'
    ) % (PRIORITY, title, "".join(rule % (family, name, port) for family, name in sets.items() for port in ports))


def set_text(title: str, family: str, entries: List[str]) -> str:
    """Return the file of a set (firewalld.ipset(5))."""
    lines = "".join("  <entry>%s</entry>\n" % entry for entry in entries)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<ipset type="hash:net">\n  <short>%s</short>\n'
        '  <option name="family" value="%s"/>\n%s</ipset>\n'
    ) % (title, KIND[family], lines)


def read_saved(policy: str, sets: Dict[str, str]) -> State:
    """Return what files say.

    Args:
        policy: the path of the policy's.
        sets: the path of each family's set.
    """
    entries: Dict[str, List[str]] = {}
    odd = False
    for family, path in sets.items():
        tree = _tree(path)
        if tree is not None:
            entries[family] = [str(each.text or "").strip() for each in tree.iter("entry")]
            kinds = [each.get("value") for each in tree.iter("option") if each.get("name") == "family"]
            odd = (
                odd or tree.get("type") != "hash:net" or kinds not in ([KIND[family]], [] if family == "ipv4" else None)
            )
    tree = _tree(policy)
    if tree is None:
        return State(entries, [], False, odd or any(map(os.path.exists, [policy, *sets.values()])))
    told = {
        "target": tree.get("target"),
        "priority": tree.get("priority"),
        "ingress_zones": [each.get("name") for each in tree.iter("ingress-zone")],
        "egress_zones": [each.get("name") for each in tree.iter("egress-zone")],
    }
    known = {"short", "description", "ingress-zone", "egress-zone", "rule"}
    odd = odd or told != MEANT or any(child.tag not in known for child in tree)
    rules = [_saved_rule(each) for each in tree.iter("rule")]
    return _state(rules, entries, odd, tuple(entries))


def _tree(path: str) -> Any:
    """Return the root of an XML file, None if there is none or it is none."""
    from xml.etree import ElementTree

    try:
        return ElementTree.parse(path).getroot()  # noqa: S314 - it is root's
    except (OSError, ElementTree.ParseError):
        return None


def _saved_rule(rule: Any) -> Tuple[str, str]:
    """Return family and ports of a rule that is of our form, ("", "") of another one."""
    children = {child.tag: child for child in rule}
    if set(children) != {"source", "port", "accept"} or len(rule) != 3 or set(rule.keys()) != {"family"}:
        return "", ""
    source, port = dict(children["source"].attrib), dict(children["port"].attrib)
    if set(source) != {"ipset"} or port.get("protocol") != "tcp" or len(children["accept"]):
        return "", ""
    return str(rule.get("family")), port.get("port", "")


def running_state(policy: str, sets: Dict[str, str]) -> State:
    """Return what busctl says of the policy and of each family's set ("": there is none)."""
    settings = (values(policy) or [{}])[0]
    meant = {name: str(told) if name == "priority" else told for name, told in settings.items() if name in MEANT}
    others = [name for name, told in settings.items()
              if name not in MEANT and name not in TOLD and told not in ([], "false", "", {})]  # fmt: skip
    rules = [_running_rule(rule) for rule in settings.get("rich_rules", [])]
    entries = {family: (values(said) or [[]])[0] for family, said in sets.items() if said}
    return _state(rules, entries, meant != MEANT or bool(others), tuple(entries))


def _running_rule(rule: str) -> Tuple[str, str]:
    found = re.match(r'rule family="(\w+)" source ipset="[\w-]+" port port="([\d-]+)" protocol="tcp" accept$', rule)
    return (found.group(1), found.group(2)) if found else ("", "")


def _state(rules: List[Tuple[str, str]], entries: Dict[str, List[str]], odd: bool, sets: Tuple[str, ...]) -> State:
    """Return what rules and sets mean together; what lets nobody in, such as a set that no rule names, is odd."""
    ports = {family: sorted(port for each, port in rules if each == family) for family in {each for each, _ in rules}}
    full = {family: each for family, each in entries.items() if each}
    alike = all(ports.get(family) == next(iter(ports.values())) for family in full) if ports else not full
    whole = "" not in ports and set(ports) <= set(full) and alike
    every = sorted({port for each in ports.values() for port in each if port})
    return State(full, every, True, odd or not whole, sets)


def values(text: str) -> List[Any]:
    """Return the values of busctl's answer: text for numbers and truths, lists for arrays, dicts for dictionaries."""
    import shlex

    words = shlex.split(text)
    if not words:
        return []
    signature, rest, found = words[0], words[1:], []
    while signature:
        kind, signature = _first(signature)
        value, rest = _value(kind, rest)
        found.append(value)
    return found


def _first(signature: str) -> Tuple[str, str]:
    """Split a signature of D-Bus behind its first complete type."""
    if signature[0] == "a":
        kind, rest = _first(signature[1:])
        return "a" + kind, rest
    if signature[0] not in "({":
        return signature[0], signature[1:]
    depth = 0
    for at, letter in enumerate(signature):
        depth += (letter in "({") - (letter in ")}")
        if not depth:
            return signature[: at + 1], signature[at + 1 :]
    return signature, ""


def _value(kind: str, words: List[str]) -> Tuple[Any, List[str]]:
    """Return a value and the words behind it."""
    if kind == "v":
        return _value(words[0], words[1:])
    if kind[0] == "a":
        count, words = int(words[0]), words[1:]
        pairs = []
        for _ in range(count):
            pair, words = _value(kind[1:], words)
            pairs.append(pair)
        return (dict(pairs) if kind[1] == "{" else pairs), words
    if kind[0] in "({":
        inner, members = kind[1:-1], []
        while inner:
            part, inner = _first(inner)
            member, words = _value(part, words)
            members.append(member)
        return tuple(members), words
    return words[0], words[1:]
