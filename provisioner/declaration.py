"""What one host is told: the playbook's plays for it, completed with what the inventory and Ray demand.

A playbook says ``ray_worker: {}``; here the parameters it means are filled in. The result is plain JSON data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from provisioner.errors import InputError
from provisioner.inventory.model import Host, Inventory
from provisioner.inventory.values import is_address_range
from provisioner.playbook.model import Playbook
from provisioner.playbook.resolve import ResolvedPlay, ResolvedTask, Resolver
from provisioner.ray import certificates, metrics, start, storage
from provisioner.ray.ports import port_spans

PROTOCOL = 1
Params = dict[str, Any]


@dataclass(frozen=True)
class Declaration:
    """Everything one host is told, and the files it may ask for.

    ``plays`` and ``needs`` keep the playbook's order; ``hello`` is the first message of the conversation.
    """

    host: Host
    plays: tuple[str, ...]
    needs: Mapping[str, tuple[str, ...]]
    hello: dict[str, Any]
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    """Content by sha256."""


class Declarer:
    """Says what each host of an inventory is told.

    Raises:
        InputError: the playbook names hosts that do not exist.
    """

    def __init__(self, inventory: Inventory, playbook: Playbook) -> None:
        self._inventory = inventory
        self._playbook = playbook
        self._resolver = Resolver(playbook, inventory)

    def declare(self, host: Host, mode: str) -> Declaration:
        """Return the declaration of a host for ``apply``, ``check``, ``rollback`` or ``teardown``.

        Raises:
            InputError: a value of the playbook or the inventory can't be right.
        """
        return _declare(host, self._inventory, self._playbook, self._resolver.plays(host), mode)


def _declare(
    host: Host, inventory: Inventory, playbook: Playbook, plays: tuple[ResolvedPlay, ...], mode: str
) -> Declaration:
    _check_once(plays, host, playbook)
    _check_certified(plays, inventory, playbook)
    files: dict[str, Path | bytes] = {}
    told = [{"name": play.name, "tasks": [_task(task, host, inventory, playbook, files) for task in play.tasks]}
            for play in plays]  # fmt: skip
    hello = dict(greeting(host, inventory, mode), plays=told)
    return Declaration(host, tuple(play.name for play in plays), _needs(plays), hello, files)


def greeting(host: Host, inventory: Inventory, mode: str) -> dict[str, Any]:
    """Return the first message to a host, but for its plays; secrets in clear, and only where something is started."""
    password = host.account_password if mode in ("apply", "check", "rollback") else None
    return {
        "type": "hello",
        "protocol": PROTOCOL,
        "mode": mode,
        "cluster": inventory.cluster,
        "host": host.name,
        "node_ip": start.node_ip(host),
        "python": host.python,
        "root": host.root,
        "service": host.service,
        "account": host.account,
        **({"account_password": password.reveal()} if password else {}),
    }


def _check_once(plays: tuple[ResolvedPlay, ...], host: Host, playbook: Playbook) -> None:
    """Raise an InputError if two tasks set one file or variable, or if a path is no full one."""
    seen: dict[tuple[str, str, str], str] = {}
    for task in (task for play in plays for task in play.tasks if task.resource in IDENTITY):
        name = IDENTITY[task.resource]
        what = str(task.params[name])
        if name == "path" and not (PurePosixPath(what).is_absolute() or PureWindowsPath(what).is_absolute()):
            message = f"{playbook.file}: the path '{what}' of '{task.name}' is no full path"
            raise InputError(message, remedy="begin it at the root of the host's file system")
        same = (task.resource, what, str(task.when))
        if same in seen:
            message = f"'{seen[same]}' and '{task.name}' both set the {task.resource} {what} on {host.name}"
            raise InputError(f"{playbook.file}: {message}", remedy="keep one of them, or tell them apart with `when:`")
        seen[same] = task.name


def _check_certified(plays: tuple[ResolvedPlay, ...], inventory: Inventory, playbook: Playbook) -> None:
    """Raise an InputError if nodes should use TLS and the playbook, an older copy, gives them no certificates."""
    kinds = {task.resource for play in plays for task in play.tasks}
    if inventory.tls and "certificate" not in kinds and kinds & {"ray_head", "ray_worker"}:
        message = f"{playbook.file} gives the nodes no certificates, and `ray: {{tls: true}}` wants them"
        remedy = "add the task `certificate: {}` before Ray is started, as in the playbook that comes with provision"
        raise InputError(message, remedy=remedy)


IDENTITY = {"file": "path", "variable": "name"}
"""The parameter that tells two tasks of a kind apart."""


def _needs(plays: tuple[ResolvedPlay, ...]) -> dict[str, tuple[str, ...]]:
    return {play.name: tuple(play.needs) for play in plays}


def _task(
    task: ResolvedTask, host: Host, inventory: Inventory, playbook: Playbook, files: dict[str, Path | bytes]
) -> dict[str, Any]:
    params = dict(task.params)
    complete = COMPLETE.get(task.resource)
    if complete:
        params = complete(params, host, inventory)
    if task.resource == "file":
        params = _file(params, playbook.file.parent, files)
    return {"name": task.name, "resource": task.resource, "params": params, "when": dict(task.when)}


def _python(params: Params, host: Host, inventory: Inventory) -> Params:
    """The inventory's settings; a task may name another version, or the path of an interpreter."""
    chosen = host.interpreter
    source = params.pop("path", chosen.source)
    return {"version": host.python, "source": source, "match": chosen.match, "mirror": chosen.mirror, **params}


