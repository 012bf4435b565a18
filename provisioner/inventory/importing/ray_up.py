"""Hosts of a cluster of machines of one's own as ``ray up`` has them: provider type ``local`` (or ``manual``).

Source: python/ray/autoscaler/local/example-full.yaml and ray-schema.json in Ray's repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.errors import InputError
from provisioner.inventory.document import Document
from provisioner.inventory.importing.found import Found, FoundHost

_ELSEWHERE = {
    "docker": "`docker`: Ray runs on the hosts themselves, with a Python of its own",
    "file_mounts": "`file_mounts`: a task with `file` in a playbook of yours can bring files",
    "cluster_synced_files": "`cluster_synced_files`: files that jobs need go with each job",
    "initialization_commands": "`initialization_commands`: a task with `command` in a playbook of yours can run them",
    "setup_commands": "`setup_commands`: name the packages that they install under `packages`",
    "head_setup_commands": "`head_setup_commands`: see `packages`, or a task with `command` for the head",
    "worker_setup_commands": "`worker_setup_commands`: see `packages`, or a task with `command` for workers",
    "head_start_ray_commands": "`head_start_ray_commands`: every option of `ray start` can stand under `ray`",
    "worker_start_ray_commands": "`worker_start_ray_commands`: every option of `ray start` can stand under `ray`",
}


def read_ray_up(document: Document) -> Found:
    """Return the hosts of a cluster's YAML.

    Raises:
        InputError: it is no such file, or its machines come from a cloud.
    """
    top = _mapping(document.value)
    provider, auth = _mapping(top.get("provider")), _mapping(top.get("auth"))
    if not provider:
        raise InputError("this is no file of `ray up`: it has no `provider`", place=document.place())
    kind = provider.get("type")
    if kind not in ("local", "manual") or "head_ip" not in provider:
        message = f"its machines come from the provider {str(kind)[:40]!r}, which makes them"
        if "coordinator_address" in provider:
            message = "a coordinator hands out its machines, and the file does not name them"
        remedy = "give the addresses of machines that run: `provision init ADDRESS...`"
        raise InputError(message, place=document.place("provider", "type"), remedy=remedy)
    workers = provider.get("worker_ips") or []
    addresses = [provider["head_ip"], *(workers if isinstance(workers, list) else [])]
    user, key = _text(auth.get("ssh_user")), _text(auth.get("ssh_private_key"))
    hosts = [
        FoundHost(str(address), user=user, key=key, is_head=index == 0)
        for index, address in enumerate(addresses)
        if isinstance(address, (str, int, float))
    ]
    left = [told for name, told in _ELSEWHERE.items() if top.get(name) and _says_something(name, top[name])]
    if auth.get("ssh_proxy_command"):
        left.append("`ssh_proxy_command`: write `ssh: {jump: ...}`, or the command into ~/.ssh/config")
    return Found(tuple(dict.fromkeys(hosts)), _text(top.get("cluster_name")), tuple(left))


def _says_something(name: str, value: Any) -> bool:
    return bool(_mapping(value).get("image")) if name == "docker" else True


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, int, float)) and value != "" else None
