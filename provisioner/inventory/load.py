"""Reads an inventory: the file, its ranges, secrets and defaults, and everything that may be wrong with it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from provisioner.errors import InputError
from provisioner.inventory.document import Document, load_document
from provisioner.inventory.expansion import Entry, Expansion
from provisioner.inventory.lockfile import SUFFIX
from provisioner.inventory.metrics import read_metrics, with_collector
from provisioner.inventory.model import Host, Interpreter, Inventory, Logins, RayOptions, Ssh
from provisioner.inventory.options import CLUSTER_ONLY, HEAD_ONLY, ONE_HOST_ONLY, Reader, Settings
from provisioner.inventory.problems import Problems, listing, suggestion
from provisioner.inventory.redis import read_redis, with_keeper
from provisioner.inventory.systems import check_systems
from provisioner.inventory.uniqueness import check_hosts
from provisioner.inventory.validation import validate

SCHEMA = Path(__file__).with_name("schema.json")


def find_inventory(argument: str | None, cwd: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Choose the inventory.

    It is the argument, else ``$PROVISION_INVENTORY``, else ``inventory.yml``, else the only one in ``inventory/``.

    Raises:
        InputError: none of these names one file.
    """
    named = argument or environ.get("PROVISION_INVENTORY")
    if named:
        return cwd / named
    beside = cwd / "inventory.yml"
    if beside.is_file():
        return beside
    folder = cwd / "inventory"
    candidates = (path for path in folder.glob("*") if path.suffix in (".yml", ".yaml"))
    found = sorted(path for path in candidates if not path.name.endswith(SUFFIX))
    if len(found) == 1:
        return found[0]
    remedy = "name one: `provision check FILE`, or set PROVISION_INVENTORY"
    if found:
        names = listing([str(path.relative_to(cwd)) for path in found])
        raise InputError(f"there are {len(found)} inventories: {names}", remedy=remedy)
    raise InputError(f"there is no inventory: neither {beside} nor a *.yml in {folder}", remedy=remedy)


def load_inventory(path: Path, environ: Mapping[str, str] = os.environ) -> Inventory:
    """Read an inventory file, with ranges written out, secrets fetched and cluster-wide values merged in.

    Raises:
        InputError: something is wrong with it; InputErrors if there are several mistakes.
    """
    return read_inventory(load_document(path), environ)


def read_inventory(document: Document, environ: Mapping[str, str] = os.environ) -> Inventory:
    """Read an inventory from a document, as `load_inventory` does from its file.

    Raises:
        InputError: something is wrong with it; InputErrors if there are several mistakes.
    """
    validate(document, SCHEMA)
    problems = Problems()
    reader = Reader(document, environ, problems)
    _check_scopes(document, problems)
    cluster = reader.settings()
    settings_at = functools.cache(lambda path: reader.settings(*path).over(cluster))
    hosts = [_host(entry, settings_at(entry.path)) for entry in Expansion(document, problems).entries()]
    artifacts = reader.artifacts()
    redis = read_redis(document, hosts, reader.secret, problems)
    metrics = read_metrics(document, hosts, problems)
    _check_head(document, hosts, problems)
    _check_python(document, hosts, problems)
    _check_mirror(document, artifacts.mirror, hosts, problems)
    check_hosts(hosts, problems)
    check_systems(hosts, problems)
    problems.raise_any()
    top = document.value
    return Inventory(
        cluster=top["cluster"],
        ray_version=top["ray"]["version"],
        hosts=tuple(with_collector(with_keeper(hosts, redis), metrics)),
        file=document.file,
        vars=cluster.vars,
        artifacts=artifacts,
        tls=bool(top["ray"].get("tls", False)),
        redis=redis,
        metrics=metrics,
        auth=top["ray"].get("auth"),
        auth_place=document.place("ray", "auth"),
        logins=_logins(cluster),
        **({"keep": top["keep"]} if "keep" in top else {}),
    )


def _logins(common: Settings) -> Logins:
    return Logins(Ssh(**common.ssh), common.plain.get("become_password"))