def _environment(params: Params, host: Host, inventory: Inventory) -> Params:
    return {
        "id": start.environment_id(host, inventory),
        "requirements": start.requirements(host, inventory),
        **({"lock": host.fixed.digest} if host.fixed else {}),
        "check": ["ray", "redis"],
        "versions": start.versions(host, inventory),
    }


def _old_environments(params: Params, host: Host, inventory: Inventory) -> Params:
    return {"environment": start.environment_id(host, inventory), "keep": inventory.keep}


def _node(params: Params, host: Host, inventory: Inventory) -> Params:
    return start.node_params(host, inventory)


def _redis_server(params: Params, host: Host, inventory: Inventory) -> Params:
    return storage.server_params(inventory, host, start.node_ip(host))


def _prometheus(params: Params, host: Host, inventory: Inventory) -> Params:
    return metrics.server_params(inventory, host, {each.name: start.node_ip(each) for each in inventory.hosts})


def _firewall(params: Params, host: Host, inventory: Inventory) -> Params:
    """The ports of this host's node, and of the cluster's own servers, for all members: their own address is theirs
    too."""
    others = [str(each) for each in params.get("allow", ())]
    for each in others:
        if not is_address_range(each):
            raise InputError(
                f"the firewall can't allow '{each}'", remedy="write 10.0.0.7, 10.0.0.7-10.0.0.9 or 10.0.0.0/24"
            )
    redis = inventory.redis
    # on the head it listens on the loopback alone
    kept = [[redis.port, redis.port]] if redis and redis.host == host.name and host.role != "head" else []
    return {
        "environment": start.environment_id(host, inventory),
        "ports": sorted(port_spans(host) + kept + metrics.open_ports(inventory, host)),
        "addresses": sorted({start.node_ip(member) for member in inventory.hosts}) + others,
    }


def _certificate(params: Params, host: Host, inventory: Inventory) -> Params:
    return {"names": certificates.node_names(host), "head": inventory.head.name}


def _members(params: Params, host: Host, inventory: Inventory) -> Params:
    members = {
        member.name: {"address": member.address, "port": member.ssh.port, "user": member.ssh.user,
                      "jump": member.ssh.jump, "become": member.become, "root": member.root,
                      "account": member.account, "service": member.service}
        for member in inventory.hosts
    }  # fmt: skip
    return {"members": members, "dashboard": list(start.dashboard(inventory))}


def _proof(params: Params, host: Host, inventory: Inventory) -> Params:
    return {
        "environment": start.environment_id(host, inventory),
        "gcs": start.gcs_address(inventory),
        "dashboard": list(start.dashboard(inventory)),
        "env": start.node_env(host, inventory),
        "members": [member.name for member in inventory.hosts],
        "addresses": {member.name: start.node_ip(member) for member in inventory.hosts},
    }


COMPLETE: dict[str, Callable[[Params, Host, Inventory], Params]] = {
    "python": _python,
    "environment": _environment,
    "ray_head": _node,
    "ray_worker": _node,
    "redis_server": _redis_server,
    "prometheus": _prometheus,
    "firewall": _firewall,
    "certificate": _certificate,
    "members": _members,
    "ray_proof": _proof,
    "old_environments": _old_environments,
}
"""What the resources take from the inventory."""


def _file(params: Params, folder: Path, files: dict[str, Path | bytes]) -> Params:
    """Replace a file's content or source by its hash; the host asks for the bytes if it needs them."""
    if "source" in params:
        source = folder / Path(params.pop("source")).expanduser()
        try:
            content = source.read_bytes()
        except OSError as error:
            raise InputError(f"the file {source} can't be read: {error.strerror}", remedy="mend `source`") from None
        payload: Path | bytes = source
    else:
        content = payload = str(params.pop("content")).encode("utf-8")
    sha256 = hashlib.sha256(content).hexdigest()
    files[sha256] = payload
    return {**params, "sha256": sha256, "size": len(content)}
