"""The playbook as the rest of the program sees it: an ordered list of plays, each an ordered list of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import Place


@dataclass(frozen=True)
class Task:
    """One named resource and its wanted state, as the playbook writes it (values may hold ``{{ }}``)."""

    name: str
    resource: str
    params: Mapping[str, Any]
    when: Mapping[str, Any] = field(default_factory=dict)
    """Conditions that must all hold: ``os``, ``arch``, ``role``, ``host``, ``group``, ``python.match``, ``ray.tls``,
    ``vars.NAME``, ``changed``."""
    place: Place | None = None
    places: Mapping[tuple[str | int, ...], Place] = field(default_factory=dict, repr=False, compare=False)
    """Where the values of ``params`` and ``when`` stand: ``("params", "argv", 0)``."""


@dataclass(frozen=True)
class Play:
    """Tasks for one set of hosts.

    ``needs`` names plays that every one of their hosts must be through with before this one begins (a gate).
    """

    name: str
    hosts: tuple[str, ...]
    """``all``, ``head``, ``workers``, host names or groups."""
    tasks: tuple[Task, ...]
    needs: tuple[str, ...] = ()
    place: Place | None = None
    hosts_place: Place | None = field(default=None, repr=False, compare=False)
    """Where ``hosts`` stands."""


@dataclass(frozen=True)
class Playbook:
    """The one declaration: ``apply`` walks it forwards, ``teardown`` backwards, ``check`` only looks."""

    plays: tuple[Play, ...]
    file: Path
