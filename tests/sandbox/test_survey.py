"""Machines are asked what they are before anything of ours is there, and nothing is left behind."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

from provisioner.inventory.load import load_inventory
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


def test_an_ssh_config_becomes_an_inventory(sandbox: Sandbox, tmp_path: Path) -> None:
    """A file beside the user's own goes on to say how its hosts are reached."""
    lines = [
        f"Host {host.name}\nHostName 127.0.0.1\nPort {host.port}\nUser {sandbox.user}\nIdentityFile {sandbox.key}\n"
        for host in sandbox.hosts()
    ]
    config = tmp_path / "lab.config"
    config.write_text("".join(lines))
    words = ["init", "--from-ssh-config", str(config), "--accept-new-host-keys", "--connect-timeout", "20", "--yes"]
    done = subprocess.run(
        [sys.executable, "-m", "provisioner.cli", *words],
        cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())}, timeout=120,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    inventory = load_inventory(tmp_path / "inventory.yml")
    assert [host.name for host in inventory.hosts] == [host.name for host in sandbox.hosts()]
    assert {(host.os, host.ssh.config) for host in inventory.hosts} == {
        ({"Linux": "linux", "Darwin": "macos"}[platform.system()], config)
    }
    assert f"{os.sysconf('SC_NPROCESSORS_ONLN')} cores" in (tmp_path / "inventory.yml").read_text()
