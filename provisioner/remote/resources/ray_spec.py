"""What a node is started with, as one specification that stands alone: the service runs it, and it can be kept to go
back to. It says everything that starting, finding and checking the node needs, whatever the inventory says by then.
"""

from __future__ import annotations

import os

from provisioner.remote import secrets, service, tls
from provisioner.remote.host import MARK
from provisioner.remote.resources import ray_token
from provisioner.remote.resources.ray_state import CONFIG_LABEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

    from provisioner.remote.failure import Failure
    from provisioner.remote.host import Host

    Spec = Dict[str, Any]

KEY = "label-key"
"""The secret that ``config_of`` works with."""
MATCH_LEVEL = "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL"
"""Set to ``minor`` it has Ray take nodes whose Python differs in the patch version (2.51.0 and newer)."""


def declared(host: Host, params: Dict[str, Any]) -> Spec:
    """Return the specification of the node that the parameters of ``ray_head`` or ``ray_worker`` mean."""
    folder = host.environment(params["environment"])
    python = host.platform.interpreter_of(folder)
    scripts = os.path.dirname(python)
    temp_dir = params.get("temp_dir") or host.temp_dir()
    enclosure = "" if params.get("temp_dir") else host.enclosure()  # see ray_sessions.py
    config, mark = config_of(host, params), {MARK: host.root}
    arguments = [*_with_os(params["arguments"], host.platform.os, config), "--temp-dir=" + temp_dir]
    # The dashboard's sockets would stay behind in /tmp.
    env = dict(host.platform.temporary(temp_dir), **params["env"], **ray_token.variables(host, params["env"]), **mark)
    certificate = tls.complete(host, env) if params.get("tls") else None
    argv = [*host.platform.command_of(folder, "ray"), "start", *arguments]
    if params.get("redis"):
        from provisioner.remote.resources import ray_redis

        argv = ray_redis.through(host, python, argv, params["redis"])
    return {
        "argv": argv,
        "env": env,
        **({"tls": certificate} if certificate else {}),
        "path": scripts,
        "python": python,
        "log": service.log_path(host, service.service_name(host)),
        "temp_dir": temp_dir,
        **({"enclosure": enclosure} if enclosure else {}),
        "environment": folder,
        "config": config,
        "versions": host.versions(params["versions"]),
        "node_ip": params["node_ip"],
        "ports": params["ports"],
        "gcs": params["gcs"],
        "head": params["head"],
        "dashboard": params["dashboard"],
        "secret": params["secret"],
    }


def config_of(host: Host, params: Dict[str, Any]) -> str:
    """Return what the label ``provision/config`` is to say, which everybody in the cluster can read.

    If there are secrets among what the node is started with, it depends on these too, by a key that only this host has
    (see ``seal``): a mere hash could be tried out against guesses. Without the key nothing was started with them yet.
    """
    config = str(params["config"])
    if not params["secret"]:
        return config
    spec = {"argv": params["arguments"], "env": params["env"], "python": ""}
    values = sorted(each for each in _facets(spec).items() if each[0] in params["secret"])
    key = secrets.original(host, KEY)
    return "%s-%s" % (config, secrets.sealed(key, repr(values))) if key else config


def seal(host: Host, params: Dict[str, Any]) -> None:
    """Make the key for ``config_of``, if it is needed and not there."""
    if params["secret"] and secrets.original(host, KEY) is None:
        secrets.keep(host, KEY, secrets.new())


def versions(spec: Spec) -> str:
    """Return Ray's and Python's version as users read them."""
    return "Ray %(ray)s, Python %(python)s" % spec["versions"]


def membership(spec: Spec) -> str:
    """Return in words what nodes of one cluster must have in common, but the head's address."""
    authority = tls.of(spec)["authority"]
    token = ", with its token" if ray_token.is_wanted(spec) else ""
    return versions(spec) + token + (", TLS of the authority %s" % authority if authority else "")


def fits(spec: Spec, other: Spec) -> bool:
    """Tell whether a node that runs the one and a node that runs the other can be in the same cluster."""
    mine, theirs = spec["versions"], other["versions"]
    if spec["gcs"] != other["gcs"] or mine["ray"] != theirs["ray"]:
        return False
    if ray_token.is_wanted(spec) != ray_token.is_wanted(other):
        return False
    if tls.of(spec)["authority"] != tls.of(other)["authority"]:
        return False
    if spec.get("env", {}).get(MATCH_LEVEL) == "minor":
        return bool(mine["python"].rsplit(".", 1)[0] == theirs["python"].rsplit(".", 1)[0])
    return bool(mine["python"] == theirs["python"])


