"""What a machine is, asked before it belongs to any cluster: nothing of ours runs there, and nothing is left there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from paramiko import SSHException

from provisioner.errors import ProvisionError
from provisioner.transport import delivery
from provisioner.transport.connect import Connector
from provisioner.transport.shell import Shell
from provisioner.transport.systems import Posix, System, at_second_glance, opens_a_window, system_of
from provisioner.transport.target import Target

LIMIT = 20.0
"""Seconds that one of the questions may take."""
AT_ONCE = 16


@dataclass(frozen=True)
class Machine:
    """What a machine says of itself; None or 0 where it does not."""

    os: str | None = None
    arch: str | None = None
    cores: int = 0
    gpus: int = 0
    """As NVIDIA's driver counts them."""
    python: str | None = None
    """Version of the system's own Python 3."""
    trouble: str = ""
    """Why nothing is known of it, in a sentence."""


def survey(connector: Connector, targets: Sequence[Target]) -> list[Machine]:
    """Return what the machines are, in their order; they are asked side by side."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda target: _ask(connector, target), targets))


def _ask(connector: Connector, target: Target) -> Machine:
    try:
        connection = connector.connect(target)
    except ProvisionError as error:
        return Machine(trouble=error.message)
    try:
        system = system_of(connection)
        if isinstance(system, Posix):  # a Windows behind another greeting
            with delivery.open_sftp(connection, target.name) as sftp:
                system = at_second_glance(sftp)
        return _told(system, Shell(connection, system.has_code_page))
    except ProvisionError as error:
        return Machine(trouble=error.message)
    except (SSHException, EOFError, OSError) as error:
        return Machine(trouble=f"the connection broke off: {error or type(error).__name__}")
    finally:
        connection.close()


def _told(system: System, shell: Shell) -> Machine:
    facts = system.facts(shell)
    posix = isinstance(system, Posix)
    cores = "getconf _NPROCESSORS_ONLN" if posix else "cmd.exe /c set NUMBER_OF_PROCESSORS"
    number = re.search(r"(\d+)\s*\Z", shell.run(cores, LIMIT).out)
    gpus = re.findall(r"^GPU \d+:", shell.run("nvidia-smi -L", LIMIT).out, re.M)
    stands_in = facts["os"] == "macos" and opens_a_window(shell, "python3")
    said = "" if stands_in else shell.run("python3 --version" if posix else "py -3 --version", LIMIT).out
    python = re.search(r"^Python (3\.\d+\.\d+)", said, re.M)
    return Machine(
        facts["os"], facts["arch"], int(number[1]) if number else 0, len(gpus), python[1] if python else None
    )
