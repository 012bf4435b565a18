"""What a node is started with: arguments, variables, and the hash that tells whether it still is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from provisioner.errors import InputError
from provisioner.inventory.model import Host, Inventory, Secret
from provisioner.ray import auth, metrics, storage
from provisioner.ray.ports import NODE_PORTS, check_ports, node_ports, worker_ports
from provisioner.ray.version import parse

HOST_LABEL = "provision/host"
CONFIG_LABEL = "provision/config"
HIDDEN = "a secret"
"""Stands for a secret where its value must not count."""
DEFAULT_ENV = {
    # Read when ray is imported; without it a head on Windows or macOS silently starts on 127.0.0.1
    # (ray/_private/ray_constants.py).
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONUTF8": "1",
}
MATCH_VARIABLE = "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL"
"""``minor`` has Ray accept nodes and drivers with another patch version of Python (from 2.51.0 on)."""
TLS_SWITCH = "RAY_USE_TLS"
HEAD_ENV = {
    # A node that was cut off is noticed after 10 s in place of 63 (measured with Ray 2.60.0).
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
TEXT_LABELS_SINCE = (2, 45, 0)
"""Before, ``--labels`` took JSON only."""
OURS = {"first_port", "worker_ports", "node_ip", "temp_dir", *NODE_PORTS, "port", "dashboard_port"}
"""Options that are not simply handed on under their own name."""


def environment_id(host: Host, inventory: Inventory) -> str:
    """Return what tells the environment a host needs: a hash of all that goes in.

    With ``match: minor`` it is the same for every patch version: which one a host has is known there only.
    """
    if host.fixed:
        return host.fixed.environment
    python = host.python.rpartition(".")[0] if host.interpreter.match == "minor" else host.python
    return _hash([python, requirements(host, inventory)])[:12]


def requirements(host: Host, inventory: Inventory) -> list[str]:
    """Return what is installed on a host, as pip writes it."""
    runtime = ["msvc-runtime"] if host.os == "windows" else []  # Ray's wheel needs MSVCP140.dll, and has none
    return [f"ray[default]=={inventory.ray_version}", "redis", *runtime, *host.packages]


def versions(host: Host, inventory: Inventory) -> dict[str, str]:
    """Return the versions that a host's environment must have: those of ``ray`` and ``python``."""
    return {"ray": inventory.ray_version, "python": host.python}


def node_ip(host: Host) -> str:
    """Return the address under which the other nodes reach this one (filled in by ``engine.addresses``)."""
    return str(host.ray.options.get("node_ip") or host.address).strip("[]")


def gcs_address(inventory: Inventory) -> str:
    """Return where the head's GCS listens."""
    ip = node_ip(inventory.head)
    return f"{f'[{ip}]' if ':' in ip else ip}:{node_ports(inventory.head)['port']}"


def dashboard(inventory: Inventory) -> tuple[str, int]:
    """Return address and port under which the head itself reaches its dashboard."""
    bound = str(inventory.head.ray.options.get("dashboard_host", "127.0.0.1"))
    address = "127.0.0.1" if bound in ("0.0.0.0", "::", "localhost") else bound  # noqa: S104 - compared, not bound
    return address, node_ports(inventory.head)["dashboard_port"]


def redis_address(inventory: Inventory) -> tuple[str, int] | None:
    """Return where the head reaches Redis, None if the cluster has none."""
    keeper = next((host for host in inventory.hosts if host.keeps_redis), inventory.head)
    return storage.address(inventory, node_ip(keeper))


def node_params(host: Host, inventory: Inventory) -> dict[str, Any]:
    """Return the parameters of ``ray_head`` or ``ray_worker`` for a host (see remote/resources/ray_node.py)."""
    if inventory.head.ray.options.get("include_dashboard") is False:
        raise InputError(
            "`include_dashboard: false` can't be used: the list of nodes is read from the dashboard",
            remedy="leave it out; the dashboard listens on the head's loopback only",
            place=inventory.head.place,
        )
    check_ports(host)
    _check_tls(host, inventory)
    environment = environment_id(host, inventory)
    redis = redis_address(inventory)
    env = _own_env(host, inventory)
    arguments = _arguments(host, inventory)
    labels = {**host.ray.labels, HOST_LABEL: host.name}
    config = _config(host, inventory, labels, environment)
    labels[CONFIG_LABEL] = config
    return {
        "arguments": [*arguments, "--labels=" + _labels(labels, inventory.ray_version)],
        "env": env,
        "environment": environment,
        "config": config,
        "versions": versions(host, inventory),
        "node_ip": node_ip(host),
        "ports": node_ports(host),
        "gcs": gcs_address(inventory),
        "dashboard": list(dashboard(inventory)),
        "head": inventory.head.name,
        "temp_dir": host.ray.options.get("temp_dir"),
        "secret": _secret_names(host),
        **({"tls": True} if inventory.tls else {}),
        **({"redis": storage.client_params(inventory, redis)} if redis and host.role == "head" else {}),
    }


