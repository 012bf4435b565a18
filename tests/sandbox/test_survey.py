"""Machines are asked what they are before anything of ours is there, and nothing is left behind."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from provisioner.sandbox import Sandbox
from provisioner.transport.connect import Connector
from provisioner.transport.survey import survey
from provisioner.transport.target import Target

from .conftest import free_ports


def test_machines_say_what_they_are(sandbox: Sandbox, tmp_path: Path) -> None:
    hosts = sandbox.hosts()
    before = {host.name: sorted(host.home.iterdir()) for host in hosts}
    targets = [
        Target(host.name, "127.0.0.1", sandbox.user, host.port, sandbox.key, known_hosts=sandbox.known_hosts)
        for host in hosts
    ]
    nobody = Target("nobody", "127.0.0.1", sandbox.user, free_ports(1), sandbox.key)
    connector = Connector(20)
    try:
        *machines, refused = survey(connector, [*targets, nobody])
    finally:
        connector.close()
    for machine in machines:
        assert machine.trouble == ""
        assert machine.os == {"Linux": "linux", "Darwin": "macos"}[platform.system()]
        assert machine.arch in ("x86_64", "aarch64")
        assert machine.cores == os.sysconf("SC_NPROCESSORS_ONLN")
        assert machine.python is None or machine.python.startswith("3.")
    assert refused.os is None and refused.trouble
    assert {host.name: sorted(host.home.iterdir()) for host in hosts} == before
