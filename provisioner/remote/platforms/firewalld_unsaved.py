"""What firewalld's running configuration has and its saved one lacks, or the other way round: a reload loses it.

Container programs and fail2ban(1) keep theirs there alone, on purpose: what they come to anew with each container or
ban would be wrong after a restart. Not all of them notice a reload (podman-network-reload(1)), so it is put back.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Set, Tuple

PORTION = 200
"""Settings that one command puts back."""
CONTAINERS = re.compile(r"(zone|policy) ((?:netavark_|docker)[^,]*), ([^:]+): (.*)$")
"""Zones and policies that netavark's driver for firewalld, and Docker, have made and saved, and fill as they run."""
OPTIONS = {"sources": "--add-source=", "forward-ports": "--add-forward-port=", "rich rules": "--add-rich-rule="}
"""With which firewall-cmd takes what containers have in those."""
TRUSTED = re.compile(r"zone trusted, sources: (\S+)$")
"""Networks of podman's containers, netavark-firewalld(7), and containers of CNI's plugin ``firewall``."""
BAN = re.compile(r"zone ([^,]+), rich rules: (rule\b.* source address=.* (?:reject|drop)\b.*)$")
"""fail2ban's action firewallcmd-rich-rules."""
BAN_BY_SET = re.compile(r"direct rule (\S+ filter \S+ \d+ .*--match-set f2b-.*)$")
"""fail2ban's action firewallcmd-ipset."""


class Unsaved:
    """Args:
    running: the settings that run, in the form of ``settings``.
    saved: the settings that are saved.
    """

    def __init__(self, running: Set[str], saved: Set[str]) -> None:
        more, less = sorted(running - saved), sorted(saved - running)
        self.passing = [row for row in more if restoring(row)]
        """What is put back after a reload."""
        others = [row for row in more if not restoring(row)] + ["removed: " + row for row in less]
        self.lost = [row for row in others if not CONTAINERS.match(row.partition("removed: ")[2] or row)]
        """What only whoever made it could put back."""

    def commands(self) -> List[Tuple[List[str], List[str]]]:
        """Return what puts back the passing ones: the words before the settings, and the settings, of each command."""
        found: Dict[Tuple[str, ...], List[str]] = {}
        commands = []
        for where, words in filter(None, map(restoring, self.passing)):
            if where == ["--direct"]:  # takes one rule at a time
                commands.append((where, words))
            else:
                found.setdefault(tuple(where), []).extend(words)
        for place, words in found.items():
            commands += [(list(place), words[at : at + PORTION]) for at in range(0, len(words), PORTION)]
        return commands


def restoring(row: str) -> Optional[Tuple[List[str], List[str]]]:
    """Return the words of firewall-cmd that put a setting back, as ``Unsaved.commands`` does; None if it is not one of
    those that come and go."""
    import shlex

    containers = CONTAINERS.match(row)
    if containers:
        what, name, key, told = containers.groups()
        return (["--%s=%s" % (what, name)], [OPTIONS[key] + told]) if key in OPTIONS else None
    trusted, ban, by_set = TRUSTED.match(row), BAN.match(row), BAN_BY_SET.match(row)
    if trusted:
        return ["--zone=trusted"], ["--add-source=" + trusted.group(1)]
    if ban:
        return ["--zone=" + ban.group(1)], ["--add-rich-rule=" + ban.group(2)]
    return (["--direct"], ["--add-rule", *shlex.split(by_set.group(1))]) if by_set else None


def settings(text: str, what: str) -> Set[str]:
    """Return what ``--list-all-zones`` or ``--list-all-policies`` says, a line for each setting.

    Interfaces are left out: they stay where they are over a reload.
    """
    name, key = "", ""
    found: Set[str] = set()
    for line in text.splitlines():
        if not line.startswith((" ", "\t")):
            name = line.partition(" ")[0]
            continue
        new, colon, told = line.strip().partition(":")
        if line.startswith("\t") or not colon:
            new, told = key, line.strip()
        key = new
        parts = [told.strip()] if key in ("rich rules", "forward-ports") else told.split()
        if key not in ("interfaces", "summary", "description"):
            found.update("%s %s, %s: %s" % (what, name, key, part) for part in parts if part)
    return found
