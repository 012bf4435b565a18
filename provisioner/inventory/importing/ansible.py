"""Hosts of an inventory of Ansible, in INI or YAML.

Sources: "How to build your inventory" and "Connecting to hosts: behavioral inventory parameters" in Ansible's user
guide, and its plugins ``ini`` and ``yaml``. Variables of folders (group_vars, host_vars) are files of their own and are
not read; inventories that are programs are refused by whoever reads the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from provisioner.inventory import ranges
from provisioner.inventory.document import Document
from provisioner.inventory.importing.found import Found, FoundHost
from provisioner.inventory.importing.groups import Groups
from provisioner.inventory.ranges import BadRange

_HEADS = ("head", "ray_head", "ray-head", "master", "server", "control", "controller")
"""Groups whose only member is taken for the head."""
_TRUE = ("yes", "true", "1", "on")
_SYSTEMS = ("linux", "macos", "windows")


def read_ini(text: str) -> Found:
    """Return the hosts of an inventory in Ansible's INI."""
    groups = Groups()
    group, kind = "ungrouped", "hosts"
    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line)
        if not words:
            continue
        if words[0].startswith("["):
            group, _, kind = line.strip().partition("]")[0][1:].partition(":")
            kind = kind or "hosts"
        elif kind == "children":
            groups.nest(group, words[0])
        elif kind == "vars":
            name, _, value = line.partition("=")
            groups.group_says(group, {name.strip(): _unquoted(value.strip())})
        elif kind == "hosts":
            own = {name: value for name, sign, value in (word.partition("=") for word in words[1:]) if sign}
            _add(groups, group, words[0], own, f"line {number}")
    return _found(groups)


def read_yaml(document: Document) -> Found:
    """Return the hosts of an inventory in Ansible's YAML."""
    groups = Groups()
    waiting: list[tuple[str, Any]] = [(str(name), value) for name, value in _items(document.value)]
    while waiting:
        group, value = waiting.pop(0)
        for name, own in _items(_get(value, "hosts")):
            _add(groups, group, name, dict(_items(own)), f"group {group}")
        groups.group_says(group, dict(_items(_get(value, "vars"))))
        for child, inner in _items(_get(value, "children")):
            groups.nest(group, child)
            waiting.append((child, inner))
    return _found(groups)


def _add(groups: Groups, group: str, pattern: str, own: Mapping[str, Any], where: str) -> None:
    try:
        names = ranges.expand(pattern)
    except BadRange as error:
        groups.left.append(f"{where}: {error}")
        return
    for name in names:
        place, colon, port = name.partition(":")
        is_place = bool(colon) and port.isdigit()
        groups.add(group, place if is_place else name, {**({"ansible_port": port} if is_place else {}), **own})


def _found(groups: Groups) -> Found:
    hosts = [_host(name, groups.of(name), groups.said(name), groups) for name in groups.hosts]
    hosts = [host for host in hosts if host is not None]
    left = list(dict.fromkeys(groups.left))
    return Found(tuple(host for host in hosts if host), None, tuple(left))


def _host(name: str, of: tuple[str, ...], said: dict[str, Any], groups: Groups) -> FoundHost | None:
    def say(*names: str) -> str | None:
        value = next((said.pop(f"ansible_{each}") for each in names if f"ansible_{each}" in said), None)
        for each in names:
            said.pop(f"ansible_{each}", None)
        if value is None or value == "":
            return None
        if "{{" in str(value):
            groups.left.append(f"ansible_{names[0]}: it is a template, which only Ansible can fill in")
            return None
        return str(value)

    address, user, port = say("host", "ssh_host"), say("user", "ssh_user"), say("port", "ssh_port")
    key, connection = say("ssh_private_key_file", "private_key_file"), say("connection")
    system = (say("os_family") or "").lower()
    become = (say("become") or "").lower() in _TRUE
    if connection == "local":
        groups.left.append(f"{name}: the machine that Ansible runs on, without SSH")
        return None
    if connection in ("winrm", "psrp"):
        groups.left.append(f"{name}: reached by {connection}; Windows needs OpenSSH's server here (docs/windows.md)")
        port, system = None, "windows"
    for other in said:
        groups.left.append(f"{other}: {_instead(other)}")
    heads = [group for group in of if group.lower() in _HEADS and len(groups.members(group)) == 1]
    kept = tuple(group for group in of if group not in ("all", "ungrouped"))
    return FoundHost(
        name, address, user, int(port) if port and port.isdigit() else None, key, None, kept, become,
        system if system in _SYSTEMS else None, bool(heads),
    )  # fmt: skip


def _instead(variable: str) -> str:
    """Return what can be done in place of a variable; its value may be a secret and is never told."""
    if variable.endswith(("password", "pass")):
        return "secrets are written as {from_env: NAME} or {from_file: path}"
    if variable in ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"):
        return "write `ssh: {jump: ...}`, or the options into ~/.ssh/config"
    if variable == "ansible_python_interpreter":
        return "a Python of the cluster's own is brought; `python: {source: ...}` takes another"
    return "not taken over; playbooks find values under `vars`"


def _words(line: str) -> list[str]:
    """Return the words of a line, without quotes and comment."""
    import shlex

    if line.lstrip().startswith((";", "#")):
        return []
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split("#", 1)[0].split()


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, Mapping) else ()