def _host(entry: Entry, settings: Settings) -> Host:
    """The finished host; whatever is missing was noted as a problem before."""
    python = {"version": "controller", **settings.python}
    version = python.pop("version")
    is_head = entry.role == "head"
    options = {key: value for key, value in settings.ray.items() if is_head or key not in HEAD_ONLY}
    options.update({key: entry.along[key] for key in ONE_HOST_ONLY if key in entry.along})
    return Host(
        name=entry.name,
        role=entry.role,
        address=entry.along.get("address", entry.name),
        python=_own_version() if version == "controller" else version,
        interpreter=Interpreter(**python),
        ray=RayOptions(options, settings.labels, settings.resources, settings.env),
        ssh=Ssh(**settings.ssh),
        groups=tuple(entry.values.get("groups", ())),
        vars=settings.vars,
        place=entry.place,
        **{"packages": (), **settings.plain},
    )


def _own_version() -> str:
    import platform

    return platform.python_version()


def _check_scopes(document: Document, problems: Problems) -> None:
    """Note options of ray that stand where they cannot apply."""
    ray = document.value["ray"]
    if "version" not in ray:
        problems.add("'ray' lacks the key 'version'", document.key_place("ray"), "write ray: {version: 2.60.0}")
    for key in ONE_HOST_ONLY & set(ray):
        problems.add(f"'{key}' belongs to one host, not to the whole cluster", document.key_place("ray", key))
    for section in ("head", "workers"):
        hosts = document.value.get(section)
        for name, own in hosts.items() if isinstance(hosts, Mapping) else ():
            given = set((own or {}).get("ray", {}))
            misplaced = dict.fromkeys(CLUSTER_ONLY, "belongs to the whole cluster, not to one host")
            if section == "workers":
                misplaced.update(dict.fromkeys(HEAD_ONLY, "is an option of the head only"))
            for key in given & set(misplaced):
                problems.add(f"'{key}' {misplaced[key]}", document.key_place(section, name, "ray", key))


def _check_head(document: Document, hosts: list[Host], problems: Problems) -> None:
    heads = [host for host in hosts if host.role == "head"]
    if len(heads) > 1:
        names = " and ".join(f"'{host.name}'" for host in heads[:2])
        more = f" and {len(heads) - 2} more" if len(heads) > 2 else ""
        message = f"a cluster has one head, and here are {names}{more}"
        problems.add(message, heads[1].place, "move all but one to workers")
    elif not document.value["head"]:
        problems.add("there is no head", document.key_place("head"), "write head: {NAME: {address: ...}}")


def _check_python(document: Document, hosts: list[Host], problems: Problems) -> None:
    """Note hosts whose Python could never join the others: Ray compares the exact version, or the minor one."""
    python = document.value["python"]
    if not isinstance(python, str) and "version" not in python:
        problems.add("'python' lacks the key 'version'", document.key_place("python"), "write python: 3.11.9")
        return
    for host in hosts[1:]:
        if host.interpreter.match != hosts[0].interpreter.match:
            remedy = "write `match` at the top, for all hosts"
            problems.add(f"'{host.name}' has another `match` of Python than '{hosts[0].name}'", host.place, remedy)
        elif _comparable(host) != _comparable(hosts[0]):
            message = f"'{host.name}' has Python {host.python} and '{hosts[0].name}' {hosts[0].python}"
            same_minor = host.python.rpartition(".")[0] == hosts[0].python.rpartition(".")[0]
            remedy = "give all hosts one version" + (", or write `match: minor`" if same_minor else "")
            problems.add(f"{message}: Ray would refuse the node", host.place, remedy)


def _comparable(host: Host) -> str:
    """Return the part of a host's Python that Ray compares."""
    return host.python.rpartition(".")[0] if host.interpreter.match == "minor" else host.python


def _check_mirror(document: Document, mirror: str, hosts: list[Host], problems: Problems) -> None:
    names = {"head", "none", *(host.name for host in hosts)}
    if mirror not in names:
        place = document.place("artifacts", "mirror")
        problems.add(f"the mirror '{mirror}' is no host of this inventory", place, suggestion(mirror, names))
