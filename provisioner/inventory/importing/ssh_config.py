"""Hosts of an OpenSSH client's configuration (ssh_config(5)).

Whatever that file says of a host keeps its effect, for connections are made with it; hence an entry is taken over by
its name alone, without user, port and key.
"""

from __future__ import annotations

import re

from provisioner.inventory.importing.found import Found, FoundHost

_LINE = re.compile(r"\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*?)\s*$")
_SERVICES = re.compile(r"(^|\.)(github\.com|gitlab\.com|bitbucket\.org|dev\.azure\.com|visualstudio\.com)$")


def read_ssh_config(text: str) -> Found:
    """Return the hosts that the text names one by one; patterns name none.

    A host through which others are reached (``ProxyJump``) counts as a door, not as a member of a cluster.
    """
    names: dict[str, str] = {}
    doors: set[str] = set()
    left: list[str] = []
    current: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = None if line.lstrip().startswith("#") else _LINE.match(line)
        if found is None:
            continue
        keyword, value = found[1].lower(), _without_comment(found[2])
        if keyword in ("host", "match"):
            current = _named(value) if keyword == "host" else []
            names.update({name: names.get(name, "") for name in current})
        elif keyword == "hostname":
            names.update({name: names[name] or value for name in current})
        elif keyword == "proxyjump" and value.lower() != "none":
            doors.update(hop.rpartition("@")[2].partition(":")[0] for hop in value.split(","))
        elif keyword == "include":
            left.append(f"line {number}: hosts of the files that Include names; import those files as well")
    chosen = [name for name in names if not _is_service(name, names[name]) and name not in doors]
    left += [f"{name}: others are reached through it" for name in names if name in doors]
    left += [f"{name}: a service for source code" for name in names if _is_service(name, names[name])]
    return Found(tuple(FoundHost(name) for name in chosen), None, tuple(left))


def _named(value: str) -> list[str]:
    """Return the words of a Host line that are names; ``*``, ``?`` and ``!`` make patterns."""
    words = [word.strip('"') for word in value.split()]
    return [word for word in words if word and not re.search(r"[*?!]", word)]


def _without_comment(value: str) -> str:
    """Newer versions of OpenSSH (8.7) take what follows `` #`` for a comment."""
    return re.split(r"\s+#", value, maxsplit=1)[0].strip('"') if value.count('"') < 3 else value


def _is_service(name: str, host_name: str) -> bool:
    return bool(_SERVICES.search(name.lower()) or _SERVICES.search(host_name.lower()))
