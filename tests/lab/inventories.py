"""Inventories for lab hosts, and known_hosts files with the hosts' real keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .machines import Machine


def write_inventory(path: Path, cluster: str, machines: Sequence[Machine], **over: Any) -> Path:
    """Write an inventory whose head is the first machine, and ``known_hosts`` next to it.

    ``over`` replaces values: mappings are merged at every depth (``ssh={"user": "kim"}``), None removes a key.
    """
    known = path.parent / "known_hosts"
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text("".join(f"{machine.known_host()}\n" for machine in machines), encoding="utf-8")
    head, *workers = machines
    content: dict[str, Any] = {
        "cluster": cluster,
        "python": {"version": "3.11.2", "source": "system"},
        "ray": {"version": "2.60.0"},
        "ssh": {"user": "root", "key": str(head.lab.golden.key), "known_hosts": str(known)},
        "head": {head.name: {"address": head.ip}},
        "workers": {worker.name: {"address": worker.ip} for worker in workers},
    }
    path.write_text(yaml.safe_dump(_merged(content, over), sort_keys=False), encoding="utf-8")
    return path


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in over.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = _merged(result[name], value)
        else:
            result[name] = value
    return result