def changes(now: Spec, wanted: Spec) -> List[Tuple[str, str, str, str]]:
    """Return (action, what, before, after) for everything a node is started with that differs; secrets stay hidden."""
    if not now:
        return [("change", "Ray's start", "unknown", "as declared")]
    secret = {*now.get("secret", ()), *wanted["secret"]}
    before, after = _facets(now), _facets(wanted)
    told = []
    for name in sorted({**before, **after}):
        if before.get(name) == after.get(name):
            continue
        action = "change" if name in before and name in after else "add" if name in after else "remove"
        values = before.get(name, ""), after.get(name, "")
        if name in secret:
            values = "another secret" * (name in before), "a secret" * (name in after)
        told.append((action, name if name in ("Ray", "Python") else "ray " + name, *values))
    return told


def _facets(spec: Spec) -> Dict[str, str]:
    """Return what a user can recognize in a specification: versions, options, labels and variables by name."""
    known = spec.get("versions", {})
    environment = os.path.basename(spec.get("environment", "")) or spec["python"]
    found = {"environment": environment, "Ray": known.get("ray", ""), "Python": known.get("python", "")}
    for argument in _options(spec["argv"]):
        name, _, value = argument.partition("=")
        if name == "--labels":
            labels = _labels(value)
            found.update({"label " + label: labels[label] for label in labels if label != CONFIG_LABEL})
        else:
            found[name.lstrip("-")] = value or "yes"
    hidden = (ray_token.PATH, *(tls.VARIABLES if spec.get("tls") else ()))
    found.update({"env " + name: value for name, value in spec["env"].items() if name not in hidden})
    certificate = tls.of(spec)
    if certificate["id"]:
        found["certificate"] = "%(id)s, until %(until)s" % certificate
    return found


def worker_spans(spec: Spec) -> List[Tuple[int, int]]:
    """Return the ports that a node gives its worker processes, as (first, last)."""
    told = dict(argument.split("=", 1) for argument in _options(spec["argv"]) if "=" in argument)
    if "--worker-port-list" in told:
        return [(int(port), int(port)) for port in told["--worker-port-list"].split(",")]
    low, high = told.get("--min-worker-port"), told.get("--max-worker-port")
    return [(int(low), int(high))] if low and high else []


def _options(argv: List[str]) -> List[str]:
    """Return what follows ``ray start``."""
    return argv[argv.index("start") + 1 :] if "start" in argv else argv


def _with_os(arguments: List[str], system: str, config: str = "") -> List[str]:
    """Return the arguments with the label ``os``, unless there is one: so work can be steered in a mixed cluster; and
    with the configuration's label as it is on this host."""
    return [_add_os(each, system, config) if each.startswith("--labels=") else each for each in arguments]


def _add_os(argument: str, system: str, config: str) -> str:
    flag, _, text = argument.partition("=")
    labels = dict({"os": system}, **_labels(text))
    if config and CONFIG_LABEL in labels:
        labels[CONFIG_LABEL] = config
    if text.startswith("{"):
        import json

        return "%s=%s" % (flag, json.dumps(labels, sort_keys=True))
    return "%s=%s" % (flag, ",".join("%s=%s" % pair for pair in sorted(labels.items())))


def _labels(text: str) -> Dict[str, str]:
    """Return what ``--labels`` says, in either of its forms."""
    if text.startswith("{"):
        import json

        return dict(json.loads(text))
    return {name: value for name, _, value in (pair.partition("=") for pair in text.split(","))}


def did_not_come_up(failed: Spec, former: Spec, failure: Failure) -> Tuple[str, str]:
    """Return in words what did not come up and what it goes back to: by version, or only by configuration."""
    cause = failure.message[len("Ray ") :] if failure.message.startswith("Ray ") else failure.message
    new, old = failed["versions"], former["versions"]
    if new == old:
        return "Ray did not come up with its new configuration: %s" % cause, "the former one"
    what = "ray" if new["ray"] != old["ray"] else "python"
    subject = "Ray %s" % new["ray"] if what == "ray" else "Ray with Python %s" % new["python"]
    return "%s did not come up: %s" % (subject, cause), "the former one (%s)" % old[what]
