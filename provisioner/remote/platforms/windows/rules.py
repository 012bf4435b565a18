"""Rules of the Windows firewall as text: as the registry keeps them, and as netsh takes them.

The registry's form is the grammar of [MS-GPFAS] 2.2.2.19: ``v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|...|``.
It is the same in every language of Windows. A field that occurs several times holds a list; one that is absent limits
nothing.
"""

from __future__ import annotations

import ntpath
import re

from provisioner.remote.platforms.reach import meet, merge_addresses, merge_ports, overlap, show_addresses, show_ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

    from provisioner.remote.platforms.reach import Place, Span

    Fields = Dict[str, List[str]]

TCP = "6"
PROFILES = {"domain", "private", "public"}
MOST_TEXT = 240
"""Characters of addresses in one rule, and of ports."""
LONGEST_LINE = 1000
"""Characters of a line for netsh: how many it reads at once is written nowhere, and 1024 is what such programs have."""


def parse(text: object) -> Fields:
    """Return the fields of a rule, each with its values in order; nothing if it is no rule."""
    if not isinstance(text, str) or not re.match(r"v\d+\.\d+\|", text):
        return {}
    fields: Fields = {}
    for part in text.split("|")[1:]:
        name, equals, value = part.partition("=")
        if equals:
            fields.setdefault(name, []).append(value)
    return fields


def one(fields: Fields, name: str) -> str:
    """Return the value of a field that occurs once, "" if it is absent."""
    return fields.get(name, [""])[0]


def program(fields: Fields) -> str:
    """Return the program a rule is for in the form in which programs can be compared, "" if it is for all."""
    return same_path(one(fields, "App"))


def same_path(path: str) -> str:
    """Return a path in the form in which it can be compared: Windows keeps ``%SystemDrive%`` and any case."""
    return ntpath.normcase(ntpath.normpath(ntpath.expandvars(path))) if path else ""


def ports(fields: Fields) -> List[Span]:
    """Return the local ports a rule is for, as spans without gaps between them; keywords such as RPC are (-1, -1)."""
    found = fields.get("LPort", []) + fields.get("LPort2_10", [])
    return merge_ports(_port_span(text) for text in found) if found else [(0, 65535)]


def _port_span(text: str) -> Span:
    first, _, last = text.partition("-")
    return (int(first), int(last or first)) if first.isdigit() and (last or first).isdigit() else (-1, -1)


def addresses(fields: Fields) -> List[Place]:
    """Return the remote addresses a rule is for as (IP version, first, last); keywords such as LocalSubnet, and
    nothing at all, which means any, are (0, 0, 0)."""
    found = fields.get("RA4", []) + fields.get("RA6", [])
    return merge_addresses(found) if found else [(0, 0, 0)]


def _portions(items: Iterable[Any], show: Callable[[List[Any]], str]) -> List[List[Any]]:
    """Return addresses or ports in portions that a rule can take."""
    found: List[List[Any]] = []
    size = MOST_TEXT
    for item in items:
        length = len(show([item])) + 1
        if size + length > MOST_TEXT:
            found.append([])
            size = 0
        found[-1].append(item)
        size += length
    return found


class Rule:
    """What lets some hosts reach some ports of one program.

    Args:
        path: of the program; "" if it is for all.
        spans: its TCP ports.
        places: who may connect, see ``merge_addresses``.
    """

    def __init__(self, path: str, spans: List[Span], places: List[Place]) -> None:
        self.path = path
        self.spans = spans
        self.places = places

    @classmethod
    def all_of(cls, path: str, spans: List[Span], places: List[Place]) -> List[Rule]:
        """Return as many rules as it takes, each short enough for a line of netsh's.

        In what code page netsh reads a script is written nowhere: who has a path beyond ASCII gets rules for all
        programs.
        """
        written = path if path.isascii() else ""
        return [cls(written, spans_here, places_here) for spans_here in _portions(spans, show_ports)
                for places_here in _portions(places, show_addresses)]  # fmt: skip

    @property
    def identity(self) -> Tuple[Any, ...]:
        return same_path(self.path), tuple(self.spans), tuple(self.places)


def identity(fields: Fields) -> Optional[Tuple[Any, ...]]:
    """Return what a rule of the registry lets in, to be compared with ``Rule.identity``; None if it does not let that
    in always: it is switched off, or for some networks only."""
    wanted = {"Action": "allow", "Active": "true", "Dir": "in", "Protocol": TCP}
    if not _is(fields, wanted):
        return None
    if {each.lower() for each in fields.get("Profile", PROFILES)} != PROFILES:
        return None
    return program(fields), tuple(ports(fields)), tuple(addresses(fields))


def blocks(fields: Fields) -> bool:
    """Tell whether a rule keeps TCP connections to a program out."""
    return bool(program(fields)) and _keeps_out(fields)


def shuts(fields: Fields, spans: Iterable[Span], places: Iterable[Place]) -> List[Span]:
    """Return which of some TCP ports a rule keeps some hosts from, whatever program listens there."""
    if not _keeps_out(fields) or any(name in fields for name in ("App", "Svc", "AppPkgId")):
        return []
    theirs = addresses(fields)
    if (0, 0, 0) not in theirs and not meet(places, theirs):
        return []
    return overlap(spans, ports(fields))


def lets_everybody_in(fields: Fields) -> bool:
    """Tell whether a rule allows TCP connections from any address."""
    allowed = _is(fields, {"Action": "allow", "Active": "true", "Dir": "in"}) and one(fields, "Protocol") in ("", TCP)
    return allowed and not fields.get("RA4", []) + fields.get("RA6", []) and "RMauth" not in fields


def _keeps_out(fields: Fields) -> bool:
    """Tell whether a rule blocks TCP connections from others."""
    return _is(fields, {"Action": "block", "Active": "true", "Dir": "in"}) and one(fields, "Protocol") in ("", TCP)


def _is(fields: Fields, wanted: Dict[str, str]) -> bool:
    """Tell whether fields that occur once have those values, in any case of letters."""
    return all(one(fields, name).lower() == value for name, value in wanted.items())


def fingerprint(rules: Iterable[Rule]) -> str:
    """Return eight digits that tell these rules from others."""
    import zlib

    return "%08x" % zlib.crc32(repr(sorted(rule.identity for rule in rules)).encode())


def add_line(name: str, description: str, rule: Rule) -> str:
    """Return the line of a netsh script that adds a rule."""
    return (
        'advfirewall firewall add rule name="%s" description="%s" dir=in action=allow enable=yes profile=any '
        "protocol=TCP%s localport=%s remoteip=%s"
        % (
            name,
            description,
            ' program="%s"' % rule.path if rule.path else "",
            show_ports(rule.spans),
            show_addresses(rule.places),
        )
    )


def delete_line(name: str, path: str = "") -> str:
    """Return the line of a netsh script that deletes the inbound rules of that name, of one program if it is given.

    A name that a script can't hold (nothing is escaped, and see ``Rule.all_of``) stands for all rules of the program,
    whose path is ASCII.
    """
    if path and not is_plain(name):
        name = "all"
    return 'advfirewall firewall delete rule name="%s" dir=in' % name + (' program="%s"' % path if path else "")


def is_plain(name: str) -> bool:
    """Tell whether a script can hold a name: ASCII without quotes."""
    return bool(re.match(r"[ !#-~]+$", name))


def takes_all(line: str) -> bool:
    """Tell whether a line of ``delete_line`` deletes all inbound rules of a program, those that let in as well."""
    return ' name="all" ' in line