def _check_tls(host: Host, inventory: Inventory) -> None:
    """Raise an InputError if the inventory's own variables say something else of TLS than its key ``tls``."""
    own = sorted(name for name in host.ray.env if name == TLS_SWITCH or name.startswith("RAY_TLS_"))
    if inventory.tls and own:
        message = f"{host.name} sets {', '.join(own)} by itself, and `ray: {{tls: true}}` does it for all hosts"
        raise InputError(message, remedy="keep one of the two", place=host.place)


def _labels(labels: Mapping[str, str], ray: str) -> str:
    """Return labels as ``ray start`` of that release takes them (ray/scripts/scripts.py)."""
    if parse(ray) < TEXT_LABELS_SINCE:
        return json.dumps(labels, sort_keys=True)
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _secret_names(host: Host) -> list[str]:
    """Return which variables must never be shown, as differences name them."""
    return sorted(f"env {name}" for name, value in host.ray.env.items() if isinstance(value, Secret))


def node_env(host: Host, inventory: Inventory) -> dict[str, str]:
    """Return the variables of every Ray process on a host, secrets in clear."""
    given = {name: value.reveal() if isinstance(value, Secret) else value for name, value in host.ray.env.items()}
    match = {MATCH_VARIABLE: "minor"} if host.interpreter.match == "minor" else {}
    tls = {TLS_SWITCH: "1"} if inventory.tls else {}  # the host adds where the certificate lies (remote/tls.py)
    guard = {**auth.variables(inventory), **tls}  # and where the token does (remote/resources/ray_token.py)
    return {**DEFAULT_ENV, **guard, **match, **(HEAD_ENV if host.role == "head" else {}), **given}


def _own_env(host: Host, inventory: Inventory) -> dict[str, str]:
    """Return the variables of a node's own processes, secrets in clear."""
    kept = storage.variables(inventory, host, redis_address(inventory))
    collector = next((each for each in inventory.hosts if each.runs_prometheus), inventory.head)
    return {**node_env(host, inventory), **kept, **metrics.variables(inventory, host, node_ip(collector))}


def _config(host: Host, inventory: Inventory, labels: Mapping[str, str], environment: str) -> str:
    """Return what tells whether a node runs as declared, for a label that everybody in the cluster can read.

    A hash of a secret can be tried out against guesses: what secrets there are counts here, and what they are is added
    on the host, with a key that only the host has (remote/resources/ray_spec.py).
    """
    ray = host.ray
    variables = {name: HIDDEN if isinstance(value, Secret) else value for name, value in ray.env.items()}
    shown = replace(host, ray=replace(ray, env=variables))
    env = _own_env(shown, inventory)
    return _hash([_arguments(shown, inventory), labels, env, environment, ray.options.get("temp_dir")])[:16]


def _arguments(host: Host, inventory: Inventory) -> list[str]:
    """Return the arguments of ``ray start``, but labels and temp dir."""
    ports = node_ports(host)
    arguments = ["--block", f"--node-ip-address={node_ip(host)}"]
    if host.role == "head":
        arguments += ["--head", f"--port={ports['port']}", f"--dashboard-port={ports['dashboard_port']}"]
        if "ray_client_server_port" not in host.ray.options:
            arguments.append(f"--ray-client-server-port={ports['ray_client_server_port']}")
    else:
        arguments.append(f"--address={gcs_address(inventory)}")
    arguments += [f"--{name.replace('_', '-')}={ports[name]}" for name in NODE_PORTS]
    arguments += worker_ports(host)
    if host.ray.resources:
        arguments.append("--resources=" + json.dumps(dict(host.ray.resources), sort_keys=True))
    given = ((name, value) for name, value in sorted(host.ray.options.items()) if name not in OURS)
    return arguments + [argument for name, value in given for argument in _option(name, value)]


def _option(name: str, value: Any) -> list[str]:
    """Return an option as ``ray start`` takes it.

    Raises:
        InputError: it is a secret, which every account of the host could read on the command line.
    """
    flag = "--" + name.replace("_", "-")
    if isinstance(value, Secret):
        message = f"`{name}` would be a secret on a command line"
        raise InputError(message, remedy="give it as a variable: ray: {env: ...}")
    if value is True and name not in VALUED:
        return [flag]
    if value is False and name not in VALUED:
        return []
    return [f"{flag}={json.dumps(value) if isinstance(value, (bool, dict)) else value}"]


VALUED = {"include_dashboard", "include_log_monitor"}
"""Options that take true or false as a value; all others of that kind are flags."""


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
